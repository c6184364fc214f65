'use strict';
// Finds the result of a write whose answer was lost: it is looked up in the service. A record is
// used only if it can't belong to another call of this process. The Python connector has the same
// rules.

const { Fault } = require('./errors');

const FIRST_PAUSE_SECONDS = 0.5;
const LONGEST_PAUSE_SECONDS = 8;
// The most candidates that a message lists
const MOST_SHOWN = 20;
// The most identifiers that are kept; then the oldest is forgotten
const REMEMBERED = 10000;
// Looking again does not help after these.
const REFUSALS = ['CREDENTIALS_REFUSED', 'FORBIDDEN', 'NOT_FOUND', 'REFUSED'];

// Each process of the host has its own: the identifiers that calls returned and when (ms), how many
// identical calls wait for their answer, and how many identical calls look for their result.
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

// Make a write: `write()` resolves to the service's record of it. If the outcome is unknown, look
// it up for at most `seconds`. `find(since, endsAt)` (both in ms) resolves to {matches,
// candidates}: the records that fit the call, newest first, and the identifiers of all records
// that may fit. Identical calls have the same `key`; `identify` returns a record's identifier.
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
      const seen = await find(endsAt);
      const record = adopted(seen.matches, key, since, identify);
      if (record !== null) {
        log.warn(`the answer was lost; the look-up found ${identify(record)}`);
        return record;
      }
      candidates = seen.candidates.filter((identifier) => !given.has(identifier));
    } catch (fault) {
      // If the look-up fails, the outcome stays unknown: the write's own error is thrown.
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

// The oldest match that can belong to no other call, or null. While an identical call still waits
// for its answer, each match may be its record. And if there are more matches than calls that
// look, some matches belong to other calls.
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
