'use strict';
// Get SMS information:
// https://www.twilio.com/docs/messaging/api/message-resource#fetch-a-message-resource

const flow = require('bizagi-connector/flow');
const messages = require('twilio-connector/messages');
const service = require('twilio-connector/service');

exports.invoke = flow.action(service.connect, async (inputs, call) => {
  const record = await call.get(`${messages.path(call)}/${inputs.sid}.json`);
  const message = messages.toOutput(call, record);
  if (message.sid !== inputs.sid) {
    throw call.unreadable('is about another message');
  }
  return message;
});
