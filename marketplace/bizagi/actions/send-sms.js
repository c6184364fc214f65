'use strict';
// Send SMS: https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource

const flow = require('bizagi-connector/flow');
const messages = require('twilio-connector/messages');
const service = require('twilio-connector/service');

// An alphanumeric sender may begin with MG too, but has at most 11 characters.
const isService = (sender) => /^MG[0-9a-fA-F]{32}$/.test(sender);

async function run(inputs, call) {
  const form = { To: inputs.to, Body: inputs.body };
  form[isService(inputs.from) ? 'MessagingServiceSid' : 'From'] = inputs.from;
  const sent = messages.toOutput(call, await call.post(`${messages.path(call)}.json`, form));
  if (sent.to !== inputs.to) {
    throw call.unreadable('is about a message to another recipient');
  }
  return sent;
}

// Find the message that a send made since a moment (ms); see messages.find for the result.
async function find(inputs, call, since) {
  return messages.find(inputs, call, since, isService(inputs.from));
}

exports.invoke = flow.action(service.connect, run, find);
