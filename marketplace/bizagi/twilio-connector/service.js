'use strict';
// What is special about Twilio: its credentials, address and error codes.

const { URL } = require('url');
const definition = require('bizagi-connector/definition.json');
const errors = require('bizagi-connector/errors');
const isObject = require('bizagi-connector/settings').isObject;

const hints = definition.hints;
const NUMERIC_LOOPBACK = /^http:\/\/127(\.(0|[1-9][0-9]{0,2})){3}(:[0-9]*)?\/?$/;

// Describe the service for these settings. The user name is the SID of the API key, or else the
// Account SID. The path always contains the Account SID.
exports.connect = (settings) => {
  if (!isSecure(settings.apiBaseUrl)) {
    throw new errors.Fault(
      'INVALID_CONFIGURATION',
      "configuration: 'apiBaseUrl' must be https:// and a host name; " +
        'http:// is only for loopback addresses such as http://127.0.0.1:8010.'
    );
  }
  const user = settings.apiKeySid || settings.accountId;
  const basic = Buffer.from(`${user}:${settings.authToken}`).toString('base64');
  return {
    name: definition.displayName,
    owner: settings.accountId,
    baseUrl: new URL(settings.apiBaseUrl),
    headers: { Authorization: `Basic ${basic}` },
    userAgent: `bizagi-${definition.name}/${definition.version}`,
    requestIdHeader: 'twilio-request-id',
    explain: (method, status, body) => explain(method, status, body, Boolean(settings.apiKeySid)),
    unknownHint: hints.outcome_unknown,
  };
};

function isSecure(text) {
  let url;
  try {
    url = new URL(text);
  } catch (error) {
    return false;
  }
  // Decide by the text of the address. '0177.1' is a loopback address too, but nobody writes it on
  // purpose.
  return url.protocol === 'https:' || NUMERIC_LOOPBACK.test(text) ||
    url.hostname === 'localhost' || url.hostname === '[::1]';
}

// Twilio's own message is left out, because it can contain a phone number. If a code is not known,
// the HTTP status decides, because Twilio adds new codes. The hint for a 401 depends on the kind of
// credentials, because its code has many causes.
function explain(method, status, body, isKey) {
  const given = isObject(body) ? body.code : null;
  const isCode = typeof given === 'number' || typeof given === 'string';
  const code = isCode && /^[0-9]{1,9}$/.test(String(given)) ? String(given) : null;
  const known = status === 401 && (code === null || code === '20003')
    ? hints.credentials[isKey ? 'key' : 'token']
    : hints.codes[`${method} ${code}`] || hints.codes[code] ||
      hints.statuses[`${method} ${status}`] || hints.statuses[String(status)] || {};
  return { code: code, meaning: known.meaning, hint: known.hint };
}
