'use strict';
// The part of JSON Schema that the connector's schemas use, with messages for people. A message
// never contains the value: it may be a secret, a phone number or a message body.

const TYPES = {
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
  null: 'null',
};
const DEEPEST = 64;
const LONE_SURROGATE =
  /[\ud800-\udbff](?![\udc00-\udfff])|(?:[^\ud800-\udbff]|^)[\udc00-\udfff]/;

// Every fault of `value`, as sentences without a full stop.
exports.problems = (document, value) => exports.faults(document, value).map(words);

// Every fault of `value`, as {path, keyword, document, value}: `document` is the subschema.
exports.faults = (document, value) => {
  const faults = [];
  addUnencodable(value, [], faults);
  if (faults.length === 0) {
    validate(document, value, [], faults);
  }
  const order = Object.keys(document.properties);
  const rank = (fault) => {
    const place = order.indexOf(fault.path[0]);
    return fault.path.length === 0 ? -1 : place < 0 ? order.length : place;
  };
  const steps = (fault) => fault.path.map(
    (step) => (typeof step === 'number' ? `00000000${step}`.slice(-9) : step)
  );
  return faults.sort((a, b) =>
    rank(a) - rank(b) || compare(steps(a), steps(b)) || compare([a.keyword], [b.keyword]));
};

function compare(one, other) {
  for (let i = 0; i < Math.min(one.length, other.length); i += 1) {
    if (one[i] !== other[i]) {
      return one[i] < other[i] ? -1 : 1;
    }
  }
  return one.length - other.length;
}

function typeOf(value) {
  if (value === null) {
    return 'null';
  }
  return Array.isArray(value) ? 'array' : typeof value;
}

function isOf(type, value) {
  return type === 'integer' ? Number.isInteger(value) : typeOf(value) === type;
}

const has = (object, name) => Object.prototype.hasOwnProperty.call(object, name);

// The length of a text in characters, not in UTF-16 units.
const length = (text) => Array.from(text).length;

// The keywords that are checked. connector_build.bizc refuses a schema with other keywords.
const CHECKS = {
  pattern: (s, v) => typeof v !== 'string' || new RegExp(s.pattern, 'u').test(v),
  minLength: (s, v) => typeof v !== 'string' || length(v) >= s.minLength,
  maxLength: (s, v) => typeof v !== 'string' || length(v) <= s.maxLength,
  minimum: (s, v) => typeof v !== 'number' || v >= s.minimum,
  maximum: (s, v) => typeof v !== 'number' || v <= s.maximum,
};

function validate(document, value, path, faults) {
  if (document.type && ![].concat(document.type).some((type) => isOf(type, value))) {
    faults.push({ path: path, keyword: 'type', document: document, value: value });
  }
  Object.keys(CHECKS).forEach((keyword) => {
    if (keyword in document && !CHECKS[keyword](document, value)) {
      faults.push({ path: path, keyword: keyword, document: document, value: value });
    }
  });
  if (typeOf(value) === 'array' && document.items) {
    value.forEach((item, place) => validate(document.items, item, path.concat(place), faults));
  }
  if (typeOf(value) !== 'object' || !document.properties) {
    return;
  }
  (document.required || []).filter((name) => !has(value, name)).forEach((name) => {
    faults.push({ path: path.concat(name), keyword: 'required', document: document });
  });
  Object.keys(value).forEach((name) => {
    if (has(document.properties, name)) {
      validate(document.properties[name], value[name], path.concat(name), faults);
    } else if (document.additionalProperties === false) {
      faults.push({ path: path.concat(name), keyword: 'additionalProperties', document: document });
    }
  });
}

// Add a fault for everything that JSON can't contain.
function addUnencodable(value, path, faults) {
  const fault = (keyword, where) =>
    faults.push({ path: where || path, keyword: keyword, document: {} });
  const type = typeOf(value);
  if (type === 'string') {
    if (LONE_SURROGATE.test(value)) {
      fault('surrogate');
    }
  } else if (type === 'number') {
    if (!Number.isFinite(value)) {
      fault('finite');
    }
  } else if (type === 'array' || type === 'object') {
    if (path.length > DEEPEST) {
      fault('depth');
      return;
    }
    if (type === 'array') {
      value.forEach((item, place) => addUnencodable(item, path.concat(place), faults));
      return;
    }
    Object.keys(value).forEach((name) => {
      if (LONE_SURROGATE.test(name)) {
        fault('surrogate', path.concat('(name)'));
      }
      addUnencodable(value[name], path.concat(name), faults);
    });
  } else if (type !== 'null' && type !== 'boolean') {
    fault('json');
  }
}

function words(fault) {
  const name = place(fault.path);
  const document = fault.document;
  switch (fault.keyword) {
    case 'required': return `${name} is required`;
    case 'additionalProperties': return `${name} is not known`;
    case 'surrogate':
      return `${name} contains half a character (a lone surrogate), which is not valid in text`;
    case 'finite': return `${name} must be a finite number`;
    case 'depth': return `${name} is nested too deeply`;
    case 'json': return `${name} must be text, a number, true, false, null, a list or an object`;
    case 'date': return `${name} must be a date that exists in the calendar`;
    case 'type': {
      const kinds = [].concat(document.type);
      const bare = ['number', 'boolean'].indexOf(typeof fault.value) >= 0;
      const quotes = bare && kinds.join() === 'string' ? ': put it in quotes' : '';
      return `${name} must be ${kinds.map((kind) => TYPES[kind]).join(' or ')}${quotes}`;
    }
    default:
      return document['x-mustBe'] ? `${name} must be ${document['x-mustBe']}`
        : `${name} breaks the rule '${fault.keyword}': ${document[fault.keyword]}`;
  }
}
exports.words = words;

// A path for people: ['items', 3, 'price'] becomes 'items[3].price'.
function place(path) {
  const text = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('');
  return path.length ? `'${text.replace(/^\./, '').slice(0, 80)}'` : 'it';
}
