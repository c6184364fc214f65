'use strict';
// Reads Twilio's messages, converts them to the connector's output, and finds the message that a
// send made.

const { URLSearchParams } = require('url');
const flow = require('bizagi-connector/flow');
const parseDate = require('bizagi-connector/output').parseDate;

const PRICE = /^-?[0-9]+(\.[0-9]+)?$/;
const FIELDS = [
  'sid', 'date_created', 'date_updated', 'date_sent', 'account_sid', 'to', 'from', 'body', 'status',
  'api_version', 'price', 'price_unit', 'error_code', 'error_message', 'uri',
];
// Twilio adds this before each text of a trial account.
const TRIAL_PREFIX = 'Sent from your Twilio trial account - ';
// Messages on one page: even with the longest texts, the page fits into the largest answer
const LOOKED_AT = 50;
// The most pages that a look-up reads
const MOST_PAGES = 200;
// Twilio's dates are whole seconds, and two clocks never agree exactly
const GRACE_MS = 5000;
// The list is not exactly in the order of creation
const OUT_OF_ORDER_MS = 5 * 60 * 1000;

// The path of the account's messages, without '.json'.
exports.path = (call) => `/2010-04-01/Accounts/${call.settings.accountId}/Messages`;

// The 15 fields of the output: `price` becomes a number, `error_code` becomes text, the rest stays
// as Twilio sent it. What can't be converted stays too; the output schema then refuses it.
exports.toOutput = (call, message) => {
  if (!flow.isObject(message)) {
    throw call.unreadable('holds no message');
  }
  const output = {};
  FIELDS.forEach((name) => {
    output[name] = message[name] === undefined ? null : message[name];
  });
  if (typeof output.price === 'string' && PRICE.test(output.price)) {
    output.price = Number(output.price);
  }
  if (Number.isInteger(output.error_code)) {
    output.error_code = String(output.error_code);
  }
  return output;
};

// Read the account's messages page by page. `use(messages)` returns true to read the next page.
exports.read = async (call, query, use) => {
  const path = `${exports.path(call)}.json`;
  const followed = new Set();
  let next = `${path}?${new URLSearchParams(query)}`;
  while (next !== null) {
    followed.add(next);
    const page = await call.get(next);
    if (!flow.isObject(page) || !Array.isArray(page.messages)) {
      throw call.unreadable("has a page without 'messages'");
    }
    page.messages.forEach((message) => {
      if (!flow.isObject(message) || message.direction === undefined) {
        throw call.unreadable("holds no message with a 'direction'");
      }
    });
    const goesOn = use(page.messages);
    next = goesOn ? following(call, page, path, followed) : null;
  }
};

// The path and query of the next page, or null after the last page. It must be a page of this
// account that was not read before.
function following(call, page, path, followed) {
  const uri = page.next_page_uri;
  if (uri === null || uri === undefined) {
    return null;
  }
  const url = typeof uri === 'string' && uri !== '' ? call.resolve(path, uri) : null;
  if (url === null || url.pathname !== path) {
    throw call.unreadable("has a next page outside this account's messages");
  }
  const next = url.pathname + url.search;
  if (followed.has(next)) {
    throw call.unreadable('has a next page that was read before');
  }
  call.checkOrigin(url);
  return next;
}

// Find the message that a send made since a moment (ms of this machine's clock). Return `matches`
// (outputs that fit the send) and `candidates` (the SIDs of all messages from this sender to this
// recipient, because Twilio may have changed the text).
// Twilio filters by recipient only: a queued message has no date yet, and with a Messaging Service
// it has no sender at first.
exports.find = async (inputs, call, since, isService) => {
  const matches = new Map();
  const candidates = new Set();
  let pages = 0;
  await exports.read(call, { To: inputs.to, PageSize: LOOKED_AT }, (page) => {
    pages += 1;
    if (pages > MOST_PAGES) {
      throw call.unreadable(`has more than ${MOST_PAGES} pages`);
    }
    const begun = call.onServiceClock(since) - GRACE_MS;
    let isPast = false;
    page.forEach((message) => {
      const created = parseDate(message.date_created);
      if (created === null) {
        throw call.unreadable("holds a message without 'date_created'");
      }
      isPast = isPast || created < begun - OUT_OF_ORDER_MS;
      const sender = isService ? message.messaging_service_sid : message.from;
      const isCandidate = created >= begun && message.direction === 'outbound-api' &&
        message.to === inputs.to && sender === inputs.from && typeof message.sid === 'string';
      if (isCandidate) {
        candidates.add(message.sid);
        if (message.body === inputs.body || message.body === TRIAL_PREFIX + inputs.body) {
          matches.set(message.sid, exports.toOutput(call, message));
        }
      }
    });
    return !isPast;
  });
  return { matches: Array.from(matches.values()), candidates: Array.from(candidates) };
};
