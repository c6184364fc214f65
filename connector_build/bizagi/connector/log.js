'use strict';
// What a handler gets as LOG. If the host switches logging on, it writes a file next to the logs
// of Bizagi's own connectors; otherwise it writes nothing. It never writes to stdout, and an error
// of the log does not fail the call.

const fs = require('fs');
const path = require('path');
const config = require('../../etc/config');

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];
// A larger file is renamed to NAME.1, which replaces the previous one
const MOST_BYTES = 10 * 1024 * 1024;

exports.SILENT = made(() => {});

// The log for a call. `enableLog` is true or 'true' to switch it on; `project` names the file.
exports.open = (enableLog, project) => {
  if (String(enableLog) !== 'true') {
    return exports.SILENT;
  }
  const name = String(project || config.logFileName).replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 80);
  // Bizagi's template takes this path relative to its own utilities in a package.
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

// Write synchronously: the lines of a call stay in order and are in the file before its answer.
function write(folder, file, line) {
  try {
    fs.mkdirSync(folder, { recursive: true });
    if (fs.existsSync(file) && fs.statSync(file).size > MOST_BYTES) {
      fs.renameSync(file, `${file}.1`);
    }
    fs.appendFileSync(file, line);
  } catch (error) {
    // A disk that is full or not writable must not fail the call.
  }
}
