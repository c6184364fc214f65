'use strict';
// The check of an environment: credentials accepted? account active? can `from` send SMS?

const { URLSearchParams } = require('url');

const errors = require('twilio-connector/errors');
const flow = require('twilio-connector/flow');
const hints = require('twilio-connector/definition.json').hints;

exports.invoke = (globals, LOG, callback) => {
  flow.check(globals, callback, async (call) => {
    const account = `/2010-04-01/Accounts/${call.settings.accountId}`;
    const found = await call.get(`${account}.json`);
    if (!flow.isObject(found) || typeof found.status !== 'string') {
      throw call.unreadable('names no account');
    }
    if (found.status !== 'active') {
      throw wrong(`the account is not active (${String(found.status).slice(0, 20)})`);
    }
    const named = typeof found.friendly_name === 'string';
    const name = named ? found.friendly_name : 'The account';
    return { account: `${name} (${found.status})`, from: await sender(call, account) };
  });
};

async function sender(call, account) {
  const from = call.settings.from;
  if (from === undefined) {
    return 'Not set: each Send SMS must name its own.';
  }
  if (!from.startsWith('+')) {
    return 'Not a phone number: Twilio checks it when a message is sent.';
  }
  const query = new URLSearchParams({ PhoneNumber: from });
  const found = await call.get(`${account}/IncomingPhoneNumbers.json?${query}`);
  let numbers;
  let able;
  try {
    numbers = found.incoming_phone_numbers.filter((number) => number.phone_number === from);
    able = numbers.filter((number) => number.capabilities.sms);
  } catch (error) {
    throw call.unreadable('has no list of phone numbers');
  }
  if (numbers.length === 0) {
    throw wrong(`'from' is not a number of this account. ${hints.codes['21659'].hint}`);
  }
  if (able.length === 0) {
    throw wrong(`'from' can't send SMS. ${hints.codes['21606'].hint}`);
  }
  return 'A number of this account that can send SMS.';
}

function wrong(why) {
  return new errors.Fault('INVALID_CONFIGURATION', `configuration: ${why}`);
}
