'use strict';
// What the host hands over: settings, inputs, what counts as given, and which value wins.

const definition = require('./definition.json');
const errors = require('./errors');
const schema = require('./schema');

// Blank as Python's str.strip() has it, which the Python connector goes by.
const BLANK = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*';
const ALL_BLANK = new RegExp(`^${BLANK}$`);
const NUMERIC = new RegExp(`^${BLANK}(-?[0-9]+(?:\\.[0-9]+)?)${BLANK}$`);

const isObject = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
exports.isObject = isObject;

// Null, empty and blank text are what an empty field of a form leaves behind.
function isGiven(value) {
  return value !== null && value !== undefined &&
    !(typeof value === 'string' && ALL_BLANK.test(value));
}

// The host passes objects, or the JSON text of them; what is not given is an empty one.
function parsed(value) {
  if (!isGiven(value)) {
    return {};
  }
  if (typeof value !== 'string') {
    return value;
  }
  try {
    return JSON.parse(value);
  } catch (error) {
    return undefined;
  }
}

function own(object, name) {
  return Object.prototype.hasOwnProperty.call(object, name) ? object[name] : undefined;
}

// The name of the project that a call belongs to, or undefined.
exports.project = (globals) => {
  const host = parsed(globals);
  return isObject(host) && typeof own(host, 'projectname') === 'string'
    ? own(host, 'projectname') : undefined;
};

// The action's inputs, or something that is no object where the host's data is malformed.
exports.inputs = (data) => ['inputs', 'input'].reduce(
  (outer, name) => (isObject(outer) ? parsed(own(outer, name)) : undefined), parsed(data)
);

// The action's own values, then the globals `names`, then schema defaults, so that a default never
// overwrites a global that was set. Unknown names are kept, for validation to report.
function merge(inputs, parameters, names, known) {
  const merged = {};
  Object.keys(inputs).forEach((name) => {
    if (own(known.properties, name) === undefined || isGiven(inputs[name])) {
      define(merged, name, inputs[name]);
    }
  });
  names.forEach((name) => {
    if (own(merged, name) === undefined && isGiven(own(parameters, name))) {
      merged[name] = parameters[name];
    }
  });
  Object.keys(known.properties).forEach((name) => {
    const standard = known.properties[name].default;
    if (own(merged, name) === undefined && standard !== undefined) {
      merged[name] = standard;
    }
  });
  return merged;
}
exports.merge = merge;

// Assignment would set the prototype where a field is called '__proto__'.
function define(object, name, value) {
  Object.defineProperty(object, name, {
    value: value, enumerable: true, configurable: true, writable: true,
  });
}

// Return the settings with defaults filled in, or throw a Fault with everything that is wrong.
// Each is taken from the authentication parameters or else from the global properties; what the
// host keeps there besides is not ours.
exports.check = (globals) => {
  const known = definition.settings;
  const host = parsed(globals);
  const places = isObject(host)
    ? [parsed(own(host, 'authdata')), parsed(own(host, 'systemproperties'))] : [undefined];
  if (!places.every(isObject)) {
    throw new errors.Fault(
      'INVALID_CONFIGURATION', 'configuration: the settings must be a mapping of names.'
    );
  }
  const given = {};
  Object.keys(known.properties).forEach((name) => {
    const found = places.map((place) => own(place, name)).find(isGiven);
    if (found !== undefined) {
      given[name] = asNumber(found, known.properties[name].type);
    }
  });
  const checked = merge(given, {}, [], known);
  const problems = schema.problems(known, checked).map((problem) =>
    problem.endsWith('is required') ? `${problem} (set it for this environment)` : problem
  );
  if (problems.length) {
    throw new errors.Fault('INVALID_CONFIGURATION', `configuration: ${problems.join('; ')}.`);
  }
  return checked;
};

// Every property of the host is text.
function asNumber(value, type) {
  const match = type !== 'string' && typeof value === 'string' && NUMERIC.exec(value);
  return match ? Number(match[1]) : value;
}
