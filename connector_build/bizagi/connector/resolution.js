'use strict';
// What became of a write whose answer was lost: it is looked up in the service, and taken as found
// only where exactly one match belongs to no other call that this process knows.

const { Fault } = require('./errors');

const FIRST_PAUSE_SECONDS = 1;
const LONGEST_PAUSE_SECONDS = 8;
const REMEMBERED = 10000; // identifiers, the oldest of which are forgotten

// Of this process: the identifiers that calls were answered with, and the calls under way whose
// answer may still come. Another process of the host has its own.
const known = new Set();
const underWay = new Map();

function remember(identifier) {
  known.add(identifier);
  if (known.size > REMEMBERED) {
    known.delete(known.values().next().value);
  }
}

// Make a write: `write()` resolves to the service's record of it. Where its outcome is unknown,
// look it up for up to `seconds`: `find(since)` resolves to {matches, candidates}, records that are
// what became of a call since a moment, and the identifiers of all that may be. `key` is the same
// for calls that can't be told apart, `identify` gives a record's identifier.
exports.resolved = async (key, write, find, identify, seconds, log) => {
  const since = Date.now();
  underWay.set(key, (underWay.get(key) || 0) + 1);
  let error;
  try {
    const record = await write();
    remember(identify(record));
    return record;
  } catch (thrown) {
    error = thrown;
  } finally {
    const others = underWay.get(key) - 1;
    if (others > 0) {
      underWay.set(key, others);
    } else {
      underWay.delete(key);
    }
  }
  if (!(error instanceof Fault) || error.code !== 'OUTCOME_UNKNOWN' || seconds === 0) {
    throw error;
  }
  const endsAt = Date.now() + seconds * 1000;
  let candidates = [];
  for (let pause = FIRST_PAUSE_SECONDS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_SECONDS)) {
    let found = null;
    try {
      found = await find(since, endsAt);
    } catch (fault) {
      if (!(fault instanceof Fault)) {
        throw error; // the look-up's faults never turn an unknown into anything worse
      }
    }
    if (found !== null) {
      const free = found.matches.filter((record) => !known.has(identify(record)));
      candidates = found.candidates.filter((identifier) => !known.has(identifier));
      // An equal call that may still be answered could be the one that was found.
      if (free.length === 1 && !underWay.has(key)) {
        remember(identify(free[0]));
        log.warn(`the answer was lost; the look-up found ${identify(free[0])}`);
        return free[0];
      }
    }
    const left = endsAt - Date.now();
    if (left <= 0) {
      throw withCandidates(error, candidates);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(pause * 1000, left)));
  }
};

function withCandidates(error, candidates) {
  if (candidates.length > 0) {
    error.message += ` It may be: ${candidates.slice(0, 20).join(', ')}.`;
  }
  return error;
}
