'use strict';
// Get All SMS:
// https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources

const flow = require('twilio-connector/flow');
const message = require('twilio-connector/message');

const PAGE_SIZE = 1000; // the most that Twilio gives at once

exports.invoke = (globals, actionName, data, authenticationType, LOG, callback) => {
  flow.run('get-all-sms', globals, data, callback, async (inputs, call) => {
    const path = `${message.path(call)}.json`;
    const all = [];
    const followed = new Set();
    let next = `${path}?PageSize=${PAGE_SIZE}`;
    let previous = new Set();
    while (next !== null) {
      followed.add(next);
      const page = await call.get(next);
      const sids = new Set();
      const sent = outputs(call, page, previous, sids);
      call.checkOutput({ messages: sent });
      sent.forEach((output) => all.push(output));
      // A cursor can repeat a message only where two pages meet, so one page back is enough.
      previous = sids;
      next = following(call, page, path, followed);
    }
    return { messages: all };
  });
};

function outputs(call, page, previous, sids) {
  if (!flow.isObject(page) || !Array.isArray(page.messages)) {
    throw call.unreadable("has a page without 'messages'");
  }
  const sent = [];
  page.messages.forEach((each) => {
    if (!flow.isObject(each) || each.direction === undefined) {
      throw call.unreadable("holds no message with a 'direction'");
    }
    const output = message.toOutput(call, each);
    if (typeof output.sid === 'string') { // anything else is left for the schema to refuse
      if (previous.has(output.sid) || sids.has(output.sid)) {
        return;
      }
      sids.add(output.sid);
    }
    // The list holds received messages too, and has no filter for them.
    if (each.direction !== 'inbound') {
      sent.push(output);
    }
  });
  return sent;
}

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
