'use strict';
// Bizagi's own utilities as judge: what they read of a host's texts, and the envelope they make.
//
//   node judge.js FOLDER QUESTIONS.json ANSWERS.json
//
// FOLDER has bz-util in node_modules and the connector's own etc/ beside it, as bz-util expects.

const fs = require('fs');
const path = require('path');

const [folder, questionsFile, answersFile] = process.argv.slice(2);
const bizagi = require(path.join(path.resolve(folder), 'node_modules', 'bz-util'));
const questions = JSON.parse(fs.readFileSync(questionsFile, 'utf8'));

const answers = questions.map(({ globals, data, envelope }) => {
  if (envelope === undefined) {
    return {
      globals: bizagi.validator.isValidGlobalsJson(globals),
      data: bizagi.validator.isValidDataJson({ data: data }),
    };
  }
  const { output, error } = envelope.response.outputs;
  return bizagi.getResponse(output, error, envelope.connectorstatuscode, envelope.errormessage);
});
fs.writeFileSync(answersFile, JSON.stringify(answers));
