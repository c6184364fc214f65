'use strict';
// The check of an environment, which must be quick: are the credentials accepted, is the account
// active?

const errors = require('bizagi-connector/errors');
const flow = require('bizagi-connector/flow');
const messages = require('twilio-connector/messages');
const service = require('twilio-connector/service');

// With an API key Twilio may keep the account itself to the account's own token.
const KEPT = ['CREDENTIALS_REFUSED', 'FORBIDDEN', 'NOT_FOUND'];

exports.invoke = flow.check(service.connect, async (call) => {
  // What any credentials may read, a standard API key's too.
  const listed = await call.get(`${messages.path(call)}.json?PageSize=1`);
  if (!flow.isObject(listed) || !Array.isArray(listed.messages)) {
    throw call.unreadable("has a page without 'messages'");
  }
  return { credentials: 'Twilio accepts them.', account: await account(call) };
});

async function account(call) {
  let found;
  try {
    found = await call.get(`/2010-04-01/Accounts/${call.settings.accountId}.json`);
  } catch (error) {
    if (call.settings.apiKeySid && error instanceof errors.Fault && KEPT.includes(error.code)) {
      return "Not known: this API key may not read the account.";
    }
    throw error;
  }
  if (!flow.isObject(found) || typeof found.status !== 'string') {
    throw call.unreadable('names no account');
  }
  const status = found.status.slice(0, 20);
  if (status !== 'active') {
    throw new errors.Fault(
      'INVALID_CONFIGURATION', `configuration: the account is not active (${status}).`
    );
  }
  const name = typeof found.friendly_name === 'string' ? found.friendly_name : 'The account';
  return `${name} (${status}${found.type === 'Trial' ? ', trial' : ''})`;
}
