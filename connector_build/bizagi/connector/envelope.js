'use strict';
// The answer in the form that the host wants. It is given to the host exactly once.

const errors = require('./errors');

const SUCCESS = 200;
// A failure without an HTTP status
const NO_STATUS = -200;
// An unknown action, or a defect of the connector
const BROKEN = -400;

exports.success = (output) => ({
  response: { outputs: { output: output, error: {} } },
  success: true,
  connectorstatuscode: SUCCESS,
  errormessage: '',
  autotestingenabled: false,
});

// The message of an unexpected error may contain data, so only the error's kind is shown.
exports.failure = (error) => {
  if (error instanceof errors.Fault) {
    return failed(error.code, error.message, error.status || NO_STATUS);
  }
  const kind = error instanceof Error ? error.name : typeof error;
  const message = `The connector failed because of its own defect (${kind}).`;
  return failed('CONNECTOR_ERROR', message, BROKEN);
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

// Only the first answer counts. An error that the callback throws is ignored: it would end the
// host's process.
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
      // There is nobody to report this to: the host has the answer already.
    }
  };
};
