'use strict';
// What the host loads: finds the action's handler, and answers exactly once whatever happens.

const path = require('path');
const actions = require('./actions.js');
const envelope = require('twilio-connector/envelope');

// Bizagi keeps the JSON of every call in its own traces, so the connector writes no log.
const LOG = {};
['debug', 'error', 'info', 'warn', 'trace'].forEach((level) => {
  LOG[level] = () => {};
});

exports.invokeAction = (globals, actionName, data, authenticationType, callback, enableLog) => {
  const answer = envelope.once(callback);
  if (!Object.prototype.hasOwnProperty.call(actions, String(actionName))) {
    const shown = String(actionName).slice(0, 80);
    const names = Object.keys(actions).join(', ');
    answer(envelope.unknownAction(`Twilio has no action '${shown}'. Its actions: ${names}.`));
    return;
  }
  guarded(answer, () => {
    const handler = require(path.join(__dirname, 'actions', `${actionName}.js`));
    handler.invoke(globals, actionName, data, authenticationType, LOG, answer);
  });
};

exports.authenticator = (globals, callback, enableLog) => {
  const answer = envelope.once(callback);
  guarded(answer, () => require('./auth/auth.js').invoke(globals, LOG, answer));
};

// Forgets the connector's modules, so that files replaced in place are read again.
exports.cleanAllModulesCache = (globals, callback, enableLog) => {
  Object.keys(require.cache)
    .filter((file) => file.startsWith(__dirname + path.sep))
    .forEach((file) => delete require.cache[file]);
  envelope.once(callback)({ cleaned: true });
};

function guarded(answer, work) {
  try {
    work();
  } catch (error) {
    answer(envelope.failure(error));
  }
}
