'use strict';
// Get All SMS:
// https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources

const flow = require('bizagi-connector/flow');
const messages = require('twilio-connector/messages');
const service = require('twilio-connector/service');

// The largest page that Twilio returns
const PAGE_SIZE = 1000;

exports.invoke = flow.action(service.connect, async (inputs, call) => {
  const all = [];
  let previous = new Set();
  await messages.read(call, { PageSize: PAGE_SIZE }, (page) => {
    const sids = new Set();
    page.forEach((message) => {
      const output = messages.toOutput(call, message);
      if (typeof output.sid === 'string') {
        // If the SID is not text, the schema refuses the message later
        if (previous.has(output.sid) || sids.has(output.sid)) {
          return;
        }
        sids.add(output.sid);
      }
      // The list contains received messages too, and Twilio has no filter for them.
      if (message.direction !== 'inbound') {
        all.push(output);
      }
    });
    // Only two neighbouring pages can contain the same message, so one previous page is enough.
    previous = sids;
    return true;
  });
  return { messages: all };
});
