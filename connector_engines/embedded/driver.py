"""Runs cases: one thread runs their steps, a pool of threads makes their calls.

The steps inside a process need no I/O and can be repeated; a call can't. So the state of a case is
committed just before each call begins and as soon as it ends. If the program is killed between
these two commits, the store still shows that the call had begun.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from connector_engines.bpmn import Request, UnexpectedFault
from connector_runtime import Connection
from connector_runtime.errors import ConnectorError, OutcomeUnknown

from .case import Case

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("connector_engines.embedded")

# No wait is longer. The clock may have been set, and not every Ctrl-C ends a wait: one that comes
# just before it begins does not, and on Windows none does.
_LONGEST_WAIT_SECONDS = 1.0
# The most stored cases that are read at one time
_AT_ONCE = 200


class _Begun(NamedTuple):
    case: Case
    request: Request
    connection: Connection
    action: Any


class _Ended(NamedTuple):
    begun: _Begun
    result: dict[str, Any] | ConnectorError


class Driver:
    """One run of `Engine.run`: its cases, their wanted and running calls, and their timers.

    With `lazily`, it runs all cases of the store, and reads a case only when it is due.
    """

    def __init__(self, engine: Engine, cases: Iterable[Case], lazily: bool) -> None:
        self.engine = engine
        self.cases = set(cases)
        self.lazily = lazily
        self.next_stored: float | None = 0.0 if lazily else None
        # Cases to advance
        self.fresh = dict.fromkeys(cases)
        # Cases that changed since the last commit
        self.changed: dict[Case, None] = {}
        # Cases whose change was interrupted
        self.broken: dict[Case, None] = {}
        self.wanted: deque[tuple[Case, str]] = deque()
        # By task: calls that are marked as begun, but no thread makes them yet
        self.begun: dict[str, _Begun] = {}
        # By task: calls that were given to a thread and have not ended
        self.underway: dict[str, _Begun] = {}
        # A heap of times (seconds since 1970): when a timer fires (task None) or a call begins
        self.due: list[tuple[float, int, Case, str | None]] = []
        self.timers: dict[Case, float] = {}
        self.numbers = count()
        # What other threads tell this one. They release the lock after each signal, to wake it.
        # Not a SimpleQueue: in Python 3.10 to 3.12, a `get` with a very short time limit may never
        # end. Not an Event: it takes several locks, and so more time for each call.
        self.signals: deque[_Ended | Case | None] = deque()
        self.silence = threading.Lock()
        self.silence.acquire()

    def run(self) -> None:
        with self.engine.lock:
            for case in self.cases:
                if case.driver is not None:
                    raise RuntimeError(f"case {case.id} is running")
            for case in self.cases:
                case.driver = self
                self.engine.take(case)
            self.engine.drivers.add(self)
        try:
            while self._step():
                self._wait()
        except BaseException:
            self._land()
            raise
        finally:
            with self.engine.lock:
                self.engine.drivers.discard(self)
                for case in self.cases:
                    case.driver = None

    def signal(self, signal: _Ended | Case | None) -> None:
        """Tell this driver, from any thread, that a call ended or a case changed, or to look."""
        self.signals.append(signal)
        with contextlib.suppress(RuntimeError):  # another thread has just released it
            self.silence.release()

    @contextlib.contextmanager
    def _changing(self, case: Case) -> Iterator[None]:
        """Make a change of a case. If Ctrl-C interrupts it, the case stays in `broken`."""
        self.changed[case] = self.broken[case] = None
        with case.lock:
            yield
        del self.broken[case]

    def _step(self) -> bool:
        """Advance the cases, commit them, and begin calls. Return whether work is left."""
        self._fetch()
        while self.fresh:
            case = next(iter(self.fresh))
            with self._changing(case):
                self._advance(case)
            del self.fresh[case]
        beginning = []
        while self.wanted and self.engine.callers.take():
            case, task = self.wanted.popleft()
            with self._changing(case):
                begun = self._begun(case, task)
            if begun is None:
                self._give()
            else:
                self.begun[task] = begun
                beginning.append(begun)
        unsaved = self.engine.commit(self.changed)
        # A call must not begin unless the store shows it as begun
        for begun in beginning:
            if begun.case in unsaved:
                self._withdraw(begun.request.task)
            else:
                self.underway[begun.request.task] = begun
                self.engine.callers.run(partial(self._call, begun))
        changed, self.changed = self.changed, {}
        for case in changed:
            self.engine.tell(case)
            if self.lazily and case.rules.is_idle and case not in self.fresh:
                self._release(case)
        while self.due and not self._is_due(*self.due[0]):
            # Its case does not wait for it any more
            heapq.heappop(self.due)
        return bool(
            self.underway
            or self.wanted
            or self.due
            or self.fresh
            or self.next_stored is not None
            or self.signals
        )

    def _advance(self, case: Case) -> None:
        now = self.engine.clock.now()
        case.rules.advance(now)
        try:
            timer = case.rules.timer()
        except (ValueError, OverflowError) as error:
            # The timer has a date that does not exist
            case.rules.stop(error)
            timer = None
        for task, due in case.rules.take_fresh():
            if due <= now:
                self.wanted.append((case, task))
            else:
                heapq.heappush(self.due, (due, next(self.numbers), case, task))
        if timer is None:
            self.timers.pop(case, None)
        elif self.timers.get(case) != timer:
            self.timers[case] = timer
            heapq.heappush(self.due, (timer, next(self.numbers), case, None))

    def _is_due(self, due: float, _: int, case: Case, task: str | None) -> bool:
        if task is None:
            return self.timers.get(case) == due
        return case.rules.is_wanted(task)

    def _fetch(self) -> None:
        """Read the stored cases that are due."""
        now = self.engine.clock.now()
        store = self.engine.store
        if store is None or self.next_stored is None or self.next_stored > now:
            return
        ids, later = store.due(now, _AT_ONCE)
        for case_id in ids:
            case = self.engine.read_back(case_id)
            if case is not None:
                self._adopt(case)
        self.next_stored = now if len(ids) == _AT_ONCE else later

    def _adopt(self, case: Case) -> None:
        with self.engine.lock:
            if case.driver is None:
                case.driver = self
                self.engine.take(case)
                self.cases.add(case)
                self.fresh[case] = None

    def _release(self, case: Case) -> None:
        """Remove a stored case that has nothing to do now. The store knows when it is due."""
        timer = self.timers.pop(case, None)
        if timer is not None:
            self.next_stored = timer if self.next_stored is None else min(self.next_stored, timer)
        with self.engine.lock:
            case.driver = None
            self.cases.discard(case)

    def _begun(self, case: Case, task: str) -> _Begun | None:
        """Mark a call as begun and return it, or None if it can't be made."""
        now = self.engine.clock.now()
        request = case.rules.begin(task, now, min(now, time.time()))
        if request is None:
            return None
        try:
            connection, action = self.engine.action(request.operator, request.resend)
        except ConnectorError as error:
            case.rules.end(task, error, now)
            self.fresh[case] = None
            return None
        return _Begun(case, request, connection, action)

    def _withdraw(self, task: str) -> bool:
        """Mark a call as not begun, unless a thread makes it already. Return whether it did so."""
        begun = self.begun.pop(task, None)
        if begun is None:
            return False
        with self._changing(begun.case):
            begun.case.rules.withdraw(task)
        self._give()
        # A call of this driver may wait for the place too
        self.signal(None)
        return True

    def _give(self) -> None:
        """Give a place back, and wake the other drivers: one of their calls may wait for it."""
        self.engine.callers.give()
        with self.engine.lock:
            others = [driver for driver in self.engine.drivers if driver is not self]
        for driver in others:
            driver.signal(None)

    def _call(self, begun: _Begun) -> None:
        if self.begun.pop(begun.request.task, None) is None:
            # The call was withdrawn
            return
        result = self._result(begun)
        self._give()
        self.signal(_Ended(begun, result))

    def _result(self, begun: _Begun) -> dict[str, Any] | ConnectorError:
        case, request, connection, action = begun
        since = request.since and datetime.fromtimestamp(request.since, timezone.utc)
        try:
            if action.repeatable:
                return connection.run(action.name, request.inputs)
            output = connection.run(
                action.name,
                request.inputs,
                since=since or None,
                taken=lambda name: self.engine.has_other(name, request.task),
            )
            if not self.engine.claim(case, request.task, action, output, is_new=not since):
                return OutcomeUnknown("The record that the look-up found belongs to another call.")
            return output
        except ConnectorError as error:
            return error
        # The code of a connector may raise anything, even SystemExit; other cases must go on.
        except BaseException as fault:  # noqa: BLE001
            log.error("%s: unexpected fault\n%s", action.name, _trace(fault))
            return UnexpectedFault(action.effect, fault)

    def _wait(self) -> None:
        """Wait until a call ends, a thread is free or something is due. Take all signals."""
        now = self.engine.clock.now()
        moments = [self.due[0][0]] if self.due else []
        if self.next_stored is not None:
            moments.append(self.next_stored)
        if self.fresh:
            moments.append(now)
        timeout = _LONGEST_WAIT_SECONDS
        if moments:
            timeout = min(max(min(moments) - now, 0), timeout)
        self.silence.acquire(timeout=timeout)
        self._take_signals()
        now = self.engine.clock.now()
        while self.due and self.due[0][0] <= now:
            _, _, case, task = heapq.heappop(self.due)
            if task is not None:
                self.wanted.append((case, task))
            elif self.timers.pop(case, None) is not None:
                self.fresh[case] = None

    def _take_signals(self) -> None:
        while self.signals:
            # A signal is removed only after it was handled: Ctrl-C may come at any moment
            self._take(self.signals[0])
            self.signals.popleft()

    def _take(self, signal: _Ended | Case | None) -> None:
        if isinstance(signal, Case):
            # Another thread has changed the case
            if signal.driver is self:
                self.fresh[signal] = None
            elif self.lazily:
                self.next_stored = 0.0
            return
        if signal is None:
            return
        (case, request, *_), result = signal
        if case in self.broken:
            # The store still has its state before the change, with this call as a running one
            self.underway.pop(request.task, None)
        elif request.task in self.underway:
            with self._changing(case):
                del self.underway[request.task]
                case.rules.end(request.task, result, self.engine.clock.now())
            self.fresh[case] = None

    def _land(self) -> None:
        """Wait for the running calls and commit their results; mark the others as not begun."""
        for task in list(self.begun):
            if self._withdraw(task):
                self.underway.pop(task, None)
        self._take_signals()
        while self.underway:
            self.silence.acquire(timeout=_LONGEST_WAIT_SECONDS)
            self._take_signals()
        for case in self.broken:
            # The store still has its state before the change, with the running calls.
            self.engine.forget(case)
            case.rules.stop(RuntimeError("it was interrupted in the middle of a step: resume it"))
        with self.engine.lock:
            for case in self.cases:
                case.driver = None
        self.engine.commit([case for case in self.cases if case not in self.broken])


def _trace(fault: BaseException) -> str:
    """Return where a fault was raised, without its text: that may contain a number or a body."""
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__
