'use strict';
// Reads the settings and inputs that the host passes, and decides which value is used.

const definition = require('./definition.json');
const errors = require('./errors');
const schema = require('./schema');

// The blank characters of Python's str.strip(), which the Python connector uses.
const BLANK = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]*';
const ALL_BLANK = new RegExp(`^${BLANK}$`);
const NUMERIC = new RegExp(`^${BLANK}(-?[0-9]+(?:\\.[0-9]+)?)${BLANK}$`);

const isObject = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
exports.isObject = isObject;

// An empty field of a form arrives as null, empty text or blank text.
function isGiven(value) {
  return value !== null && value !== undefined &&
    !(typeof value === 'string' && ALL_BLANK.test(value));
}

// The host passes objects or their JSON text. A missing one is read as an empty object.
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

// The action's inputs. If the host's data is malformed, the result is not an object.
exports.inputs = (data) => ['inputs', 'input'].reduce(
  (outer, name) => (isObject(outer) ? parsed(own(outer, name)) : undefined), parsed(data)
);

// Merge the action's own inputs, then the global parameters `names`, then the schema's defaults.
// Defaults come last, so that they never replace a global parameter. Unknown names are kept:
// validation reports them.
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

// A plain assignment to a field named '__proto__' would set the object's prototype.
function define(object, name, value) {
  Object.defineProperty(object, name, {
    value: value, enumerable: true, configurable: true, writable: true,
  });
}

// Return the settings with their defaults, or throw a Fault that lists everything that is wrong.
// A setting comes from the authentication parameters, or else from the global properties. Other
// names that the host has there are ignored.
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
    const value = places.map((place) => own(place, name)).find(isGiven);
    if (value !== undefined) {
      given[name] = asNumber(value, known.properties[name].type);
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

// The host passes every property as text.
function asNumber(value, type) {
  const match = type !== 'string' && typeof value === 'string' && NUMERIC.exec(value);
  return match ? Number(match[1]) : value;
}
