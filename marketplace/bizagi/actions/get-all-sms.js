'use strict';
// Get All SMS:
// https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources

const flow = require('bizagi-connector/flow');
const messages = require('twilio-connector/messages');
const service = require('twilio-connector/service');

const PAGE_SIZE = 1000; // the most that Twilio gives at once

exports.invoke = flow.action(service.connect, async (inputs, call) => {
  const all = [];
  let previous = new Set();
  await messages.read(call, { PageSize: PAGE_SIZE }, (page) => {
    const sids = new Set();
    page.forEach((message) => {
      const output = messages.toOutput(call, message);
      if (typeof output.sid === 'string') { // anything else is left for the schema to refuse
        if (previous.has(output.sid) || sids.has(output.sid)) {
          return;
        }
        sids.add(output.sid);
      }
      // The list holds received messages too, and has no filter for them.
      if (message.direction !== 'inbound') {
        all.push(output);
      }
    });
    // A cursor can repeat a message only where two pages meet, so one page back is enough.
    previous = sids;
    return true;
  });
  return { messages: all };
});
