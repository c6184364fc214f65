"""Looks up whether a call was done when its answer was lost; no two calls get the same record.

    answering   the request was sent, and its answer may still come
    looking     the answer is lost; what it made is looked for
    given       the identifier was returned to a caller

A record that `find` gives is returned when no other call can claim it: it was given to no one, no
call with the same input is still answering, and there are no more such records than calls with the
same input that look for theirs.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, NamedTuple

from .errors import ConnectorError, OutcomeUnknown

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0
_LAST_LOOK_SECONDS = 5.0  # a look that begins at the very end still has this time
_MOST_SHOWN = 20  # candidates in a message; `candidates` has them all
_SORTED = json.JSONEncoder(sort_keys=True)
_MOST_GIVEN = 100_000  # identifiers that are remembered


class Found(NamedTuple):
    """What an action's `find` gives.

    matches     outputs, as the action itself gives them, of what it certainly made, newest first
    candidates  identifiers of all that it may have made, the matches among them
    """

    matches: list[dict[str, Any]]
    candidates: list[str]


class Look(NamedTuple):
    """How a look-up ended: with the call's `output`, or with candidates for it."""

    output: dict[str, Any] | None
    candidates: tuple[str, ...]
    until: datetime
    fault: ConnectorError | None  # of the last look, which then has found nothing out


class Claim(NamedTuple):
    """What an engine's store or a ledger knows of identical calls, beside this connection.

    `is_taken(identifier)` tells whether it belongs to another call. `is_contested()` tells whether
    another process is still carrying out a call with the same input. `others()` counts such calls
    of processes that have ended, which look for theirs as this one does.
    """

    is_taken: Callable[[str], bool]
    is_contested: Callable[[], bool]
    others: Callable[[], int]


def claim_of(is_taken: Callable[[str], bool] | None) -> Claim:
    return Claim(is_taken or (lambda _: False), lambda: False, lambda: 0)


def identity(action: str, inputs: Mapping[str, Any]) -> bytes:
    """Return what two calls have in common whose records look the same."""
    return hashlib.sha256(_SORTED.encode([action, inputs]).encode("ascii")).digest()


class Known:
    """The calls of one connection that write: those under way, and what was returned."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answering: Counter[bytes] = Counter()
        self._looking: Counter[bytes] = Counter()
        self._given: dict[str, float] = {}
        self._forgotten_until = 0.0

    @contextmanager
    def answering(self, same: bytes) -> Iterator[None]:
        with self._counted(self._answering, same):
            yield

    @contextmanager
    def looking(self, same: bytes) -> Iterator[None]:
        with self._counted(self._looking, same):
            yield

    @contextmanager
    def _counted(self, counter: Counter[bytes], same: bytes) -> Iterator[None]:
        with self._lock:
            counter[same] += 1
        try:
            yield
        finally:
            with self._lock:
                counter[same] -= 1
                if not counter[same]:
                    del counter[same]

    def give(self, identifier: str) -> bool:
        """Note that this is returned to a caller; False when another was given it before."""
        with self._lock:
            return self._give(identifier)

    def _give(self, identifier: str) -> bool:
        if identifier in self._given:
            return False
        self._given[identifier] = time.time()
        if len(self._given) > _MOST_GIVEN:
            oldest = next(iter(self._given))
            self._forgotten_until = self._given.pop(oldest)
        return True

    def adopt(
        self, same: bytes, result: Found, name: str, since: datetime, claim: Claim
    ) -> dict[str, Any] | None:
        """Return the match that this call may take for its own, the oldest one, if there is one."""
        free = [match for match in result.matches if not claim.is_taken(match[name])]
        if not free or claim.is_contested():
            return None
        others = claim.others()
        with self._lock:
            free = [match for match in free if match[name] not in self._given]
            if not free or self._answering[same] or since.timestamp() <= self._forgotten_until:
                return None
            if len(free) > self._looking[same] + others:
                return None
            self._give(free[-1][name])
            return free[-1]

    def candidates(self, result: Found, claim: Claim) -> tuple[str, ...]:
        """Return the candidates that belong to no other call that is known."""
        with self._lock:
            free = [identifier for identifier in result.candidates if identifier not in self._given]
        return tuple(identifier for identifier in free if not claim.is_taken(identifier))


def look_up(
    look: Callable[[float], Found],
    adopt: Callable[[Found], dict[str, Any] | None],
    candidates: Callable[[Found], tuple[str, ...]],
    seconds: float,
    wait: Callable[[float], bool],
) -> Look:
    """Look, with growing pauses, until something is adopted or `seconds` have passed.

    `look(ends)` looks once, until the moment `ends` of the monotonic clock at most. `wait(seconds)`
    returns True when the looking must end. After a fault it goes on, unless the service has refused
    the look-up.
    """
    ends = time.monotonic() + max(seconds, 0)
    pause = _FIRST_PAUSE_SECONDS
    known: tuple[str, ...] = ()
    while True:
        until = datetime.now(timezone.utc)
        fault = None
        try:
            result = look(max(ends, time.monotonic() + _LAST_LOOK_SECONDS))
        except ConnectorError as error:
            fault = error
        else:
            output = adopt(result)
            if output is not None:
                return Look(output, (), until, None)
            known = candidates(result)
        left = ends - time.monotonic()
        if left <= 0 or (fault is not None and fault.outcome == "refused"):
            return Look(None, known, until, fault)
        if wait(min(pause, left)):
            return Look(None, known, until, fault)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def unresolved(error: OutcomeUnknown, look: Look) -> OutcomeUnknown:
    """Return the error with what the look-up has found out."""
    told = ""
    if look.candidates:
        told = f" It may be: {', '.join(look.candidates[:_MOST_SHOWN])}."
    return OutcomeUnknown(
        f"{error}{told}",
        status=error.status,
        provider_code=error.provider_code,
        request_id=error.request_id,
        hint=error.hint,
        candidates=look.candidates,
        looked_until=look.until.isoformat(timespec="seconds"),
    )
