'use strict';
// The host's envelope, and the promise that it is handed over exactly once.

const errors = require('./errors');

const SUCCESS = 200;
const NO_STATUS = -200; // a failure without an HTTP status
const BROKEN = -400; // an unknown action, or a defect of the connector

exports.success = (output) => ({
  response: { outputs: { output: output, error: {} } },
  success: true,
  connectorstatuscode: SUCCESS,
  errormessage: '',
  autotestingenabled: false,
});

// A stranger's message may quote anything, so of an unexpected error only its kind is shown.
exports.failure = (error) => {
  if (error instanceof errors.Fault) {
    return failed(error.code, error.message, error.status || NO_STATUS);
  }
  const kind = error instanceof Error ? error.name : typeof error;
  return failed('CONNECTOR_ERROR', `The connector failed by itself (${kind}).`, BROKEN);
};

exports.unknownAction = (message) => failed('UNKNOWN_ACTION', message, BROKEN);

function failed(code, message, status) {
  return {
    response: { outputs: { output: {}, error: { error: code, message: message, status: status } } },
    success: false,
    connectorstatuscode: status,
    errormessage: message,
    autotestingenabled: false,
  };
}

// Only the first answer counts. What the callback itself throws would end the host's process.
exports.once = (callback) => {
  let called = false;
  return (answer) => {
    if (called) {
      return;
    }
    called = true;
    try {
      const promise = callback(answer);
      if (promise && typeof promise.then === 'function') {
        promise.then(undefined, () => {});
      }
    } catch (error) {
      // Nobody is left to tell: the answer was handed over.
    }
  };
};
