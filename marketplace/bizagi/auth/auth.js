'use strict';
// Checks an environment with few requests: are the credentials accepted, and is the account active?

const errors = require('bizagi-connector/errors');
const flow = require('bizagi-connector/flow');
const messages = require('twilio-connector/messages');
const service = require('twilio-connector/service');

// Twilio may refuse to show the account to an API key.
const KEPT = ['CREDENTIALS_REFUSED', 'FORBIDDEN', 'NOT_FOUND'];

exports.invoke = flow.check(service.connect, async (call) => {
  // All credentials may read messages, also a standard API key.
  const listed = await call.get(`${messages.path(call)}.json?PageSize=1`);
  if (!flow.isObject(listed) || !Array.isArray(listed.messages)) {
    throw call.unreadable("has a page without 'messages'");
  }
  return { credentials: 'Twilio accepts them.', account: await account(call) };
});

async function account(call) {
  let record;
  try {
    record = await call.get(`/2010-04-01/Accounts/${call.settings.accountId}.json`);
  } catch (error) {
    if (call.settings.apiKeySid && error instanceof errors.Fault && KEPT.includes(error.code)) {
      return "Not known: this API key may not read the account.";
    }
    throw error;
  }
  if (!flow.isObject(record) || typeof record.status !== 'string') {
    throw call.unreadable("has no account with a 'status'");
  }
  const status = record.status.slice(0, 20);
  if (status !== 'active') {
    throw new errors.Fault(
      'INVALID_CONFIGURATION', `configuration: the account is not active (${status}).`
    );
  }
  const name = typeof record.friendly_name === 'string' ? record.friendly_name : 'The account';
  return `${name} (${status}${record.type === 'Trial' ? ', trial' : ''})`;
}
