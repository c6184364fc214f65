'use strict';
// A message as Twilio gives it and as the connector's document describes it, the list of them, and
// which of them may be what became of a send.

const { URLSearchParams } = require('url');
const flow = require('bizagi-connector/flow');
const parseDate = require('bizagi-connector/output').parseDate;

const PRICE = /^-?[0-9]+(\.[0-9]+)?$/;
const FIELDS = [
  'sid', 'date_created', 'date_updated', 'date_sent', 'account_sid', 'to', 'from', 'body', 'status',
  'api_version', 'price', 'price_unit', 'error_code', 'error_message', 'uri',
];
// What a trial account puts before each text.
const TRIAL_PREFIX = 'Sent from your Twilio trial account - ';
const LOOKED_AT = 50; // messages a page, so that the longest texts fit into the size of an answer
const MOST_PAGES = 200; // of a look-up
const GRACE_MS = 5000; // Twilio's dates are whole seconds, and two clocks are never quite the same
const OUT_OF_ORDER_MS = 5 * 60 * 1000; // the list is only nearly in the order of creation

// The path of the account's messages, without '.json'.
exports.path = (call) => `/2010-04-01/Accounts/${call.settings.accountId}/Messages`;

// The document's 15 fields: `price` a number, `error_code` text, the rest as it came. What can't be
// converted is left as it is, for the output schema to refuse.
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

// Read the account's messages page by page: `use(messages)` tells whether to go on.
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

// The next page's path and query, or null after the last: this account's, and a new one.
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

// The messages that are what became of a send since a moment (ms of this machine's clock), as
// outputs, and the SIDs of all that may be: those of this sender whose text may have been changed.
// Filtered by recipient alone: what is still queued has no date to filter by, and with a Messaging
// Service no sender at first.
exports.find = async (inputs, call, since, isService) => {
  const matches = new Map();
  const candidates = new Set();
  let pages = 0;
  await exports.read(call, { To: inputs.to, PageSize: LOOKED_AT }, (page) => {
    pages += 1;
    if (pages > MOST_PAGES) {
      throw call.unreadable(`goes on after ${MOST_PAGES} pages`);
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
