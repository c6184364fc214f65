"""Runs cases: one thread drives them, a pool of threads makes their calls.

What happens inside a process costs no I/O and can be done again; a call can not. So the state of a
case is committed right before each call begins and as soon as it ends, and a process that is killed
in between finds the call marked as begun.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import queue
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from connector_engines.bpmn import Request, UnexpectedFault
from connector_runtime import Connection
from connector_runtime.errors import ConnectorError

from .case import Case

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger("connector_engines.embedded")

_LONGEST_WAIT_SECONDS = 3600.0


class _Begun(NamedTuple):
    case: Case
    request: Request
    connection: Connection
    action: str


class Driver:
    """One call of `Engine.run`: its cases, what they want, what is under way, what is due."""

    def __init__(self, engine: Engine, cases: Iterable[Case]) -> None:
        self.engine = engine
        self.fresh = dict.fromkeys(cases)  # to advance
        self.changed: dict[Case, None] = {}  # since the last commit
        self.broken: dict[Case, None] = {}  # left in the middle of a change
        self.wanted: deque[tuple[Case, str]] = deque()
        self.underway: dict[Future[Any], tuple[Case, str]] = {}
        self.due: list[tuple[float, int, Case]] = []
        self.signals: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()

    def run(self) -> None:
        with self.engine.lock:
            self.engine.drivers.add(self.signals)
        try:
            while self._step():
                self._wait()
        except BaseException:
            self._land()
            raise
        finally:
            with self.engine.lock:
                self.engine.drivers.discard(self.signals)

    @contextlib.contextmanager
    def _changing(self, case: Case) -> Iterator[None]:
        """Change a case whole. Ctrl-C may come at any point: then it is not in order any more."""
        self.changed[case] = self.broken[case] = None
        with case.lock:
            yield
        del self.broken[case]

    def _step(self) -> bool:
        """Advance what can be, commit it, begin the calls there is room for; is there more?"""
        pending = {task for _, task in self.wanted}
        while self.fresh:
            case = next(iter(self.fresh))
            with self._changing(case):
                case.rules.advance(time.time())
                wanted = [task for task in case.rules.wanted(time.time()) if task not in pending]
                try:
                    due = case.rules.due()
                except (ValueError, OverflowError) as error:  # a moment that no calendar has
                    case.rules.stop(error)
                    due = None
            del self.fresh[case]
            self.wanted += [(case, task) for task in wanted]
            if due is not None:
                heapq.heappush(self.due, (due, id(case), case))
        beginning = []
        while self.wanted and self.engine.slots.acquire(blocking=False):
            case, task = self.wanted.popleft()
            with self._changing(case):
                begun = self._begun(case, task)
            if begun is None:
                self.engine.slots.release()
            else:
                beginning.append(begun)
        unsaved: Iterable[Case] = self.changed
        try:
            unsaved = self.engine.commit(self.changed)
        finally:  # no call begins unless its mark is kept
            for begun in beginning:
                if begun.case in unsaved:
                    self._withdraw(begun.case, begun.request.task)
        for begun in beginning:
            if begun.case in unsaved:
                continue
            future = self.engine.pool.submit(self._call, begun)
            self.underway[future] = (begun.case, begun.request.task)
            future.add_done_callback(self.signals.put)
        changed, self.changed = self.changed, {}
        for case in changed:
            self.engine.tell(case)
        return bool(self.underway or self.wanted or self.due or self.fresh)

    def _begun(self, case: Case, task: str) -> _Begun | None:
        """Mark a call as begun and return it, or None where it can't be made."""
        request = case.rules.begin(task, time.time())
        if request is None:
            return None
        try:
            connection, action = self.engine.action(request.operator)
        except ConnectorError as error:
            case.rules.end(task, error, time.time())
            self.fresh[case] = None
            return None
        return _Begun(case, request, connection, action.name)

    def _withdraw(self, case: Case, task: str) -> None:
        with self._changing(case):
            case.rules.withdraw(task)
        self.engine.slots.release()

    def _call(self, begun: _Begun) -> dict[str, Any] | ConnectorError:
        connection, action = begun.connection, begun.action
        try:
            return connection.run(action, begun.request.inputs)
        except ConnectorError as error:
            return error
        except Exception as fault:  # noqa: BLE001 - a stranger's code; other cases must go on
            log.error("%s: unexpected fault\n%s", action, _trace(fault))
            return UnexpectedFault(connection.connector.action(action).effect, fault)
        finally:
            self.engine.slots.release()
            with self.engine.lock:
                others = [each for each in self.engine.drivers if each is not self.signals]
            for signals in others:
                signals.put(None)  # there is room for a call of theirs

    def _wait(self) -> None:
        """Wait for a call to end, for room, or for the next moment; take all there is."""
        timeout = None
        if self.due:  # in steps: no clock waits for centuries
            timeout = min(max(self.due[0][0] - time.time(), 0), _LONGEST_WAIT_SECONDS)
        if self.fresh:
            timeout = 0
        with contextlib.suppress(queue.Empty):
            self._take(self.signals.get(timeout=timeout))
            while True:
                self._take(self.signals.get_nowait())
        now = time.time()
        while self.due and self.due[0][0] <= now:
            self.fresh[heapq.heappop(self.due)[2]] = None

    def _take(self, future: Future[Any] | None) -> None:
        if future is None or future not in self.underway:
            return
        case, task = self.underway[future]
        result = future.result()
        with self._changing(case):
            del self.underway[future]
            case.rules.end(task, result, time.time())
        self.fresh[case] = None

    def _land(self) -> None:
        """End in order what is under way: none is lost, and none that never began is in doubt."""
        for future, (case, task) in list(self.underway.items()):
            if future.cancel():
                self._withdraw(case, task)
                del self.underway[future]
        for future, (case, _) in list(self.underway.items()):
            if future.exception() is None and case not in self.broken:
                self._take(future)
        for case in self.broken:
            # The store knows it as it was, with the calls that were under way.
            self.engine.forget(case)
            case.rules.stop(RuntimeError("it was broken off in the middle of a step; resume it"))
        self.engine.commit([case for case in self.changed if case not in self.broken])


def _trace(fault: Exception) -> str:
    """Return where a fault was raised, without its text, which may hold a number or a body."""
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__
