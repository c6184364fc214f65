'use strict';
// Sends HTTP requests to one service. It knows whether a request was sent, when to stop waiting,
// which requests may be repeated, and what an answer (or no answer) means. It follows no redirect
// and keeps no cookie.

const http = require('http');
const zlib = require('zlib');
const { URL, URLSearchParams } = require('url');
const proxies = require('./proxy');
const { Fault } = require('./errors');
const { Unreached, reach } = require('./reach');

const FIRST_PAUSE_SECONDS = 0.1;
const LONGEST_PAUSE_SECONDS = 30;
// After more interim (1xx) answers than this, the connection counts as broken
const INTERIM_ANSWERS = 100;
const MEBIBYTE = 1024 * 1024;
// The largest answer in bytes, after decompression.
const MOST_BYTES = { one: MEBIBYTE, page: 64 * MEBIBYTE };

// The connection to a service for one call. After a complete and valid answer to a GET, the next
// GET uses the same connection. With a POST the server is asked to close it.
class Transport {
  constructor(service, settings, log) {
    this._service = service;
    this._settings = settings;
    this.owner = service.owner;
    this._log = log;
    this._proxy = proxies.choose(service.baseUrl, settings.proxyUrl, process.env);
    this._kept = null;
    // How far the service's clock is ahead of this machine's, by the last answer
    this.clockAheadMs = 0;
  }

  close() {
    if (this._kept !== null) {
      this._kept.destroy();
      this._kept = null;
    }
  }

  // Make the request, repeat it if that is safe, and resolve to the decoded JSON answer.
  // `call` is {name, repeatable, size, endsAt}: the action, whether it may be repeated after it was
  // sent, 'one' or 'page' (see MOST_BYTES), and the moment (ms) at which waiting ends, or null.
  async request(call, method, path, form) {
    const settings = this._settings;
    let waited = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this._attempt(call, method, path, form, attempt);
      } catch (error) {
        if (!(error instanceof Fault) || !error.retryable || attempt >= settings.maxAttempts) {
          throw error;
        }
        let pause = error.retryAfterSeconds;
        if (pause === null) {
          const longest = FIRST_PAUSE_SECONDS * Math.pow(2, attempt - 1);
          pause = Math.min(longest * (0.5 + Math.random() / 2), LONGEST_PAUSE_SECONDS);
        }
        waited += pause;
        if (waited > settings.timeoutSeconds || pause > left(call)) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, pause * 1000));
      }
    }
  }

  // The Fault for an answer that arrived but can't be used.
  unreadable(call, why, details) {
    const text = `${this._service.name}'s answer to ${call.name} ${why}.`;
    return call.repeatable
      ? new Fault('INVALID_ANSWER', text, details)
      : new Fault('OUTCOME_UNKNOWN', `${text} ${this._service.unknownHint}`, details);
  }

  async _attempt(call, method, path, form, attempt) {
    const started = Date.now();
    const seen = { status: null, headers: {} };
    try {
      const answer = await this._exchange(call, method, path, form, seen);
      return this._read(call, method, answer);
    } catch (error) {
      this.close();
      throw error;
    } finally {
      const id = seen.headers[this._service.requestIdHeader] || '';
      const request = /^[A-Za-z0-9_.-]{1,64}$/.test(id) ? id : 'none';
      const shown = `${call.name} attempt ${attempt}: HTTP ${seen.status || 'none'}`;
      this._log.info(`${shown} in ${Date.now() - started} ms, request ${request}`);
    }
  }

  // Resolve to {status, headers, content} of a whole answer, or reject with a Fault.
  async _exchange(call, method, path, form, seen) {
    const service = this._service;
    const url = new URL(path, service.baseUrl);
    const socket = this._reused(method) || await this._reach(url, call);
    // From here on the request may have been sent. No later error proves that it was not.
    const body = form === null ? null : new URLSearchParams(form).toString();
    const headers = Object.assign({
      Host: url.host,
      Accept: 'application/json',
      'Accept-Encoding': 'gzip',
      Connection: method === 'GET' ? 'keep-alive' : 'close',
      'User-Agent': service.userAgent,
    }, service.headers);
    if (body !== null) {
      headers['Content-Type'] = 'application/x-www-form-urlencoded';
      headers['Content-Length'] = Buffer.byteLength(body);
    }
    const seconds = Math.min(this._settings.timeoutSeconds, left(call));
    try {
      const options = { method: method, path: url.pathname + url.search, headers: headers };
      const limits = { seconds: seconds, bytes: MOST_BYTES[call.size] };
      const answer = await exchanged(socket, options, body, limits, seen);
      this._note(answer.headers);
      this._kept = answer.isKept ? socket : null;
      return answer;
    } catch (error) {
      socket.destroy();
      if (error instanceof Broken) {
        throw this._broken(call, error, seen);
      }
      throw error;
    }
  }

  // The kept connection, or null if it was closed or the request is a write. The server may close a
  // kept connection at the moment of its next use; then nobody knows whether a write was made.
  _reused(method) {
    const kept = this._kept;
    this._kept = null;
    if (kept !== null && (method !== 'GET' || kept.destroyed || !kept.writable)) {
      kept.destroy();
      return null;
    }
    return kept;
  }

  async _reach(url, call) {
    const name = this._service.name;
    const seconds = Math.min(this._settings.connectTimeoutSeconds, left(call));
    try {
      return await reach(url, this._proxy, seconds);
    } catch (error) {
      if (!(error instanceof Unreached)) {
        throw error;
      }
      if (error.kind === 'certificate') {
        throw new Fault(
          'NEVER_CONNECTED',
          `${name}'s certificate could not be verified, so nothing was sent. Check the API's ` +
            'address, and whether a proxy inspects the traffic (NODE_EXTRA_CA_CERTS names its ' +
            'certificate).',
          { retryable: false }
        );
      }
      throw new Fault(
        'NEVER_CONNECTED',
        `${name} could not be reached, so nothing was sent. Check the network, the proxy and the ` +
          "API's address."
      );
    }
  }

  _broken(call, broken, seen) {
    const service = this._service;
    const details = { status: seen.status };
    if (broken.why === 'large') {
      return this.unreadable(call, 'is too large', details);
    }
    if (broken.why === 'encoding') {
      return this.unreadable(call, "can't be decoded", details);
    }
    const text = broken.why === 'late'
      ? `No answer from ${service.name} within ${this._settings.timeoutSeconds} s.`
      : `The connection to ${service.name} broke before its answer came.`;
    return call.repeatable
      ? new Fault('NO_ANSWER', `${text} It may be tried again.`, details)
      : new Fault('OUTCOME_UNKNOWN', `${text} ${service.unknownHint}`, details);
  }

  _note(headers) {
    const date = Date.parse(headers.date || '');
    if (Number.isFinite(date)) {
      this.clockAheadMs = date - Date.now();
    }
  }

  _read(call, method, answer) {
    const status = answer.status;
    const decoded = decode(answer.content);
    if (status >= 400) {
      throw this._refused(call, method, answer, decoded && decoded.value);
    }
    if (status < 200 || status >= 300) {
      throw this.unreadable(call, `is HTTP ${status}, which is not followed`, { status: status });
    }
    if (decoded === null) {
      throw this.unreadable(call, 'is not valid JSON', { status: status });
    }
    return decoded.value;
  }

  _refused(call, method, answer, body) {
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
      text = `refused ${call.name} ${where}${known.meaning ? `: ${known.meaning}` : ''}.`;
    } else if (call.repeatable) {
      code = 'UNAVAILABLE';
      text = `is not available ${where}. It may be tried again.`;
    } else {
      code = 'OUTCOME_UNKNOWN';
      text = `failed while it handled ${call.name} ${where}.`;
      hint = service.unknownHint;
    }
    return new Fault(code, `${service.name} ${text}${hint ? ` ${hint}` : ''}`, {
      status: status,
      retryAfterSeconds: retryAfter(answer.headers),
    });
  }
}

exports.Transport = Transport;

// There is no complete answer; `why` is 'late', 'large', 'encoding' or 'broken'.
class Broken extends Error {
  constructor(why) {
    super(why);
    this.why = why;
  }
}

// How many seconds are left for a call.
function left(call) {
  return call.endsAt === null ? Infinity : Math.max((call.endsAt - Date.now()) / 1000, 0);
}

// Make one request on a socket. Resolve to the answer, or reject with Broken after at most
// `limits.seconds`, even if parts of the answer still arrive. The status and headers are stored in
// `seen` as soon as they are known.
function exchanged(socket, options, body, limits, seen) {
  return new Promise((resolve, reject) => {
    const request = http.request(Object.assign({ createConnection: () => socket }, options));
    const timer = setTimeout(() => end('late'), limits.seconds * 1000);
    // One read can bring more events after the end; they are ignored
    let isOver = false;
    const end = (why, answer) => {
      isOver = true;
      clearTimeout(timer);
      if (answer === undefined) {
        reject(new Broken(why));
        socket.destroy();
      } else {
        resolve(answer);
      }
    };
    let received = null;
    // This listener is never removed: a destroyed request may still report an error
    request.on('error', () => end('broken'));
    request.on('close', () => {
      if (received === null) {
        end('broken');
      }
    });
    let interim = 0;
    request.on('information', () => {
      interim += 1;
      if (interim > INTERIM_ANSWERS) {
        end('broken');
      }
    });
    request.on('upgrade', (response) => {
      if (isOver) {
        return;
      }
      seen.status = response.statusCode;
      socket.destroy();
      end('', {
        status: response.statusCode, headers: {}, content: Buffer.alloc(0), isKept: false,
      });
    });
    request.on('response', (response) => {
      if (isOver) {
        return;
      }
      seen.status = response.statusCode;
      seen.headers = response.headers;
      received = response;
      gathered(response, limits.bytes).then(
        (content) => end('', {
          status: response.statusCode,
          headers: response.headers,
          content: content,
          isKept: request.shouldKeepAlive,
        }),
        (error) => end(error instanceof Broken ? error.why : 'broken')
      );
    });
    request.end(body);
  });
}

function gathered(response, most) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    const encoding = (response.headers['content-encoding'] || 'identity').trim().toLowerCase();
    let stream = response;
    if (encoding === 'gzip' || encoding === 'x-gzip') {
      stream = response.pipe(zlib.createGunzip());
      stream.on('error', () => reject(new Broken('encoding')));
    } else if (encoding !== 'identity') {
      reject(new Broken('encoding'));
      return;
    }
    stream.on('data', (chunk) => {
      size += chunk.length;
      if (size > most) {
        reject(new Broken('large'));
        stream.destroy();
        return;
      }
      chunks.push(chunk);
    });
    response.on('aborted', () => reject(new Broken('broken')));
    response.on('error', () => reject(new Broken('broken')));
    // If the answer was cut off, 'aborted' comes first, and the promise is already rejected
    stream.on('end', () => resolve(Buffer.concat(chunks)));
  });
}

// Decode JSON into {value}. Return null if it is not valid UTF-8, not valid JSON, or has a lone
// surrogate.
function decode(content) {
  const text = content.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(content)) {
    return null;
  }
  try {
    const value = JSON.parse(text);
    // In valid UTF-8, only an escape (\ud800) can produce a lone surrogate.
    return /\\ud/i.test(text) && holdsLoneSurrogate(value) ? null : { value: value };
  } catch (error) {
    // Not JSON, or nested too deeply to be checked
    return null;
  }
}

function holdsLoneSurrogate(value) {
  if (typeof value === 'string') {
    return Buffer.from(value, 'utf8').toString('utf8') !== value;
  }
  return typeof value === 'object' && value !== null &&
    Object.keys(value).some((name) => holdsLoneSurrogate(name) || holdsLoneSurrogate(value[name]));
}

// The seconds of a Retry-After header, or null. A date in it is ignored: the usual pause is used.
function retryAfter(headers) {
  const text = headers['retry-after'] || '';
  return /^[0-9]{1,9}(\.[0-9]{1,6})?$/.test(text) ? Number(text) : null;
}
