'use strict';
// Read by Bizagi's own utilities; this connector writes no log.

module.exports = {
  backingDownConfigFile: '../../../../',
  backingDownLogDirectory: '../../../../',
  logFileName: 'twilio.log',
  levelLog: 'INFO',
  logType: 'file',
};
