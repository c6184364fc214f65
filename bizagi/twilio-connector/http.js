'use strict';
// One service over HTTP: which requests may be repeated, and what an answer or its absence means.
// No redirect is followed, no proxy used, no cookie kept.

const http = require('http');
const https = require('https');
const { URL, URLSearchParams } = require('url');
const { Fault } = require('./errors');
const version = require('./definition.json').version;

const FIRST_PAUSE_SECONDS = 0.1;
const LONGEST_PAUSE_SECONDS = 30;
const MOST_BYTES = 64 * 1024 * 1024; // of an answer: a page of 1000 messages has 2 MB at most

// A service's connections for one call, kept alive between pages until `close`.
class Http {
  constructor(service) {
    this._service = service;
    this._transport = service.baseUrl.protocol === 'https:' ? https : http;
    this._agent = new this._transport.Agent({ keepAlive: true, maxSockets: 1 });
  }

  close() {
    this._agent.destroy();
  }

  // Make the request, again where that does no harm, and resolve to the decoded JSON answer.
  async request(action, method, path, form) {
    const service = this._service;
    let waited = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return this._read(action, method, await this._send(action, method, path, form));
      } catch (error) {
        if (!(error instanceof Fault) || !error.retryable || attempt >= service.maxAttempts) {
          throw error;
        }
        let pause = error.retryAfterSeconds;
        if (pause === null) {
          const longest = FIRST_PAUSE_SECONDS * Math.pow(2, attempt - 1);
          pause = Math.min(longest * (0.5 + Math.random() / 2), LONGEST_PAUSE_SECONDS);
        }
        waited += pause;
        if (waited > service.timeoutSeconds) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, pause * 1000));
      }
    }
  }

  // An answer that came and can't be used.
  unreadable(action, why, details) {
    const text = `${this._service.name}'s answer to ${action.name} ${why}.`;
    return action.repeatable
      ? new Fault('INVALID_ANSWER', text, details)
      : new Fault('OUTCOME_UNKNOWN', `${text} ${this._service.unknownHint}`, details);
  }

  // Resolve to {status, headers, content} of a whole answer, or reject with a Fault.
  _send(action, method, path, form) {
    const service = this._service;
    const body = form === null ? null : new URLSearchParams(form).toString();
    const headers = {
      Accept: 'application/json',
      'Accept-Encoding': 'identity',
      Authorization: service.authorization,
      'User-Agent': `bizagi-twilio/${version}`,
    };
    if (body !== null) {
      headers['Content-Type'] = 'application/x-www-form-urlencoded';
      headers['Content-Length'] = Buffer.byteLength(body);
    }
    const url = new URL(path, service.baseUrl);
    return new Promise((resolve, reject) => {
      const request = this._transport.request({
        protocol: url.protocol,
        hostname: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port || undefined,
        path: url.pathname + url.search,
        method: method,
        headers: headers,
        // A kept connection may be closed just as it is used again: with a POST, nobody could tell
        // whether that was carried out.
        agent: method === 'GET' ? this._agent : false,
        rejectUnauthorized: true, // whatever the process's environment says
      });
      let connected = false;
      let status = null;
      let timer = null;
      const limit = () => {
        clearTimeout(timer);
        timer = setTimeout(() => fail(null), service.timeoutSeconds * 1000);
      };
      const fail = (error) => {
        clearTimeout(timer);
        reject(this._unanswered(action, request.socket, connected, status, error === null));
        request.destroy ? request.destroy() : request.abort();
      };
      request.on('error', fail); // stays: a destroyed request still reports it
      request.on('socket', (socket) => {
        const ready = () => {
          connected = true;
          limit();
        };
        if (!socket.connecting) {
          ready(); // kept alive from the last page
        } else {
          socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', ready);
        }
      });
      request.on('response', (response) => {
        const chunks = [];
        let size = 0;
        status = response.statusCode;
        response.on('data', (chunk) => {
          limit(); // from one piece to the next, as long as pieces come
          size += chunk.length;
          if (size <= MOST_BYTES) {
            chunks.push(chunk);
            return;
          }
          reject(this.unreadable(action, 'is too large to be one', { status: status }));
          fail(null); // lets the connection go; the first verdict counts
        });
        response.on('aborted', () => fail(new Error('aborted')));
        response.on('error', fail);
        response.on('end', () => {
          if (!response.complete) {
            fail(new Error('incomplete'));
            return;
          }
          clearTimeout(timer);
          resolve({ status: status, headers: response.headers, content: Buffer.concat(chunks) });
        });
      });
      request.on('upgrade', (response, socket) => {
        clearTimeout(timer);
        socket.destroy();
        resolve({ status: response.statusCode, headers: {}, content: Buffer.alloc(0) });
      });
      limit();
      request.end(body);
    });
  }

  _unanswered(action, socket, connected, status, late) {
    const service = this._service;
    const details = { status: status };
    if (socket && socket.authorizationError) {
      details.retryable = false;
      return new Fault(
        'NEVER_CONNECTED',
        `${service.name}'s certificate could not be verified, so nothing was sent. Check the ` +
          "API's address, and whether a proxy inspects the traffic (NODE_EXTRA_CA_CERTS names " +
          'its certificate).',
        details
      );
    }
    if (!connected) {
      return new Fault(
        'NEVER_CONNECTED',
        `${service.name} could not be reached, so nothing was sent. Check the network, the proxy ` +
          "and the API's address.",
        details
      );
    }
    const text = late
      ? `No answer from ${service.name} within ${service.timeoutSeconds} s.`
      : `The connection to ${service.name} broke before its answer came.`;
    return action.repeatable
      ? new Fault('NO_ANSWER', `${text} It may be tried again.`, details)
      : new Fault('OUTCOME_UNKNOWN', `${text} ${service.unknownHint}`, details);
  }

  _read(action, method, answer) {
    const status = answer.status;
    const decoded = decode(answer.content);
    if (status >= 400) {
      throw this._refused(action, method, answer, decoded && decoded.value);
    }
    if (status < 200 || status >= 300) {
      throw this.unreadable(action, `is HTTP ${status}, which is not followed`, { status: status });
    }
    if (decoded === null) {
      throw this.unreadable(action, 'is not valid JSON', { status: status });
    }
    return decoded.value;
  }

  _refused(action, method, answer, body) {
    const service = this._service;
    const status = answer.status;
    const known = service.explain(method, status, body);
    const where = known.code ? `(HTTP ${status}, code ${known.code})` : `(HTTP ${status})`;
    let hint = known.hint;
    let code;
    let text;
    if (status === 401) {
      code = 'CREDENTIALS_REFUSED';
      text = `rejected the credentials ${where}.`;
    } else if (status === 429) {
      code = 'THROTTLED';
      text = `is receiving too many requests ${where}.`;
    } else if (status < 500) {
      code = { 403: 'FORBIDDEN', 404: 'NOT_FOUND' }[status] || 'REFUSED';
      text = `refused ${action.name} ${where}${known.meaning ? `: ${known.meaning}` : ''}.`;
    } else if (action.repeatable) {
      code = 'UNAVAILABLE';
      text = `is not available ${where}. It may be tried again.`;
    } else {
      code = 'OUTCOME_UNKNOWN';
      text = `failed while it handled ${action.name} ${where}.`;
      hint = service.unknownHint;
    }
    return new Fault(code, `${service.name} ${text}${hint ? ` ${hint}` : ''}`, {
      status: status,
      retryAfterSeconds: retryAfter(answer.headers),
    });
  }
}

exports.Http = Http;

// Decode strict JSON into {value}, or null: whole UTF-8 and no lone surrogate.
function decode(content) {
  const text = content.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(content)) {
    return null;
  }
  try {
    const value = JSON.parse(text);
    // Only an escape can smuggle a surrogate in.
    return /\\ud/i.test(text) && holdsLoneSurrogate(value) ? null : { value: value };
  } catch (error) {
    return null; // no JSON, or nested too deep to be looked through
  }
}

function holdsLoneSurrogate(value) {
  if (typeof value === 'string') {
    return Buffer.from(value, 'utf8').toString('utf8') !== value;
  }
  return typeof value === 'object' && value !== null &&
    Object.keys(value).some((name) => holdsLoneSurrogate(name) || holdsLoneSurrogate(value[name]));
}

// The seconds of a Retry-After header; a date there is left to the back-off.
function retryAfter(headers) {
  const text = headers['retry-after'] || '';
  return /^[0-9]{1,9}(\.[0-9]{1,6})?$/.test(text) ? Number(text) : null;
}
