'use strict';
// Twilio's official library for Node.js, as an independent client of the sandbox.
// node --test FILE, with SANDBOX_URL, ACCOUNT_SID, AUTH_TOKEN and NODE_PATH.

const assert = require('node:assert/strict');
const { beforeEach, test } = require('node:test');
const twilio = require('twilio');

const URL_OF_SANDBOX = process.env.SANDBOX_URL;
const SID = process.env.ACCOUNT_SID;
const SERVICE = 'MG' + 'a'.repeat(32);
const TO = '+14155550123';
const SENDER = '+15005550006';

function connect(token, options) {
  const client = twilio(SID, token || process.env.AUTH_TOKEN, options);
  for (const domain of ['api', 'accounts', 'messaging', 'voice', 'lookups']) {
    client[domain].baseUrl = URL_OF_SANDBOX;
  }
  return client;
}

async function control(method, path, body) {
  const answer = await fetch(`${URL_OF_SANDBOX}/_sandbox${path}`, {
    method: method,
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, await answer.clone().text());
  return answer.json();
}

const client = connect();
beforeEach(() => control('DELETE', ''));

test('create and fetch', async () => {
  const created = await client.messages.create({ to: TO, from: SENDER, body: 'Hola, mañana' });
  assert.deepEqual([created.status, created.body, created.from], ['queued', 'Hola, mañana', SENDER]);
  await control('POST', '/clock', { seconds: 180 });
  const fetched = await client.messages(created.sid).fetch();
  assert.deepEqual([fetched.status, fetched.price], ['delivered', '-0.00750']);
  assert.ok(fetched.dateSent instanceof Date);
});

test('a service, media, a schedule and its cancellation', async () => {
  const created = await client.messages.create({
    to: TO,
    messagingServiceSid: SERVICE,
    mediaUrl: ['https://example.com/a.png'],
    sendAt: new Date(Date.now() + 3600 * 1000),
    scheduleType: 'fixed',
  });
  assert.deepEqual([created.status, created.from, created.numMedia], ['scheduled', null, '1']);
  const canceled = await client.messages(created.sid).update({ status: 'canceled' });
  assert.equal(canceled.status, 'canceled');
});

test('update and remove', async () => {
  const created = await client.messages.create({ to: TO, from: SENDER, body: 'Hola' });
  await control('POST', '/clock', { seconds: 180 });
  const message = client.messages(created.sid);
  assert.equal((await message.update({ body: '' })).body, '');
  assert.equal(await message.remove(), true);
  await assert.rejects(client.messages(created.sid).fetch(), { status: 404, code: 20404 });
});

test('list follows the pages', async () => {
  await control('POST', '/messages', { count: 120 });
  const stored = (await control('GET', '/messages')).map((message) => message.sid);
  const listed = await client.messages.list({ pageSize: 50 });
  assert.deepEqual(listed.map((message) => message.sid), stored);
  assert.equal((await client.messages.list({ limit: 7 })).length, 7);
  const page = await client.messages.page({ pageSize: 100 });
  assert.equal(page.instances.length, 100);
  const following = await page.nextPage();
  assert.equal(following.instances.length, 20);
  assert.equal(await following.nextPage(), undefined);
  assert.equal((await following.previousPage()).instances.length, 100);
});

test('list with every filter', async () => {
  const add = (body, moment, changed) =>
    control('POST', '/messages', { body, date_created: moment, date_sent: moment, ...changed });
  await add('14 May', 'Mon, 14 May 2018 12:00:00 +0000', { to: '+14155550101' });
  await add('15 May', 'Tue, 15 May 2018 00:00:00 +0000', {
    to: '+14155550101',
    from: '+14155550100',
  });
  await add('15 May late', 'Tue, 15 May 2018 23:59:59 +0000', {});
  await add('16 May', 'Wed, 16 May 2018 00:00:00 +0000', {});
  const day = (text) => new Date(`${text}T00:00:00Z`);
  for (const [filters, expected] of [
    [{ to: '+14155550101' }, ['14 May', '15 May']],
    [{ from: '+14155550100' }, ['15 May']],
    [{ dateSent: day('2018-05-15') }, ['15 May', '15 May late']],
    [{ dateSentBefore: day('2018-05-14') }, ['14 May']],
    [{ dateSentAfter: day('2018-05-16') }, ['16 May']],
    [{ dateSentAfter: day('2018-05-15'), dateSentBefore: day('2018-05-15') },
      ['15 May', '15 May late']],
  ]) {
    const listed = await client.messages.list(filters);
    assert.deepEqual(listed.map((message) => message.body).sort(), expected.sort());
  }
});

test('errors have the form that the library expects', async () => {
  const send = (changed) => client.messages.create({ to: TO, from: SENDER, body: 'x', ...changed });
  await assert.rejects(send({ to: '+15005550003' }), {
    status: 400,
    code: 21408,
    moreInfo: 'https://www.twilio.com/docs/errors/21408',
  });
  await assert.rejects(
    client.messages.create({ to: TO, messagingServiceSid: `MG${'0'.repeat(31)}2`, body: 'x' }),
    { status: 404, code: 21701 }
  );
  await assert.rejects(connect('wrong').messages.list(), { status: 401, code: 20003 });
});

test('its own retries get through two answers of 429', async () => {
  const patient = connect(undefined, { autoRetry: true, maxRetries: 3 });
  await control('POST', '/faults', { fault: 'throttle', times: 2 });
  assert.equal((await patient.messages.create({ to: TO, from: SENDER, body: 'x' })).status, 'queued');
  const requests = await control('GET', '/requests');
  assert.deepEqual(requests.map((request) => request.status), [429, 429, 201]);
});

test('the set-up, as the library asks for it', async () => {
  await control('POST', '/setup', { verified: [TO] });
  const account = client.api.v2010.accounts(SID);
  assert.equal((await account.fetch()).type, 'Full');
  assert.equal((await account.balance.fetch()).balance, '25.00000');
  const numbers = await client.incomingPhoneNumbers.list({ phoneNumber: SENDER });
  assert.deepEqual({ ...numbers[0].capabilities }, { fax: false, mms: true, sms: true, voice: true });
  const callers = await client.outgoingCallerIds.list();
  assert.deepEqual(callers.map((caller) => caller.phoneNumber), [TO]);
  assert.equal((await client.lookups.v2.phoneNumbers('+573001234567').fetch()).countryCode, 'CO');
  const service = client.messaging.v1.services(SERVICE);
  assert.equal((await service.fetch()).sid, SERVICE);
  assert.deepEqual((await service.phoneNumbers.list()).map((one) => one.phoneNumber), [SENDER]);
  assert.equal((await service.usAppToPerson.list())[0].campaignStatus, 'VERIFIED');
  assert.deepEqual(await client.messaging.v1.tollfreeVerifications.list(), []);
  const dialing = await client.voice.v1.dialingPermissions.countries('CO').fetch();
  assert.equal(dialing.lowRiskNumbersEnabled, true);
});
