'use strict';
// Send SMS: https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource

const flow = require('twilio-connector/flow');
const message = require('twilio-connector/message');

exports.invoke = (globals, actionName, data, authenticationType, LOG, callback) => {
  flow.run('send-sms', globals, data, callback, async (inputs, call) => {
    // An alphanumeric sender may begin with MG too, but has at most 11 characters.
    const service = /^MG[0-9a-fA-F]{32}$/.test(inputs.from);
    const form = { To: inputs.to, Body: inputs.body };
    form[service ? 'MessagingServiceSid' : 'From'] = inputs.from;
    return message.toOutput(call, await call.post(`${message.path(call)}.json`, form));
  });
};
