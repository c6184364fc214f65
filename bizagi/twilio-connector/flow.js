'use strict';
// The flow of one call: read the host's values, merge, validate, run, validate, answer.

const { URL } = require('url');
const definition = require('./definition.json');
const envelope = require('./envelope');
const errors = require('./errors');
const message = require('./message');
const schema = require('./schema');
const service = require('./service');
const settings = require('./settings');
const { Http } = require('./http');

const isObject = settings.isObject;
exports.isObject = isObject;

// Run an action. `work(inputs, call)` resolves to the output, or rejects with a Fault.
exports.run = (name, globals, data, callback, work) => {
  const action = definition.actions[name];
  answer(callback, globals, action, async (call, checked) => {
    const inputs = checkedInput(action, data, checked);
    const output = await work(inputs, call);
    call.checkOutput(output);
    return message.forBizagi(call, action.output, output);
  });
};

// Run the connection check. `work(call)` resolves to what is to be shown.
exports.check = (globals, callback, work) => {
  answer(callback, globals, { name: 'check', repeatable: true }, work);
};

function answer(callback, globals, action, work) {
  const deliver = envelope.once(callback);
  outcome(globals, action, work).then(
    (output) => deliver(envelope.success(output)),
    (error) => deliver(envelope.failure(error))
  );
}

async function outcome(globals, action, work) {
  const checked = settings.check(globals);
  const http = new Http(service.connect(checked));
  const call = new Call(action, checked, http);
  try {
    return await work(call, checked);
  } catch (error) {
    if (error instanceof errors.Fault || !call.posted) {
      throw error;
    }
    throw call.unreadable("was not understood");
  } finally {
    http.close();
  }
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
    const name = action.globals.find((each) => problem === `'${each}' is required`);
    return name ? `${problem} (as input, or as the global parameter '${name}')` : problem;
  });
  if (problems.length) {
    throw new errors.Fault('INVALID_INPUT', `${action.name} input: ${problems.join('; ')}.`);
  }
  return merged;
}

// What a handler is given beside its input.
class Call {
  constructor(action, checked, http) {
    this.settings = checked;
    this.posted = false;
    this._action = action;
    this._http = http;
  }

  get(path) {
    return this._http.request(this._action, 'GET', path, null);
  }

  post(path, form) {
    this.posted = true;
    return this._http.request(this._action, 'POST', path, form);
  }

  unreadable(why) {
    return this._http.unreadable(this._action, why, {});
  }

  // The URL that `uri` means on an answer from `path`, or null when it is none.
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
        'INVALID_ANSWER', "Twilio's answer points to another server, which was not followed."
      );
    }
  }

  checkOutput(output) {
    this.refuseOutput(schema.faults(this._action.output, output), output);
  }

  refuseOutput(faults, output) {
    const action = this._action;
    if (faults.length === 0) {
      return;
    }
    let why = `can't be read: ${faults.slice(0, 10).map(schema.words).join('; ')}`;
    const name = action.identifier;
    if (name && !faults.some((f) => f.path.length === 0 || f.path.join('.') === name)) {
      why += `. It names '${name}' ${output[name]}`;
    }
    throw this.unreadable(why);
  }
}
