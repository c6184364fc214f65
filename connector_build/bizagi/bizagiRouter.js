'use strict';
// What the host loads: finds the action's handler, and answers exactly once whatever happens.

const path = require('path');
const actions = require('./actions.js');
const definition = require('bizagi-connector/definition.json');
const envelope = require('bizagi-connector/envelope');
const log = require('bizagi-connector/log');
const settings = require('bizagi-connector/settings');

exports.invokeAction = (globals, actionName, data, authenticationType, callback, enableLog) => {
  const answer = envelope.once(callback);
  const isName = typeof actionName === 'string';
  if (!isName || !Object.prototype.hasOwnProperty.call(actions, actionName)) {
    const shown = isName ? actionName.slice(0, 80) : typeof actionName;
    const names = Object.keys(actions).join(', ');
    answer(envelope.unknownAction(
      `${definition.displayName} has no action '${shown}'. Its actions: ${names}.`
    ));
    return;
  }
  guarded(answer, () => {
    const handler = require(path.join(__dirname, 'actions', `${actionName}.js`));
    const opened = log.open(enableLog, settings.project(globals));
    handler.invoke(globals, actionName, data, authenticationType, opened, answer);
  });
};

exports.authenticator = (globals, callback, enableLog) => {
  const answer = envelope.once(callback);
  guarded(answer, () => {
    const opened = log.open(enableLog, settings.project(globals));
    require('./auth/auth.js').invoke(globals, opened, answer);
  });
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
  envelope.once(callback)(envelope.success({ cleaned: true }));
};

function guarded(answer, work) {
  try {
    work();
  } catch (error) {
    answer(envelope.failure(error));
  }
}
