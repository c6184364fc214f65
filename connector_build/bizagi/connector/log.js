'use strict';
// What a handler is given as LOG: a file beside those of Bizagi's own connectors where the host
// switches logging on, and nothing otherwise. It never writes to stdout, and whatever goes wrong
// with it is no fault of the call.

const fs = require('fs');
const path = require('path');
const config = require('../../etc/config');

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];
const MOST_BYTES = 10 * 1024 * 1024; // then the file is put aside, and that of before is deleted

exports.SILENT = made(() => {});

// The log for a call: `enableLog` is true or 'true' where it is wanted; `project` names the file.
exports.open = (enableLog, project) => {
  if (String(enableLog) !== 'true') {
    return exports.SILENT;
  }
  const name = String(project || config.logFileName).replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 80);
  // Relative to where Bizagi's own utilities are in a package, as its template has it.
  const folder = path.join(__dirname, config.backingDownLogDirectory, 'Temporary', 'Connectors');
  const file = path.join(folder, `${name}.log`);
  const least = LEVELS.indexOf(String(config.levelLog).toLowerCase());
  return made((level, message) => {
    if (LEVELS.indexOf(level) >= least) {
      const line = `[${new Date().toISOString()}] [${level.toUpperCase()}] ${message}\n`;
      write(folder, file, line);
    }
  });
};

function made(write) {
  const log = {};
  LEVELS.forEach((level) => {
    log[level] = (message) => write(level, message);
  });
  return log;
}

// At once, so that the lines of a call come in their order and are there when it is answered.
function write(folder, file, line) {
  try {
    fs.mkdirSync(folder, { recursive: true });
    if (fs.existsSync(file) && fs.statSync(file).size > MOST_BYTES) {
      fs.renameSync(file, `${file}.1`);
    }
    fs.appendFileSync(file, line);
  } catch (error) {
    // A full or forbidden disk must not fail what was done.
  }
}
