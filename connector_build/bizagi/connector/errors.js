'use strict';
// What can go wrong, as data. The codes and their meaning are those of the Python connector.

const RETRYABLE = ['THROTTLED', 'UNAVAILABLE', 'NO_ANSWER', 'NEVER_CONNECTED'];

// An expected fault; anything else that is thrown is a defect of the connector.
class Fault extends Error {
  constructor(code, message, details) {
    super(message);
    this.code = code;
    this.retryable = RETRYABLE.indexOf(code) >= 0;
    this.status = null; // HTTP status of the answer, if there was one
    this.retryAfterSeconds = null; // how long the service asked to wait
    Object.assign(this, details);
  }
}

exports.Fault = Fault;
