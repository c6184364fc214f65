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
    """The unfinished cases of a store. `Engine.run` reads a case only when it is due."""

    def __init__(self, engine: Engine, store: Store | None) -> None:
        self._engine = engine
        self._store = store

    def __iter__(self) -> Iterator[Case]:
        """Read the cases, the oldest first. A case that can't be read is logged and left out."""
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

    The keys of `connectors` and `settings` are the names that service tasks use before the slash
    (connector/action). `store` is the path of a SQLite file. At most `threads` calls run at once.
    `watch(case, element id, name, what happened)` is called from the thread that runs the cases. A
    send whose outcome is not known is looked up. If it is not found, it is sent again after
    `resend_after_seconds` (at least 120), if that is given. `script_names` are names that
    expressions may use in addition to Python's own and `explain(connector, code)`, which explains a
    code of the service: see `Connector.explain`. Use the engine as a context manager, or `close`
    it. Raise InvalidConfiguration, or StoreInUse.
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
        # The keys of processes that are in the store
        self._kept: set[str] = set()
        self._open: weakref.WeakValueDictionary[str, Case] = weakref.WeakValueDictionary()
        # The identifiers that sends of this engine returned, each with its call
        self._outputs: dict[str, str] = {}
        self.callers = Callers(threads)
        self.drivers: set[Driver] = set()
        self.lock = threading.RLock()
        with contextlib.ExitStack() as undo:
            self._connections: dict[str, Connection] = {
                name: undo.enter_context(connector.connect(self._settings[name]))
                for name, connector in self.connectors.items()
            }
            # Connections that may send a message again if a look-up does not find it
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
        """Wait for the running calls, then close the connections and the store."""
        self.callers.close()
        for connection in (*self._connections.values(), *self._resending.values()):
            connection.close()
        if self.store is not None:
            self.store.close()

    def read(self, path: Files, process: str | None = None) -> Process:
        """Read and check a drawing without starting a case. Raise InvalidProcess.

        `path` is a BPMN file, several files with the processes and decisions (DMN) that they call,
        or a folder of such files. `process` is the id of the process to run, if there are several.
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
        """Create a case of a process (see `read`) with its first data. Nothing runs yet.

        Raise InvalidProcess, InvalidInput if `data` is not JSON, or StoreFailed.
        """
        read = path if isinstance(path, Process) else self.read(path, process)
        known = self._processes.setdefault(read.key, read)
        now = self.clock.now()
        case_id, names = uuid.uuid4().hex, self._script_names
        rules = bpmn.Case.start(case_id, known, data or {}, now, uuid.uuid4, names)
        return self._keep(rules)

    def load_case(self, text: str) -> Case:
        """Create a case from the text that `Case.save` returned.

        The text contains expressions, which are code: load only texts that you trust. Raise
        ValueError if it is not a saved case, or if the case is already open or in the store.
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
        """Return the unfinished cases of the store, to pass to `run`."""
        return Stored(self, self.store)

    def case(self, case_id: str) -> Case:
        """Return a case, even a finished one, by its id. Raise InvalidInput if there is none."""
        case = self._open.get(case_id)
        if case is None and self.store is not None and self.store.row(case_id) is not None:
            case = self.read_back(case_id)
            if case is None:
                raise InvalidInput(f"case '{case_id}' can't be read back; see the log.")
        if case is None:
            raise InvalidInput(f"there is no case '{case_id}'.")
        return case

    def read_back(self, case_id: str) -> Case | None:
        """Return a case of the store. If it can't be read, log that, mark it, and return None."""
        assert self.store is not None
        with self.lock:
            case = self._open.get(case_id)
            if case is None:
                row = self.store.row(case_id)
                assert row is not None
                try:
                    case = self._open[case_id] = self._restored(row)
                except (LookupError, TypeError, ValueError, AttributeError) as fault:
                    # Its parts are kept unchanged, and the other cases continue.
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
            # The reason is only in the row, because its parts could not be written
            rules.fault = json.loads(row.error)
        case = Case(self, rules, keeper)
        case.number = row.number
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
        """Run cases until each is finished, has stopped, or waits for a person or an event.

        It also waits for timers. It does not raise if a case fails or is interrupted: see its
        `status` and `error`. After Ctrl-C it waits for the running calls and keeps their results.
        Raise RuntimeError if one of the cases is running already, and StoreFailed.
        """
        lazily = isinstance(cases, Stored)
        Driver(self, () if lazily else dict.fromkeys(cases), lazily).run()

    def message(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        correlation: Mapping[str, Any] | None = None,
    ) -> list[Case]:
        """Send a message to the cases that wait for it, and return them. Any thread may call this.

        `correlation` selects the cases: each name is a correlation property of the drawing, or else
        a variable of the case, and must have this value. If no case waits, a case is started of
        each known process that starts with this message.
        """
        return self._receive("message", name, payload or {}, correlation or {})

    def signal(self, name: str, payload: Mapping[str, Any] | None = None) -> list[Case]:
        """Send a signal to all cases that wait for it, and start the processes that it starts."""
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
        """Return the processes that start with this event, each in its newest known version."""
        keys = self.store.processes() if self.store is not None else []
        newest = {process.name: process for process in map(self._known, keys)}
        newest.update((process.name, process) for process in self._processes.values())
        newest.update((process.name, process) for process in self._read.values())
        return [process for process in newest.values() if (kind, name) in bpmn.starts(process)]

    def wake(self, case: Case) -> None:
        """Tell the drivers that this case can continue."""
        with self.lock:
            drivers = [case.driver] if case.driver is not None else list(self.drivers)
        for driver in drivers:
            driver.signal(case)

    def _keep(self, rules: bpmn.Case) -> Case:
        keeper = bpmn.Keeper(rules) if self.store is not None else None
        case = Case(self, rules, keeper)
        self._open[case.id] = case
        self.commit([case])
        return case

    def forget(self, case: Case) -> None:
        """Forget a case whose change was interrupted. The store has its state before the change."""
        self._open.pop(case.id, None)

    def commit(self, cases: Iterable[Case]) -> set[Case]:
        """Write the changes of these cases to the store, if there is one, in one transaction.

        Return the cases that can't be written. They are stopped, and the store shows that; their
        last stored state includes all running calls. Raise StoreFailed if the store can't be
        written.
        """
        unsaved: set[Case] = set()
        if self.store is None:
            return unsaved
        locked, written = [], []
        try:
            for case in cases:
                case.lock.acquire()
                locked.append(case)
                try:
                    written.append((case, self._change(case)))
                except (TypeError, ValueError, RecursionError) as error:
                    case.rules.stop(error)
                    log.error("case %s: its data can't be saved, so it was stopped", case.id)
                    self.store.put_error(case.id, case.status, _error_text(case))
                    unsaved.add(case)
            if written:
                numbers = self.store.put([change for _, change in written])
                for (case, change), number in zip(written, numbers, strict=True):
                    case.number = number
                    self._confirm(case, change)
        finally:
            for case in locked:
                case.lock.release()
        return unsaved

    def _confirm(self, case: Case, change: Change) -> None:
        """Record that this change is stored."""
        assert case.keeper is not None
        case.keeper.confirm()
        if change.outputs:
            with self.lock:
                for identifier in change.outputs:
                    del case.outputs[identifier]
                    self._outputs.pop(identifier, None)
        if change.waits is not None:
            case.waits = set(change.waits)

    def _change(self, case: Case) -> Change:
        assert self.store is not None
        assert case.keeper is not None
        process, rules = case.process, case.rules
        if process.key not in self._kept:
            self.store.put_process(process.key, bpmn.process_text(process))
            self._kept.add(process.key)
        put, delete = case.keeper.changes()
        with self.lock:
            outputs = dict(case.outputs)
        in_hand = case.driver is not None and not rules.is_idle
        due = IN_HAND if in_hand else rules.due()
        error = _error_text(case)
        row = Row(case.number, case.id, process.key, process.name, rules.status, due, error)
        waits = rules.waits
        return Change(row, put, delete, outputs, None if waits == case.waits else waits)

    def take(self, case: Case) -> None:
        """Prepare a case to run: calls whose outcome is not known will be looked up."""
        with case.lock:
            if case.is_restored:
                case.rules.lose(self._is_harmless)
                case.is_restored = False
            case.rules.look()
            case.rules.resend_after_seconds = self.resend_after_seconds

    def purge(self, older_than_seconds: float) -> int:
        """Delete the stored cases that finished more than this time ago; return how many."""
        if self.store is None:
            return 0
        return self.store.purge(time.time() - older_than_seconds)

    def _is_harmless(self, operator: str) -> bool:
        try:
            return bool(self.action(operator)[1].repeatable)
        except ConnectorError:
            # The connector is not loaded, so this can't be known
            return False

    def action(self, operator: str, resend: bool = False) -> tuple[Connection, Any]:
        """Return the connection and the action of an operator; raise ConnectorError.

        With `resend`, the connection may send a message again if a look-up does not find it.
        """
        name, _, action = operator.partition("/")
        if name not in self._connections:
            raise InvalidInput(f"the connector '{name}' is not loaded.")
        chosen = self._resending if resend and name in self._resending else self._connections
        return chosen[name], self.connectors[name].action(action)

    def claim(
        self, case: Case, call: str, action: Any, output: Mapping[str, Any], *, is_new: bool
    ) -> bool:
        """Record that this output belongs to a call. Return False if it belongs to another call.

        `is_new` means that the call itself has just made it, so it can't belong to another call.
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
        """Tell whether this output is known to belong to another call."""
        with self.lock:
            owner = self._outputs.get(identifier)
            if owner is None and self.store is not None:
                owner = self.store.output(identifier)
        return owner not in (None, call)

    def tell(self, case: Case) -> None:
        """Tell `watch` what happened in this case."""
        events = case.rules.take_events()
        if self._watch:
            for event in events:
                self._watch(case, *event)


def _error_text(case: Case) -> str | None:
    return json.dumps(case.error) if case.error else None
