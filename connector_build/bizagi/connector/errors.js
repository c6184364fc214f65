'use strict';
// The errors of the connector. Their codes and meanings are the same as in the Python connector.

const RETRYABLE = ['THROTTLED', 'UNAVAILABLE', 'NO_ANSWER', 'NEVER_CONNECTED'];

// An expected error. Anything else that is thrown is a defect of the connector.
class Fault extends Error {
  constructor(code, message, details) {
    super(message);
    this.code = code;
    this.retryable = RETRYABLE.indexOf(code) >= 0;
    // HTTP status of the answer, if there was one
    this.status = null;
    // How long the service asked to wait
    this.retryAfterSeconds = null;
    Object.assign(this, details);
  }
}

exports.Fault = Fault;
