'use strict';
// The flow of one call: read the host's values, merge, validate, run, validate, answer.

const { URL } = require('url');
const definition = require('./definition.json');
const envelope = require('./envelope');
const errors = require('./errors');
const output = require('./output');
const resolution = require('./resolution');
const schema = require('./schema');
const settings = require('./settings');
const { Transport } = require('./transport');

const isObject = settings.isObject;
exports.isObject = isObject;

// Make an action's `invoke`. `connect(settings)` describes the service. `work(inputs, call)`
// resolves to the output, or rejects with a Fault. An action that writes also has `find(inputs,
// call, since)`, which looks up whether the write was made since a moment (ms).
exports.action = (connect, work, find) =>
  (globals, actionName, data, authenticationType, LOG, callback) => {
    const action = definition.actions[actionName];
    answer(connect, globals, action, LOG, callback, async (call, checked) => {
      const inputs = checkedInput(action, data, checked);
      const made = find
        ? await looked(action, call, checked, inputs, work, find, LOG)
        : whole(action, call, await work(inputs, call));
      const faults = [];
      const converted = output.forBizagi(action.output, made, faults);
      call.refuse(faults, made);
      return converted;
    });
  };

// Make the `invoke` of the connection check. `work(call)` resolves to what users see.
exports.check = (connect, work) => (globals, LOG, callback) => {
  const action = { name: 'check', repeatable: true };
  answer(connect, globals, action, LOG, callback, work);
};

function answer(connect, globals, action, LOG, callback, work) {
  outcome(connect, globals, action, LOG, work).then(
    (made) => callback(envelope.success(made)),
    (error) => callback(envelope.failure(error))
  );
}

async function outcome(connect, globals, action, LOG, work) {
  const checked = settings.check(globals);
  const transport = new Transport(connect(checked), checked, LOG);
  const call = new Call(action, checked, transport);
  try {
    return await work(call, checked);
  } finally {
    transport.close();
  }
}

function looked(action, call, checked, inputs, work, find, LOG) {
  const key = JSON.stringify([call.owner, action.name, inputs]);
  const identify = (made) => made[action.identifier];
  const write = async () => {
    try {
      return whole(action, call, await work(inputs, call));
    } catch (error) {
      // After the request was sent, even a defect must be reported as an unknown outcome.
      throw error instanceof errors.Fault || !call.posted
        ? error : call.unreadable('was not understood');
    }
  };
  const search = (since, endsAt) => find(inputs, call.lookUp(endsAt), since);
  return resolution.resolved(key, write, search, identify, checked.resolveSeconds, LOG);
}

function whole(action, call, made) {
  call.refuse(schema.faults(action.output, made), made);
  return made;
}

function checkedInput(action, data, globals) {
  const given = settings.inputs(data);
  if (!isObject(given)) {
    throw new errors.Fault(
      'INVALID_INPUT', `${action.name} input: it must be an object with fields.`
    );
  }
  const merged = settings.merge(given, globals, action.globals, action.input);
  const problems = schema.problems(action.input, merged).map((problem) => {
    const name = action.globals.find((global) => problem === `'${global}' is required`);
    return name ? `${problem} (as input, or as the global parameter '${name}')` : problem;
  });
  if (problems.length) {
    throw new errors.Fault('INVALID_INPUT', `${action.name} input: ${problems.join('; ')}.`);
  }
  return merged;
}

// What a handler gets in addition to its input.
class Call {
  constructor(action, checked, transport, lookUp) {
    this.settings = checked;
    this.posted = false;
    // The account at the service
    this.owner = transport.owner;
    this._action = action;
    this._transport = transport;
    this._made = lookUp || {
      name: action.name,
      repeatable: action.repeatable,
      size: action.streams ? 'page' : 'one',
      endsAt: null,
    };
  }

  // A copy of this call that looks up its outcome. It waits for nothing after `endsAt` (ms).
  lookUp(endsAt) {
    return new Call(this._action, this.settings, this._transport, {
      name: this._action.name, repeatable: true, size: 'one', endsAt: endsAt,
    });
  }

  get(path) {
    return this._transport.request(this._made, 'GET', path, null);
  }

  post(path, form) {
    this.posted = true;
    return this._transport.request(this._made, 'POST', path, form);
  }

  // Convert a moment (ms) of this machine's clock to the service's clock, by its last answer.
  onServiceClock(moment) {
    return moment + this._transport.clockAheadMs;
  }

  unreadable(why) {
    return this._transport.unreadable(this._made, why, {});
  }

  // The URL that `uri` means in an answer from `path`, or null if it is not a URL.
  resolve(path, uri) {
    try {
      return new URL(uri, new URL(path, this.settings.apiBaseUrl));
    } catch (error) {
      return null;
    }
  }

  checkOrigin(url) {
    if (url.origin !== new URL(this.settings.apiBaseUrl).origin || url.username || url.password) {
      throw new errors.Fault(
        'INVALID_ANSWER',
        `${definition.displayName}'s answer points to another server, which was not followed.`
      );
    }
  }

  // Throw a Fault if an output has faults, in the form that schema.faults returns.
  refuse(faults, made) {
    const action = this._action;
    if (faults.length === 0) {
      return;
    }
    let why = `can't be read: ${faults.slice(0, 10).map(schema.words).join('; ')}`;
    const name = action.identifier;
    if (name && !faults.some((f) => f.path.length === 0 || f.path.join('.') === name)) {
      why += `. It names '${name}' ${made[name]}`;
    }
    throw this.unreadable(why);
  }
}
