'use strict';
// Get SMS information:
// https://www.twilio.com/docs/messaging/api/message-resource#fetch-a-message-resource

const flow = require('twilio-connector/flow');
const message = require('twilio-connector/message');

exports.invoke = (globals, actionName, data, authenticationType, LOG, callback) => {
  flow.run('get-sms-information', globals, data, callback, async (inputs, call) =>
    message.toOutput(call, await call.get(`${message.path(call)}/${inputs.sid}.json`))
  );
};
