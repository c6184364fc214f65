'use strict';
// Converts an action's output for Bizagi: dates become 2018-05-15T16:02:24 (UTC), and a number
// becomes text if its field may be text. Everything else is as in the Python connector.

const isObject = require('./settings').isObject;

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
const DATE = /^\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)$/;

// Return the converted `output`. What can't be converted is added to `faults`, in the form that
// schema.faults returns.
exports.forBizagi = (document, output, faults) => walk(document, output, [], faults);

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
  const moment = parseDate(value);
  if (moment === null) {
    faults.push({ path: path, keyword: 'date', document: document });
    return null;
  }
  return new Date(moment).toISOString().slice(0, 19);
}

// The moment (ms) of a date such as 'Tue, 15 May 2018 16:02:24 +0000', or null if it is not a date.
function parseDate(text) {
  const match = DATE.exec(text);
  if (match === null) {
    return null;
  }
  const [day, year, hour, minute, second, offsetHours, offsetMinutes] =
    [1, 3, 4, 5, 6, 8, 9].map((group) => Number(match[group]));
  const date = new Date(0);
  date.setUTCFullYear(year, MONTHS.indexOf(match[2]), day);
  if (date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 60) {
    return null;
  }
  const ahead = (match[7] === '-' ? -1 : 1) * (offsetHours * 60 + offsetMinutes);
  // A leap second becomes the first second of the next minute
  date.setUTCHours(hour, minute - ahead, second);
  return date.getUTCFullYear() < 1 || date.getUTCFullYear() > 9999 ? null : date.getTime();
}
exports.parseDate = parseDate;
