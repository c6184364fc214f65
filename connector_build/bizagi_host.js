'use strict';
// A host for connectors of Bizagi, to test them with: it makes the HTTP call that the service makes
// which runs connectors, as far as it is known. docs/bizagi.md tells how to use it.
//
//   node bizagi_host.js --connectors FOLDER [--port 16541] [--workers 2]
//
// FOLDER holds unpacked packages; `connectorpath` names one of them. The first line of its output
// is "listening on http://127.0.0.1:PORT". What a connector may not do is told on stderr, one line
// each: answering twice, writing to stdout or stderr, ending the process.
//
//   POST /connector/invokeCustomAction    {connectorpath, actionname, authenticationtype, data,
//                                          globals, enablelog, controllerversion}
//   POST /connector/authenticator         {connectorpath, globals, enablelog}
//   POST /connector/cleanAllModulesCache  the same; every worker cleans, as after an update in place
//
// `data` and `globals` are JSON texts. The answer is the connector's envelope, unchanged.

const cluster = require('cluster');
const fs = require('fs');
const http = require('http');
const path = require('path');

const MOST_BYTES = 10 * 1024 * 1024; // of a request
const CONTROL = /[\b\f\n\r\t\v]/g; // what the host drops from the texts
const HELP = 'usage: node bizagi_host.js --connectors FOLDER [--port 16541] [--workers 2]';

const isFirst = cluster.isPrimary === undefined ? cluster.isMaster : cluster.isPrimary;
if (isFirst) {
  lead(options(process.argv.slice(2)));
} else {
  serve(JSON.parse(process.env.BIZAGI_HOST));
}

function options(given) {
  const read = { connectors: null, port: '16541', workers: '2' };
  for (let i = 0; i < given.length; i += 2) {
    const name = given[i].replace(/^--/, '');
    if (!(name in read) || given[i + 1] === undefined) {
      console.error(HELP);
      process.exit(2);
    }
    read[name] = given[i + 1];
  }
  if (read.connectors === null) {
    console.error(HELP);
    process.exit(2);
  }
  return read;
}

// The first process: starts the workers, and a new one for each that a connector ended.
function lead(chosen) {
  let waiting = Number(chosen.workers);
  const tell = (text) => process.stderr.write(`${text}\n`);
  const start = () => {
    (cluster.setupPrimary || cluster.setupMaster)({ silent: true });
    const worker = cluster.fork({ BIZAGI_HOST: JSON.stringify(chosen) });
    const blame = (name) => (chunk) =>
      String(chunk).trim().split('\n').forEach((line) => tell(`a connector wrote to ${name}: ${line}`));
    worker.process.stdout.on('data', blame('stdout'));
    worker.process.stderr.on('data', blame('stderr'));
    worker.on('message', (message) => {
      if (message.fault) {
        tell(message.fault);
      } else if (message.listening) {
        waiting -= 1;
        if (waiting === 0) {
          process.stdout.write(`listening on http://127.0.0.1:${message.listening}\n`);
        } else if (waiting > 0) {
          start();
        }
      } else if (message.clean) {
        clean(worker, message.clean);
      }
    });
  };
  cluster.on('exit', (worker, code, signal) => {
    if (waiting > 0) {
      tell(`a process of the host ended while it started (${signal || `exit status ${code}`})`);
      process.exit(1);
    } else if (code !== 0) {
      tell(`a connector ended its process (exit status ${code})`);
      start();
    }
  });
  process.stdin.on('end', () => process.exit(0)); // whoever started it is gone
  process.stdin.resume();
  process.on('exit', () => Object.keys(cluster.workers).forEach((id) => cluster.workers[id].kill()));
  start();
}

// Let every worker clean up, then tell the one that was asked.
function clean(asked, order) {
  const workers = Object.keys(cluster.workers).map((id) => cluster.workers[id]);
  const answers = [];
  workers.forEach((worker) => {
    const heard = (message) => {
      if (message.cleaned === order.id) {
        worker.removeListener('message', heard);
        answers.push(message.envelope);
        if (answers.length === workers.length) {
          asked.send({ done: order.id, envelope: answers[0] });
        }
      }
    };
    worker.on('message', heard);
    worker.send({ clean: order });
  });
}

function serve(chosen) {
  const cleaning = new Map();
  const fault = (text) => process.send({ fault: text });
  const router = (call) => require(path.join(
    path.resolve(chosen.connectors), String(call.connectorpath || '.'), 'bizagiRouter.js'
  ));

  const server = http.createServer((request, response) => {
    const answer = (status, body) => {
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    read(request, (error, call) => {
      if (error) {
        answer(error === 'large' ? 413 : 400, { error: error });
      } else {
        dispatch(request, call, answer);
      }
    });
  });

  function dispatch(request, call, answer) {
    const name = `${request.method} ${request.url}`;
    let answered = 0;
    const callback = (envelope) => {
      answered += 1;
      if (answered === 1) {
        answer(200, envelope);
      } else {
        fault(`a connector answered ${answered} times: ${call.actionname || request.url}`);
      }
      if (call.callbackthrows) {
        throw new Error('the host failed by itself');
      }
    };
    const globals = arrived(call.globals);
    const data = arrived(call.data);
    let loaded;
    try {
      loaded = router(call);
    } catch (error) {
      answer(404, { error: `the connector can't be loaded: ${error.message}` });
      return;
    }
    if (name === 'POST /connector/invokeCustomAction') {
      loaded.invokeAction(
        globals, call.actionname, data, call.authenticationtype, callback, call.enablelog
      );
    } else if (name === 'POST /connector/authenticator') {
      loaded.authenticator(globals, callback, call.enablelog);
    } else if (name === 'POST /connector/cleanAllModulesCache') {
      const id = `${process.pid} ${cleaning.size}`;
      cleaning.set(id, answer);
      process.send({ clean: { id: id, call: call } });
    } else {
      answer(404, { error: `nothing is served at ${name}` });
    }
  }

  process.on('message', (message) => {
    if (message.clean) {
      const call = message.clean.call;
      router(call).cleanAllModulesCache(arrived(call.globals), (envelope) => {
        process.send({ cleaned: message.clean.id, envelope: envelope });
      }, call.enablelog);
    } else if (message.done) {
      cleaning.get(message.done)(200, message.envelope);
    }
  });
  server.listen(Number(chosen.port), '127.0.0.1', () => {
    process.send({ listening: server.address().port });
  });
}

// What the host makes of a JSON text before it parses it.
function arrived(text) {
  return text === undefined ? undefined : JSON.parse(unescape(text.replace(CONTROL, '')));
}

function read(request, done) {
  const chunks = [];
  let size = 0;
  request.on('data', (chunk) => {
    size += chunk.length;
    if (size <= MOST_BYTES) {
      chunks.push(chunk);
    }
  });
  request.on('end', () => {
    if (size > MOST_BYTES) {
      done('large');
      return;
    }
    let call;
    try {
      call = JSON.parse(Buffer.concat(chunks).toString('utf8'));
      arrived(call.globals);
      arrived(call.data);
    } catch (error) {
      done(`not JSON: ${error.message}`);
      return;
    }
    done(null, call);
  });
}
