'use strict';
// What became of a write whose answer was lost: it is looked up in the service, and what is found is
// taken only where no other call that this process knows can claim it. The rules are those of the
// Python connector.

const { Fault } = require('./errors');

const FIRST_PAUSE_SECONDS = 0.5;
const LONGEST_PAUSE_SECONDS = 8;
const MOST_SHOWN = 20; // candidates in a message
const REMEMBERED = 10000; // identifiers, the oldest of which are forgotten
// What looking again does not change.
const REFUSALS = ['CREDENTIALS_REFUSED', 'FORBIDDEN', 'NOT_FOUND', 'REFUSED'];

// Of this process: the identifiers that calls were answered with and when, and how many equal calls
// wait for their answer, or look for what became of them. Another process of the host has its own.
const given = new Map();
const answering = new Map();
const looking = new Map();
let forgottenUntil = 0;

function give(identifier) {
  given.set(identifier, Date.now());
  if (given.size > REMEMBERED) {
    const oldest = given.keys().next().value;
    forgottenUntil = given.get(oldest);
    given.delete(oldest);
  }
}

async function counted(counter, key, work) {
  counter.set(key, (counter.get(key) || 0) + 1);
  try {
    return await work();
  } finally {
    const left = counter.get(key) - 1;
    if (left > 0) {
      counter.set(key, left);
    } else {
      counter.delete(key);
    }
  }
}

// Make a write: `write()` resolves to the service's record of it. Where its outcome is unknown,
// look it up for up to `seconds`: `find(since, endsAt)` resolves to {matches, candidates}, records
// that are what became of a call since a moment, newest first, and the identifiers of all that may
// be. `key` is the same for identical calls, `identify` gives a record's identifier.
exports.resolved = async (key, write, find, identify, seconds, log) => {
  const since = Date.now();
  try {
    const record = await counted(answering, key, write);
    give(identify(record));
    return record;
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'OUTCOME_UNKNOWN' || seconds === 0) {
      throw error;
    }
    return counted(looking, key, () =>
      looked(error, key, (endsAt) => find(since, endsAt), since, identify, seconds, log));
  }
};

async function looked(error, key, find, since, identify, seconds, log) {
  const endsAt = Date.now() + seconds * 1000;
  let candidates = [];
  for (let pause = FIRST_PAUSE_SECONDS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_SECONDS)) {
    let isRefused = false;
    try {
      const found = await find(endsAt);
      const record = adopted(found.matches, key, since, identify);
      if (record !== null) {
        log.warn(`the answer was lost; the look-up found ${identify(record)}`);
        return record;
      }
      candidates = found.candidates.filter((identifier) => !given.has(identifier));
    } catch (fault) {
      // A fault of the look-up never turns an unknown into anything worse.
      isRefused = fault instanceof Fault && REFUSALS.includes(fault.code);
    }
    const left = endsAt - Date.now();
    if (left <= 0 || isRefused) {
      if (candidates.length > 0) {
        error.message += ` It may be: ${candidates.slice(0, MOST_SHOWN).join(', ')}.`;
      }
      throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause * 1000, left)));
  }
}

// The oldest match that no other call can claim, or null. An equal call that may still be answered
// could be any of them; and of more matches than there are calls that look, some are not theirs.
function adopted(matches, key, since, identify) {
  const free = matches.filter((record) => !given.has(identify(record)));
  const mayBeAnothers = answering.has(key) || free.length > looking.get(key);
  if (free.length === 0 || mayBeAnothers || since <= forgottenUntil) {
    return null;
  }
  const oldest = free[free.length - 1];
  give(identify(oldest));
  return oldest;
}
