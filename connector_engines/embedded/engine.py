"""Connectors with their settings, and the cases that use them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import queue
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from connector_engines import bpmn
from connector_engines.bpmn import InvalidProcess, Process
from connector_runtime import Connection, Connector
from connector_runtime.errors import ConnectorError, InvalidInput

from .case import FORMAT, Case
from .driver import Driver
from .store import Row, Store

log = logging.getLogger("connector_engines.embedded")

Watch = Callable[[Case, str, str, str], None]


class Engine:
    """Connectors with the settings of one environment, and the cases that use them.

    `connectors` and `settings` go by the name that a service task puts before the slash. `store` is
    a path for SQLite. At most `threads` calls are under way at once. `watch(case, element id, name,
    what happened)` is called from the driving thread. Use it as a context manager, or `close` it.
    Raise InvalidConfiguration, or StoreInUse.
    """

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        store: str | Path | None = None,
        threads: int = 8,
        watch: Watch | None = None,
    ) -> None:
        self.connectors = dict(connectors)
        self._settings = {name: (settings or {}).get(name, {}) for name in self.connectors}
        self._watch = watch
        self._read: dict[tuple[str, bytes, str | None], Process] = {}
        self._processes: dict[str, Process] = {}
        self._kept: set[str] = set()  # the processes that the store has
        self._open: weakref.WeakValueDictionary[str, Case] = weakref.WeakValueDictionary()
        self.slots = threading.Semaphore(threads)
        self.drivers: set[queue.SimpleQueue[Any]] = set()
        self.lock = threading.Lock()
        with contextlib.ExitStack() as undo:
            self._connections: dict[str, Connection] = {
                name: undo.enter_context(connector.connect(self._settings[name]))
                for name, connector in self.connectors.items()
            }
            self._store = Store(Path(store)) if store is not None else None
            self.pool = ThreadPoolExecutor(threads, thread_name_prefix="connector-call")
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
        """Wait for the calls that are under way, then let go of connections and store."""
        self.pool.shutdown(wait=True)
        for connection in self._connections.values():
            connection.close()
        if self._store is not None:
            self._store.close()

    def read(self, path: str | Path, process: str | None = None) -> Process:
        """Read and check a BPMN file without starting a case. Raise InvalidProcess."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                content = file.read(bpmn.MOST_BYTES + 1)
        except OSError as error:
            raise InvalidProcess(f"{path}: it can't be read ({error.strerror}).") from error
        key = (path.name, hashlib.sha256(content).digest(), process)
        if key not in self._read:
            self._read[key] = bpmn.parse(path, content, self.connectors, self._settings, process)
        return self._read[key]

    def start(
        self,
        path: str | Path | Process,
        data: Mapping[str, Any] | None = None,
        process: str | None = None,
    ) -> Case:
        """Make a case of a BPMN file's process, with this data at its start; nothing runs yet.

        Raise InvalidProcess, or InvalidInput where `data` is no JSON.
        """
        read = path if isinstance(path, Process) else self.read(path, process)
        known = self._processes.setdefault(read.key, read)
        rules = bpmn.Case.start(uuid.uuid4().hex, known, data or {}, time.time(), uuid.uuid4)
        return self._keep(Case(self, rules))

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
            case_id, state = str(saved["id"]), json.dumps(saved["case"])
        except (KeyError, TypeError, ValueError) as fault:
            raise ValueError(f"this text is no saved case ({fault})") from fault
        if case_id in self._open or (self._store is not None and self._store.has(case_id)):
            raise ValueError(f"case {case_id} is here already, and would do everything twice")
        return self._keep(self._restored(case_id, process, state))

    def resume(self) -> list[Case]:
        """Return the unfinished cases of the store, ready to `run`, open ones included.

        One that can't be read back is logged and left out.
        """
        if self._store is None:
            return []
        cases = []
        for row in self._store.unfinished():
            case = self._open.get(row.id)
            if case is None:
                try:
                    case = self._read_back(row)
                except (LookupError, TypeError, ValueError, AttributeError) as fault:
                    # It stays in the store as it is, and keeps no other from going on.
                    kind = type(fault).__name__
                    log.error("case %s can't be read back, and was left out (%s)", row.id, kind)
                    continue
                self._open[row.id] = case
            cases.append(case)
        return cases

    def _read_back(self, row: Row) -> Case:
        assert self._store is not None
        if row.process not in self._processes:
            self._processes[row.process] = bpmn.process_of(self._store.process(row.process))
            self._kept.add(row.process)
        case = self._restored(row.id, self._processes[row.process], row.state)
        if row.error and case.error is None:
            case.rules.fault = json.loads(row.error)  # its state could not be written any more
        return case

    def run(self, cases: Iterable[Case]) -> None:
        """Run cases until none of them can go on by itself; it sleeps while only timers run.

        Nothing is raised for a case that fails or was interrupted: see its `status` and `error`.
        When it is interrupted itself (Ctrl-C), calls that are under way are waited for and kept.
        """
        chosen = list(dict.fromkeys(cases))
        with self.lock:
            for case in chosen:
                if case.driven:
                    raise RuntimeError(f"case {case.id} is running")
            for case in chosen:
                case.driven = True
        try:
            Driver(self, chosen).run()
        finally:
            for case in chosen:
                case.driven = False

    def _keep(self, case: Case) -> Case:
        self._open[case.id] = case
        self.commit([case])
        return case

    def forget(self, case: Case) -> None:
        """Let go of a case that is not in order any more: the store has it as it was."""
        self._open.pop(case.id, None)

    def commit(self, cases: Iterable[Case]) -> set[Case]:
        """Write the state of these cases to the store, if there is one, in one transaction.

        Return those whose state can't be written. They are stopped, and the store says so; what it
        kept of them last knows every call that was under way.
        """
        unsaved: set[Case] = set()
        if self._store is None:
            return unsaved
        rows = []
        for case in cases:
            with case.lock:
                try:
                    state = bpmn.case_text(case.rules)
                except (TypeError, ValueError, RecursionError) as error:
                    case.rules.stop(error)
                    log.error("case %s: its data can't be saved, so it was stopped", case.id)
                    self._store.put_error(case.id, case.status, _error_text(case))
                    unsaved.add(case)
                    continue
                process = case.process
                if process.key not in self._kept:
                    self._store.put_process(process.key, bpmn.process_text(process))
                    self._kept.add(process.key)
                row = Row(case.id, process.key, process.name, case.status, state, _error_text(case))
                rows.append(row)
        if rows:
            self._store.put(rows)
        return unsaved

    def _restored(self, case_id: str, process: Process, state: str) -> Case:
        rules = bpmn.case_of(case_id, process, state, time.time(), uuid.uuid4)
        rules.lose(self._is_harmless)
        return Case(self, rules)

    def _is_harmless(self, operator: str) -> bool:
        try:
            return bool(self.action(operator)[1].repeatable)
        except ConnectorError:  # it is not loaded here: nobody knows
            return False

    def action(self, operator: str) -> tuple[Connection, Any]:
        """Return the connection and the action of an operator; raise ConnectorError."""
        name, _, action = operator.partition("/")
        if name not in self._connections:
            raise InvalidInput(f"the connector '{name}' is not loaded.")
        return self._connections[name], self.connectors[name].action(action)

    def tell(self, case: Case) -> None:
        """Tell the watcher what happened."""
        events = case.rules.take_events()
        for event in events if self._watch else ():
            self._watch(case, *event)  # type: ignore[misc]


def _error_text(case: Case) -> str | None:
    return json.dumps(case.error) if case.error else None
