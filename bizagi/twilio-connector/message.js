'use strict';
// A message as Twilio gives it, as the connector's document describes it, and as Bizagi maps it.

const isObject = require('./settings').isObject;

const PRICE = /^-?[0-9]+(\.[0-9]+)?$/;
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
const DATE = /^\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)$/;
const FIELDS = [
  'sid', 'date_created', 'date_updated', 'date_sent', 'account_sid', 'to', 'from', 'body', 'status',
  'api_version', 'price', 'price_unit', 'error_code', 'error_message', 'uri',
];

// The path of the account's messages, without '.json'.
exports.path = (call) => `/2010-04-01/Accounts/${call.settings.accountId}/Messages`;

// The document's 15 fields: `price` a number, `error_code` text, the rest as it came. What can't be
// converted is left as it is, for the output schema to refuse.
exports.toOutput = (call, message) => {
  if (!isObject(message)) {
    throw call.unreadable('holds no message');
  }
  const output = {};
  FIELDS.forEach((name) => {
    output[name] = message[name] === undefined ? null : message[name];
  });
  if (typeof output.price === 'string' && PRICE.test(output.price)) {
    output.price = Number(output.price);
  }
  if (Number.isInteger(output.error_code)) {
    output.error_code = String(output.error_code);
  }
  return output;
};

// The output as Bizagi maps it: dates as 2018-05-15T16:02:24 in UTC, and text where a field may be
// text or a number. Nothing else differs from the Python connector's.
exports.forBizagi = (call, document, output) => {
  const faults = [];
  const converted = walk(document, output, [], faults);
  call.refuseOutput(faults, output);
  return converted;
};

function walk(document, value, path, faults) {
  if (Array.isArray(value)) {
    return value.map((item, place) => walk(document.items, item, path.concat(place), faults));
  }
  if (isObject(value)) {
    const copy = {};
    Object.keys(value).forEach((name) => {
      copy[name] = walk(document.properties[name], value[name], path.concat(name), faults);
    });
    return copy;
  }
  if (typeof value === 'number' && [].concat(document.type).includes('string')) {
    return String(value);
  }
  if (!document['x-date'] || value === null) {
    return value;
  }
  const date = toBizagiDate(value);
  if (date === null) {
    faults.push({ path: path, keyword: 'date', document: document });
  }
  return date;
}

function toBizagiDate(text) {
  const found = DATE.exec(text);
  if (found === null) {
    return null;
  }
  const [day, year, hour, minute, second, offsetHours, offsetMinutes] =
    [1, 3, 4, 5, 6, 8, 9].map((group) => Number(found[group]));
  const date = new Date(0);
  date.setUTCFullYear(year, MONTHS.indexOf(found[2]), day);
  if (date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 60) {
    return null;
  }
  const ahead = (found[7] === '-' ? -1 : 1) * (offsetHours * 60 + offsetMinutes);
  date.setUTCHours(hour, minute - ahead, second); // a leap second is the next minute's first
  if (date.getUTCFullYear() < 1 || date.getUTCFullYear() > 9999) {
    return null;
  }
  return date.toISOString().slice(0, 19);
}
