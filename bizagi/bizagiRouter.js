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
  const isName = typeof actionName === 'string';
  if (!isName || !Object.prototype.hasOwnProperty.call(actions, actionName)) {
    const shown = isName ? actionName.slice(0, 80) : typeof actionName;
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
  const own = Object.keys(require.cache)
    .filter((file) => file.startsWith(__dirname + path.sep))
    .map((file) => require.cache[file]);
  own.forEach((each) => delete require.cache[each.filename]);
  // They would be kept alive by who required them.
  [module, module.parent].filter(Boolean).forEach((parent) => {
    parent.children = parent.children.filter((child) => !own.includes(child));
  });
  envelope.once(callback)({ cleaned: true });
};

function guarded(answer, work) {
  try {
    work();
  } catch (error) {
    answer(envelope.failure(error));
  }
}
