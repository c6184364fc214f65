"""Connectors with their settings, and the cases that use them."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from connector_engines import bpmn, drawings
from connector_engines.bpmn import Process
from connector_engines.drawings import Files
from connector_runtime import Connection, Connector
from connector_runtime.errors import ConnectorError, InvalidInput

from .callers import Callers
from .case import FORMAT, Case
from .clock import Clock
from .driver import Driver
from .store import IN_HAND, Change, Row, Store

log = logging.getLogger("connector_engines.embedded")

Watch = Callable[[Case, str, str, str], None]


class Stored:
    """The unfinished cases of a store. `Engine.run` reads each of them only when it is due."""

    def __init__(self, engine: Engine, store: Store | None) -> None:
        self._engine = engine
        self._store = store

    def __iter__(self) -> Iterator[Case]:
        """Read the cases, the oldest first; one that can't be read is logged and left out."""
        if self._store is None:
            return
        for row in self._store.unfinished():
            case = self._engine.read_back(row.id)
            if case is not None:
                yield case

    def __len__(self) -> int:
        return self._store.count_unfinished() if self._store is not None else 0


class Engine:
    """Connectors with the settings of one environment, and the cases that use them.

    `connectors` and `settings` go by the name that a service task puts before the slash. `store` is
    a path for SQLite. At most `threads` calls are under way at once. `watch(case, element id, name,
    what happened)` is called from the driving thread. A send whose outcome nobody knows is looked
    up; where it is not found, it is sent again after `resend_after_seconds` (at least 120), if that
    is given. `script_names` are what expressions may use beside Python's own and
    `explain(connector, code)`, which says what a service's code means: see `Connector.explain`. Use
    it as a context manager, or `close` it. Raise InvalidConfiguration, or StoreInUse.
    """

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        store: str | Path | None = None,
        threads: int = 8,
        watch: Watch | None = None,
        resend_after_seconds: float | None = None,
        script_names: Mapping[str, Any] | None = None,
    ) -> None:
        self.connectors = dict(connectors)
        self.clock = Clock()
        self.resend_after_seconds = resend_after_seconds
        self._script_names = bpmn.script_names(self.connectors, script_names)
        self._settings = {name: (settings or {}).get(name, {}) for name in self.connectors}
        self._watch = watch
        self._read: dict[tuple[bytes, str | None], Process] = {}
        self._processes: dict[str, Process] = {}
        self._kept: set[str] = set()  # keys of the processes that are in the store
        self._open: weakref.WeakValueDictionary[str, Case] = weakref.WeakValueDictionary()
        self._outputs: dict[str, str] = {}  # identifiers made by sends, where there is no store
        self.callers = Callers(threads)
        self.drivers: set[Driver] = set()
        self.lock = threading.RLock()
        with contextlib.ExitStack() as undo:
            self._connections: dict[str, Connection] = {
                name: undo.enter_context(connector.connect(self._settings[name]))
                for name, connector in self.connectors.items()
            }
            # The same, but they may send again what a look-up does not find.
            self._resending: dict[str, Connection] = {}
            if resend_after_seconds is not None:
                leave = {"resendAfterSeconds": resend_after_seconds}
                self._resending = {
                    name: undo.enter_context(connector.connect({**self._settings[name], **leave}))
                    for name, connector in self.connectors.items()
                    if any(
                        option["name"] in leave for option in connector.manifest.get("options", ())
                    )
                }
            self.store = Store(Path(store)) if store is not None else None
            undo.pop_all()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the calls that are under way, then close the connections and the store."""
        self.callers.close()
        for connection in (*self._connections.values(), *self._resending.values()):
            connection.close()
        if self.store is not None:
            self.store.close()

    def read(self, path: Files, process: str | None = None) -> Process:
        """Read and check a drawing without starting a case. Raise InvalidProcess.

        `path` is a BPMN file, several with the processes and decisions (DMN) that they call, or a
        folder of them. `process` is the id of the one to run, where there are several.
        """
        contents = drawings.contents(path)
        key = (drawings.digest(contents), process)
        if key not in self._read:
            self._read[key] = bpmn.parse(contents, self.connectors, self._settings, process)
        return self._read[key]

    def start(
        self,
        path: Files | Process,
        data: Mapping[str, Any] | None = None,
        process: str | None = None,
    ) -> Case:
        """Make a case of a process (see `read`), with this data at its start; nothing runs yet.

        Raise InvalidProcess, or InvalidInput where `data` is no JSON.
        """
        read = path if isinstance(path, Process) else self.read(path, process)
        known = self._processes.setdefault(read.key, read)
        now = self.clock.now()
        case_id, names = uuid.uuid4().hex, self._script_names
        rules = bpmn.Case.start(case_id, known, data or {}, now, uuid.uuid4, names)
        return self._keep(rules)

    def load_case(self, text: str) -> Case:
        """Make a case of what `Case.save` returned. The text holds expressions: it is code.

        Raise ValueError where it is no saved case, or one that is open or in the store already.
        """
        try:
            saved = json.loads(text)
            if saved["format"] != FORMAT:
                raise ValueError("another format")
            process = bpmn.process_of(json.dumps(saved["process"]))
            process = self._processes.setdefault(process.key, process)
            case_id = str(saved["id"])
            parts = {name: json.dumps(part) for name, part in saved["parts"].items()}
        except (LookupError, TypeError, ValueError, AttributeError) as fault:
            raise ValueError(f"this text is no saved case ({fault})") from fault
        if case_id in self._open or (self.store is not None and self.store.row(case_id)):
            raise ValueError(f"case {case_id} is open, or in the store, already: use that one")
        now, names = self.clock.now(), self._script_names
        rules = bpmn.case_of(case_id, process, parts, now, uuid.uuid4, names)
        case = self._keep(rules)
        case.is_restored = True
        return case

    def resume(self) -> Stored:
        """Return the unfinished cases of the store, ready to `run`, open ones included."""
        return Stored(self, self.store)

    def case(self, case_id: str) -> Case:
        """Return a case of the store, finished ones included; raise InvalidInput for others."""
        case = self._open.get(case_id)
        if case is None and self.store is not None and self.store.row(case_id) is not None:
            case = self.read_back(case_id)
            if case is None:
                raise InvalidInput(f"case '{case_id}' can't be read back; see the log.")
        if case is None:
            raise InvalidInput(f"there is no case '{case_id}'.")
        return case

    def read_back(self, case_id: str) -> Case | None:
        """Return a case of the store. One that can't be read is logged and marked so."""
        assert self.store is not None
        with self.lock:
            case = self._open.get(case_id)
            if case is None:
                row = self.store.row(case_id)
                assert row is not None
                try:
                    case = self._open[case_id] = self._restored(row)
                except (LookupError, TypeError, ValueError, AttributeError) as fault:
                    # Its parts stay as they are, and the other cases go on.
                    kind = type(fault).__name__
                    log.error("case %s can't be read back, and was left out (%s)", case_id, kind)
                    error = {"code": "UNREADABLE", "message": f"it can't be read back ({kind})."}
                    self.store.put_error(case_id, "unreadable", json.dumps(error))
        return case

    def _restored(self, row: Row) -> Case:
        assert self.store is not None
        rules, keeper = bpmn.restore(
            row.id,
            self._known(row.process),
            self.store.parts(row.id),
            self.clock.now(),
            uuid.uuid4,
            self._script_names,
        )
        if row.status == "failed" and row.error and rules.error is None:
            rules.fault = json.loads(row.error)  # as its parts could not be written
        case = Case(self, rules, keeper)
        case.is_restored = True
        case.waits = rules.waits
        return case

    def _known(self, key: str) -> Process:
        """Return a process that the store has."""
        assert self.store is not None
        if key not in self._processes:
            self._processes[key] = bpmn.process_of(self.store.process(key))
            self._kept.add(key)
        return self._processes[key]

    def run(self, cases: Iterable[Case] | Stored) -> None:
        """Run cases until none of them can go on by itself; it sleeps while only timers run.

        Nothing is raised for a case that fails or was interrupted: see its `status` and `error`.
        When it is interrupted itself (Ctrl-C), calls that are under way are waited for and kept.
        """
        lazily = isinstance(cases, Stored)
        Driver(self, () if lazily else dict.fromkeys(cases), lazily).run()

    def message(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        correlation: Mapping[str, Any] | None = None,
    ) -> list[Case]:
        """Give a message to the cases that wait for it, and return them; from any thread.

        `correlation` says which are meant: each name is a correlation property of the drawing, or
        else a variable of the case, and must have this value. Where none waits, a case begins of
        each process that this engine knows and that starts with this message.
        """
        return self._receive("message", name, payload or {}, correlation or {})

    def signal(self, name: str, payload: Mapping[str, Any] | None = None) -> list[Case]:
        """Give a signal to all cases that wait for it, and to processes that start with it."""
        return self._receive("signal", name, payload or {}, {})

    def _receive(
        self, kind: str, name: str, payload: Mapping[str, Any], correlation: Mapping[str, Any]
    ) -> list[Case]:
        waiting = [case for case in list(self._open.values()) if (kind, name) in case.rules.waits]
        if self.store is not None:
            known = {case.id for case in waiting}
            ids = [case_id for case_id in self.store.waiting(kind, name) if case_id not in known]
            waiting += [case for case in map(self.read_back, ids) if case is not None]
        received = []
        for case in waiting:
            with case.changed():
                if case.rules.receive(kind, name, payload, correlation, self.clock.now()):
                    received.append(case)
        if received and kind == "message":
            return received
        for process in self._starting(kind, name):
            case = self.start(process)
            with case.changed():
                case.rules.advance(self.clock.now())
                case.rules.receive(kind, name, payload, {}, self.clock.now())
            received.append(case)
        return received

    def _starting(self, kind: str, name: str) -> list[Process]:
        """Return the newest of each known process that starts with this event."""
        keys = self.store.processes() if self.store is not None else []
        newest = {process.name: process for process in map(self._known, keys)}
        newest.update((process.name, process) for process in self._processes.values())
        newest.update((process.name, process) for process in self._read.values())
        return [process for process in newest.values() if (kind, name) in bpmn.starts(process)]

    def wake(self, case: Case) -> None:
        """Tell the drivers that this case can go on."""
        with self.lock:
            drivers = [case.driver] if case.driver is not None else list(self.drivers)
        for driver in drivers:
            driver.signals.put(case)

    def _keep(self, rules: bpmn.Case) -> Case:
        keeper = bpmn.Keeper(rules) if self.store is not None else None
        case = Case(self, rules, keeper)
        self._open[case.id] = case
        self.commit([case])
        return case

    def forget(self, case: Case) -> None:
        """Forget a case that broke off in a change: the store has it as it was before."""
        self._open.pop(case.id, None)

    def commit(self, cases: Iterable[Case]) -> set[Case]:
        """Write what changed in these cases to the store, if there is one, in one transaction.

        Return those that can't be written. They are stopped, and the store says so; their last
        stored state has every call that was under way. Raise StoreFailed where nothing can be.
        """
        unsaved: set[Case] = set()
        if self.store is None:
            return unsaved
        written = []
        with contextlib.ExitStack() as locks:
            for case in cases:
                locks.enter_context(case.lock)
                try:
                    change = self._change(case)
                except (TypeError, ValueError, RecursionError) as error:
                    case.rules.stop(error)
                    log.error("case %s: its data can't be saved, so it was stopped", case.id)
                    self.store.put_error(case.id, case.status, _error_text(case))
                    unsaved.add(case)
                    continue
                written.append((case, change))
            if written:
                self.store.put([change for _, change in written])
            for case, change in written:
                assert case.keeper is not None
                case.keeper.confirm()
                case.outputs = {}
                if change.waits is not None:
                    case.waits = set(change.waits)
        return unsaved

    def _change(self, case: Case) -> Change:
        assert self.store is not None
        assert case.keeper is not None
        process, rules = case.process, case.rules
        if process.key not in self._kept:
            self.store.put_process(process.key, bpmn.process_text(process))
            self._kept.add(process.key)
        put, delete = case.keeper.changes()
        in_hand = case.driver is not None and not rules.is_idle
        due = IN_HAND if in_hand else rules.due()
        row = Row(case.id, process.key, process.name, rules.status, due, _error_text(case))
        waits = rules.waits
        return Change(row, put, delete, case.outputs, None if waits == case.waits else waits)

    def take(self, case: Case) -> None:
        """Prepare a case to run: what nobody knows of its calls is to be looked up."""
        with case.lock:
            if case.is_restored:
                case.rules.lose(self._is_harmless)
                case.is_restored = False
            case.rules.look()
            case.rules.resend_after_seconds = self.resend_after_seconds

    def purge(self, older_than_seconds: float) -> int:
        """Delete the cases of the store that finished so long ago; return how many."""
        if self.store is None:
            return 0
        return self.store.purge(time.time() - older_than_seconds)

    def _is_harmless(self, operator: str) -> bool:
        try:
            return bool(self.action(operator)[1].repeatable)
        except ConnectorError:  # the connector is not loaded, so nobody knows
            return False

    def action(self, operator: str, resend: bool = False) -> tuple[Connection, Any]:
        """Return the connection and the action of an operator; raise ConnectorError.

        With `resend`, the connection may send again what a look-up does not find.
        """
        name, _, action = operator.partition("/")
        if name not in self._connections:
            raise InvalidInput(f"the connector '{name}' is not loaded.")
        chosen = self._resending if resend and name in self._resending else self._connections
        return chosen[name], self.connectors[name].action(action)

    def claim(
        self, case: Case, call: str, action: Any, output: Mapping[str, Any], *, is_new: bool
    ) -> bool:
        """Note that a call has this output. Return False where another call has it already.

        `is_new` says that the call itself has just made it, so that it can be no other's.
        """
        identifier = output.get(action.identifier or "")
        if action.repeatable or not isinstance(identifier, str):
            return True
        with self.lock:
            if not is_new and self.has_other(identifier, call):
                return False
            case.outputs[identifier] = call
            self._outputs[identifier] = call
        return True

    def has_other(self, identifier: str, call: str) -> bool:
        """Tell whether this output is known to be another call's."""
        with self.lock:
            owner = self._outputs.get(identifier)
            if owner is None and self.store is not None:
                owner = self.store.output(identifier)
        return owner not in (None, call)

    def tell(self, case: Case) -> None:
        """Tell the watcher what happened."""
        events = case.rules.take_events()
        if self._watch:
            for event in events:
                self._watch(case, *event)


def _error_text(case: Case) -> str | None:
    return json.dumps(case.error) if case.error else None
