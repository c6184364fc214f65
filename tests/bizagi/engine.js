'use strict';
// A case of notify.bpmn in bpmn-engine, whose service tasks call the unpacked package.
//
//   node engine.js NPM PACKAGE PROCESS GLOBALS INPUT
//
// Prints the ends that the case reached and what the connector gave, as JSON.

const fs = require('fs');
const path = require('path');

const [npm, folder, drawing, globals, input] = process.argv.slice(2);
const { Engine } = require(path.join(npm, 'node_modules', 'bpmn-engine'));
const router = require(path.join(folder, 'bizagiRouter.js'));

const given = { send_sms: () => JSON.parse(input), look_up: () => ({ sid: outputs.send_sms.sid }) };
const names = { send_sms: 'send-sms', look_up: 'get-sms-information' };
const outputs = {};
const ends = [];
const errors = {};

// What an engine needs for every action of every connector for Bizagi.
function connector(scope, done) {
  const task = scope.content.id;
  const data = { inputs: { input: given[task]() } };
  router.invokeAction(JSON.parse(globals), names[task], data, 'custom', (envelope) => {
    const { output, error } = envelope.response.outputs;
    if (envelope.success) {
      outputs[task] = output;
      done(null, output);
      return;
    }
    errors[task] = error;
    done(Object.assign(new Error(error.message), { name: 'BpmnError', code: error.error }));
  }, false);
}

const isDelivered = (scope, done) => done(null, outputs.look_up.status === 'delivered');

const engine = new Engine({ name: 'notify', source: fs.readFileSync(drawing, 'utf8') });
const { EventEmitter } = require('events');
const listener = new EventEmitter();
listener.on('activity.end', (activity) => activity.type === 'bpmn:EndEvent' && ends.push(activity.id));
engine.execute({ listener: listener, services: { connector, isDelivered } }, (error) => {
  console.log(JSON.stringify({ error: error && error.message, ends, outputs, errors }));
});
