'use strict';
// A host that knows only the documented interface: unpacked folder, calls, file for the answers.
//
//   node host.js FOLDER CALLS.json ANSWERS.json
//
// A call is {router: 'invokeAction' | 'authenticator' | 'cleanAllModulesCache', globals, action,
// data, times}. `globals` and `data` go through what the host does to the JSON text of them:
// control characters dropped, then unescape(). With `raw` they are passed as they are.

const fs = require('fs');
const path = require('path');

const CONTROL = /[\b\f\n\r\t\v]/g;
const AT_ONCE = 8;

const [folder, callsFile, answersFile] = process.argv.slice(2);
const router = require(path.join(path.resolve(folder), 'bizagiRouter.js'));
const calls = JSON.parse(fs.readFileSync(callsFile, 'utf8'));
const answers = calls.map(() => []);

function arrived(value) {
  return JSON.parse(unescape(JSON.stringify(value).replace(CONTROL, '')));
}

function make(call, place, done) {
  const globals = call.raw ? call.globals : arrived(call.globals);
  const data = call.raw || call.data === undefined ? call.data : arrived(call.data);
  const callback = (answer) => {
    answers[place].push(answer === undefined ? null : JSON.parse(JSON.stringify(answer)));
    done();
    if (call.throws) {
      throw new Error('the host failed by itself');
    }
  };
  if (call.router === 'invokeAction') {
    router.invokeAction(globals, call.action, data, 'custom', callback, false);
  } else {
    router[call.router](globals, callback, false);
  }
}

let next = 0;
function start() {
  if (next < calls.length) {
    const place = next;
    next += 1;
    let answered = false;
    make(calls[place], place, () => {
      if (!answered) {
        answered = true;
        setImmediate(start);
      }
    });
  }
}

for (let i = 0; i < AT_ONCE; i += 1) {
  start();
}
// Written at the very end, so that a second answer would be seen.
process.on('exit', () => fs.writeFileSync(answersFile, JSON.stringify(answers)));
