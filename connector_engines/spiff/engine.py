"""Runs BPMN cases: one thread drives them, a pool of threads makes their calls.

What happens inside a process costs no I/O and can be done again; a call can not. So the state of a
case is committed right before each call begins and as soon as it ends, and a process that is killed
in between finds the call marked as under way.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import json
import logging
import queue
import threading
import time
import traceback
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from SpiffWorkflow.bpmn import BpmnWorkflow
from SpiffWorkflow.bpmn.serializer import BpmnWorkflowSerializer
from SpiffWorkflow.bpmn.serializer.default.workflow import BpmnWorkflowConverter, WorkflowConverter
from SpiffWorkflow.bpmn.serializer.helpers import DefaultRegistry
from SpiffWorkflow.bpmn.specs.event_definitions.timer import TimerEventDefinition
from SpiffWorkflow.exceptions import SpiffWorkflowException
from SpiffWorkflow.spiff.serializer.config import SPIFF_CONFIG
from SpiffWorkflow.spiff.serializer.task_spec import ServiceTaskConverter
from SpiffWorkflow.spiff.specs.defaults import ServiceTask
from SpiffWorkflow.util.task import TaskState

from connector_runtime import Connection, Connector
from connector_runtime.errors import ConnectorError, InvalidInput

from . import process as processes
from .process import InvalidProcess, Process
from .store import Row, Store
from .task import CALL, ConnectorTask, Scripts, inputs, throw

log = logging.getLogger("connector_engines.spiff")

_FORMAT = 1
_INTERRUPTED = "INTERRUPTED"
_LONGEST_WAIT_SECONDS = 3600.0
_AFTER_SECONDS = 0.001  # SpiffWorkflow's timers fire after their moment, not at it
Watch = Callable[["Case", str, str, str], None]


class CaseStopped(ConnectorError):
    """A case that can't go on by itself: `code` and `task` say of what, `case` is kept as it is."""

    def __init__(self, case: Case) -> None:
        error = case.error or {}
        super().__init__(error.get("message", ""), problems=error.get("problems", ()))
        self.case = case
        self.code = error.get("code", self.code)
        self.outcome = error.get("outcome", self.outcome)
        self.task: str | None = error.get("task")


class _Unexpected(ConnectorError):
    """A fault that no connector foresees: its text is in no message, for it may quote anything."""

    def __init__(self, effect: str, fault: Exception) -> None:
        super().__init__(f"The connector failed by itself ({type(fault).__name__}); see the log.")
        self.outcome = "not_sent" if effect == "read" else "unknown"


class Case:
    """One run of a process. `Engine.start`, `resume` and `load_case` make them.

    id        its name for ever
    process   the process it follows
    workflow  SpiffWorkflow's own object, for what this class does not offer
    """

    def __init__(
        self,
        engine: Engine,
        case_id: str,
        process: Process,
        workflow: Any,
        error: dict[str, Any] | None = None,
    ) -> None:
        self.id = case_id
        self.process = process
        self.workflow = workflow
        self._error = error
        self._engine = engine
        self._lock = threading.RLock()
        self._driven = False
        self._events: list[tuple[str, str, str]] = []
        self._scripts = Scripts()
        workflow.script_engine = self._scripts
        # Also those that the process left while their call was under way.
        tasks = workflow.get_tasks(spec_class=ConnectorTask)
        self._calls = {task.id: task for task in tasks if _is_open(task)}

    def __repr__(self) -> str:
        return f"<Case {self.id} of {self.process.name}: {self.status}>"

    @property
    def data(self) -> dict[str, Any]:
        """The data of the process: where it ended, or where it stands."""
        last = self.workflow.last_task
        found = self.workflow.data if self.workflow.completed or last is None else last.data
        return {name: value for name, value in found.items() if name != "data_objects"}

    @property
    def error(self) -> dict[str, Any] | None:
        """Return why it stopped: the failed call's `ConnectorError.to_dict()` and `task`, its id.

        The code is "PROCESS_FAULT" for a fault of the process itself, and "INTERRUPTED" for calls
        that were under way when its process ended. These come before any failure, for they may have
        been carried out. `stopped` has them all.
        """
        interrupted = [task for task in self._calls.values() if "interrupted" in _record(task)]
        if not interrupted:
            return self._error
        names = ", ".join(_named(task)[0] for task in interrupted)
        why = (
            "under way when the process ended, and may have been carried out. Look before you let "
            "it try again"
        )
        return {
            "code": _INTERRUPTED,
            "message": f"{self.process.file}: {names}: a call of each was {why}."
            if len(interrupted) > 1
            else f"{self.process.file}: {names}: its call was {why}.",
            "retryable": False,
            "outcome": "unknown",
            "task": _named(interrupted[0])[1],
        }

    @property
    def stopped(self) -> list[dict[str, Any]]:
        """Return the calls that stand still: `task` (its own id), `element` (of the BPMN file),
        `why` ("interrupted" or "failed") and `inputs`, by which to tell those of a loop apart."""
        return [
            {
                "task": str(task.id),
                "element": task.task_spec.bpmn_id,
                "why": "interrupted" if "interrupted" in _record(task) else "failed",
                "inputs": _inputs(task),
            }
            for task in self._stopped(None)
        ]

    def _stopped(self, name: str | None) -> list[Any]:
        """Return the tasks whose calls stand still, all or those of one element or task id."""
        return [
            task
            for task in self._calls.values()
            if {"interrupted", "failed"} & _record(task).keys()
            and name in (None, task.task_spec.bpmn_id, str(task.id))
        ]

    @property
    def status(self) -> str:
        """Return "running", "waiting" (for a moment or somebody), "finished", "failed" or
        "interrupted": a call was under way when its process was killed."""
        records = [_record(task) for task in self._calls.values()]
        if any("interrupted" in record for record in records):
            return "interrupted"
        if self._error is not None:
            return "failed"
        if any(record.get("underway") for record in records):
            return "running"
        if self.workflow.completed:
            return "finished"
        ready = self.workflow.get_next_task(state=TaskState.READY, manual=False)
        return "running" if records or ready is not None else "waiting"

    def run(self) -> None:
        """Run until the case is finished, or waits for something that only others can give.

        It sleeps while a timer runs. Raise CaseStopped when it failed or was interrupted; what was
        reached stays, and `retry` lets it go on.
        """
        self._engine.run([self])
        if self.status in ("failed", "interrupted"):
            raise CaseStopped(self)

    def save(self) -> str:
        """Return the whole case as text for `Engine.load_case`. No secret is in it; its data is."""
        with self._lock:
            saved = {
                "format": _FORMAT,
                "id": self.id,
                "definition": json.loads(self._engine._definition(self.process)),
                "state": json.loads(self._engine._state(self)),
                "error": self._error,
            }
        return json.dumps(saved)

    def retry(self, name: str | None = None) -> None:
        """Let a stopped case try again what stopped it.

        `name` is the element or the task (see `stopped`) to try; without it, all that failed is
        tried, and only where nothing failed, the interrupted calls. Those may have been carried
        out: look first, and `settle` what was. Raise InvalidInput where nothing of this name
        stopped.
        """
        with self._lock:
            self._check_idle()
            tasks = self._stopped(name)
            if name is None and self._error is not None:
                tasks = [task for task in tasks if "failed" in _record(task)]
            elif name is not None and not tasks:
                raise InvalidInput(f"no call of '{name}' stands still.")
            for task in tasks:
                self._begin_again(task)
            self._error = self._failure()
            if self._error is None:
                for task in self.workflow.get_tasks(state=TaskState.ERROR):
                    if task.internal_data.get(CALL, {}).get("done"):
                        # The call itself went well, and is not made again: only what came after.
                        task._set_state(TaskState.STARTED)
                        self._complete(task)
                    else:
                        self.workflow.reset_from_task_id(task.id)
            self._engine._commit([self])

    def _failure(self) -> dict[str, Any] | None:
        """Return why a call stands still that failed, if there is one."""
        return next(
            (_record(task)["failed"] for task in self._stopped(None) if "failed" in _record(task)),
            None,
        )

    def _begin_again(self, task: Any) -> None:
        if task.state == TaskState.STARTED:
            task.internal_data[CALL] = {"attempts": 0, "underway": False, "due": 0.0}
        else:  # the process has left it, and goes on without its result
            del self._calls[task.id]
            task.internal_data[CALL] = {"late": None}

    def settle(self, output: Mapping[str, Any], name: str | None = None) -> None:
        """Give the output of a call that failed or was interrupted, found out by other means.

        `name` is the element or the task (see `stopped`), where several stand still and `output`
        has not the inputs of one alone. Raise InvalidInput unless `output` is what the action
        returns.
        """
        with self._lock:
            self._check_idle()
            if not isinstance(output, Mapping):
                raise InvalidInput("the output of a call must be an object with its fields.")
            stopped = self._stopped(name)
            if len(stopped) > 1:
                stopped = [task for task in stopped if _is_of(output, _inputs(task))] or stopped
            if len(stopped) != 1:
                listed = "; ".join(f"{task.id} of {_named(task)[0]}" for task in stopped) or "none"
                raise InvalidInput(
                    f"{len(stopped)} calls stand still: name the one to settle ({listed})."
                )
            task = stopped[0]
            _, action = self._engine._action(task)
            problems = action.output.problems(dict(output))
            if problems:
                raise InvalidInput(
                    f"{action.name} output: {'; '.join(problems)}.", problems=problems
                )
            if "failed" in _record(task):
                del _record(task)["failed"]
                self._error = self._failure()
            self._succeed(task, dict(output))
            self._engine._commit([self])

    def _check_idle(self) -> None:
        if self._driven:
            raise RuntimeError(f"case {self.id} is running")

    def _advance(self) -> None:
        """Run all that stays inside the process."""
        if self._error is not None or self.workflow.completed:
            return

        def seen(task: Any) -> None:
            if task.state != TaskState.STARTED:
                self._tell(task)

        try:
            while True:
                self.workflow.do_engine_steps(did_complete_task=seen)
                if self.workflow.get_next_task(state=TaskState.READY, manual=False) is None:
                    break
        # Expressions may raise anything, and SpiffWorkflow raises plain Exception for a wrong
        # duration: it is this case that stops, not the others.
        except Exception as error:  # noqa: BLE001
            self._fail(getattr(error, "task", None), error)
        for task in self._scripts.begun:
            if task.state == TaskState.STARTED:
                self._calls[task.id] = task
        self._scripts.begun.clear()
        for task in [task for task in self._calls.values() if not _is_open(task)]:
            del self._calls[task.id]

    def _wanted(self, now: float) -> list[Any]:
        """Return the service tasks whose call may begin."""
        if self._error is not None:
            return []
        return [
            task
            for task in self._calls.values()
            if not {"interrupted", "failed"} & task.internal_data[CALL].keys()
            and not task.internal_data[CALL]["underway"]
            and task.internal_data[CALL]["due"] <= now
        ]

    def _due(self) -> float | None:
        """Return the moment at which something happens by itself."""
        if self._error is not None or self.workflow.completed:
            return None
        moments = [
            task.internal_data[CALL]["due"]
            for task in self._calls.values()
            if not {"interrupted", "failed"} & task.internal_data[CALL].keys()
            and not task.internal_data[CALL]["underway"]
        ]
        for task in self.workflow.event_manager.tasks.values():
            value = task.internal_data.get("event_value")
            if isinstance(value, dict):
                value = value["next"] if value["cycles"] else None
            if isinstance(value, str):
                moment = TimerEventDefinition.parse_time_or_duration(value)
                if isinstance(moment, datetime):
                    moments.append(moment.timestamp() + _AFTER_SECONDS)
        return min(moments, default=None)

    def _succeed(self, task: Any, output: dict[str, Any]) -> None:
        if task.state != TaskState.STARTED:
            self._late(task, output)
            return
        self._calls.pop(task.id, None)
        task.internal_data[CALL] = {"done": True}
        task.data[task.task_spec.result_variable] = output
        self._complete(task)

    def _complete(self, task: Any) -> None:
        try:
            task.complete()
        except SpiffWorkflowException as error:  # of its post-script, or of what comes next
            self._fail(getattr(error, "task", None) or task, error)
        else:
            del task.internal_data[CALL]
            self._tell(task)

    def _refuse(self, task: Any, error: ConnectorError) -> None:
        """Repeat a failed call, hand its error to the process, or stop the case, in this order."""
        if task.state != TaskState.STARTED:
            self._late(task, error.to_dict())
            return
        record, spec = task.internal_data[CALL], task.task_spec
        if error.retryable and record["attempts"] <= (spec.retries or 0):
            base = 1 if spec.retry_backoff_base is None else spec.retry_backoff_base
            pause = max(base ** record["attempts"], error.retry_after_seconds or 0)
            record["due"] = time.time() + pause
            self._tell(task, f"{error.code}, again in {pause:g} s")
            return
        self._calls.pop(task.id, None)
        try:
            caught = throw(task, error)
        except SpiffWorkflowException as fault:
            self._fail(task, fault)
            return
        if caught:
            self._tell(task, error.code)
            return
        self._calls[task.id] = task
        record["failed"] = True
        self._fail(task, error)

    def _fail(self, task: Any, error: Exception) -> None:
        """Stop the case; the first reason is kept."""
        where, element = f"'{self.process.name}'", None
        if task is not None:
            where, element = _named(task)
            self._tell(task, getattr(error, "code", "failed"))
        known = error.to_dict() if isinstance(error, ConnectorError) else {"code": "PROCESS_FAULT"}
        if self._error is None or (task is not None and "failed" in _record(task)):
            reason = str(error).rstrip(".") or type(error).__name__
            cause = getattr(error, "exception", None) or error.__cause__
            if cause is not None and known["code"] == "PROCESS_FAULT":
                reason += f" ({type(cause).__name__})"  # its text may quote the data
            message = f"{self.process.file}: {where}: {reason}."
            found = {**known, "message": message, "task": element}
            if task is not None and "failed" in _record(task):
                _record(task)["failed"] = found  # it stays, when another's failure is settled
            self._error = self._error or found

    def _tell(self, task: Any, what: str = "done") -> None:
        """Note for the watcher what happened; it is told once the case is in order again."""
        element = task.task_spec.bpmn_id
        if element:
            self._events.append((element, task.task_spec.bpmn_name or element, what))

    def _late(self, task: Any, result: dict[str, Any]) -> None:
        """Keep the result of a call whose task the process has left in the meantime."""
        self._calls.pop(task.id, None)
        task.internal_data[CALL] = {"late": result}
        log.warning(
            "case %s: the call of '%s' ended after the process had left it; kept with the task",
            self.id,
            task.task_spec.bpmn_id,
        )


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
        self._registry = _registry()
        self._encoder = BpmnWorkflowSerializer(self._registry)._encoder_cls
        self._read: dict[tuple[str, bytes, str | None], Process] = {}
        self._processes: dict[str, Process] = {}
        self._definitions: dict[str, str] = {}
        self._open: weakref.WeakValueDictionary[str, Case] = weakref.WeakValueDictionary()
        self._slots = threading.Semaphore(threads)
        self._drivers: set[queue.SimpleQueue[Future[Any] | None]] = set()
        self._lock = threading.Lock()
        with contextlib.ExitStack() as undo:
            self._connections: dict[str, Connection] = {
                name: undo.enter_context(connector.connect(self._settings[name]))
                for name, connector in self.connectors.items()
            }
            self._store = Store(Path(store)) if store is not None else None
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="connector-call")
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
        self._pool.shutdown(wait=True)
        for connection in self._connections.values():
            connection.close()
        if self._store is not None:
            self._store.close()

    def read(self, path: str | Path, process: str | None = None) -> Process:
        """Read and check a BPMN file without starting a case. Raise InvalidProcess."""
        path = Path(path)
        try:
            with path.open("rb") as file:
                content = file.read(processes.MOST_BYTES + 1)
        except OSError as error:
            raise InvalidProcess(f"{path}: it can't be read ({error.strerror}).") from error
        key = (path.name, hashlib.sha256(content).digest(), process)
        if key not in self._read:
            self._read[key] = processes.parse(
                path, content, self.connectors, self._settings, process
            )
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
        found = path if isinstance(path, Process) else self.read(path, process)
        known = self._processes.setdefault(found.key, found)
        workflow = BpmnWorkflow(known.spec, known.subprocesses)
        workflow.task_tree.data.update(_copied(data or {}))
        for task in workflow.get_tasks(state=TaskState.READY):
            task.data.update(_copied(data or {}))
        case = Case(self, uuid.uuid4().hex, known, workflow)
        self._keep(case)
        return case

    def load_case(self, text: str) -> Case:
        """Make a case of what `Case.save` returned. The text holds expressions: it is code.

        Raise ValueError where it is no saved case, or one that is open or in the store already.
        """
        try:
            saved = json.loads(text)
            if saved["format"] != _FORMAT:
                raise ValueError("another format")
            definition = json.dumps(saved["definition"])
            process = self._process(saved["definition"]["key"], definition)
            case_id, error, state = str(saved["id"]), saved["error"], saved["state"]
        except (KeyError, TypeError, ValueError) as fault:
            raise ValueError(f"this text is no saved case ({fault})") from fault
        if case_id in self._open or (self._store is not None and self._store.has(case_id)):
            raise ValueError(f"case {case_id} is here already, and would do everything twice")
        case = self._restored(case_id, process, state, error)
        self._keep(case)
        return case

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
        process = self._processes.get(row.process) or self._process(
            row.process, self._store.process(row.process)
        )
        error = json.loads(row.error) if row.error else None
        if error and error["code"] == _INTERRUPTED:
            error = error.get("failure")  # the state says the rest too
        return self._restored(row.id, process, json.loads(row.state), error)

    def run(self, cases: Iterable[Case]) -> None:
        """Run cases until none of them can go on by itself; it sleeps while only timers run.

        Nothing is raised for a case that fails or was interrupted: see its `status` and `error`.
        When it is interrupted itself (Ctrl-C), calls that are under way are waited for and kept.
        """
        chosen = list(dict.fromkeys(cases))
        with self._lock:
            for case in chosen:
                case._check_idle()
            for case in chosen:
                case._driven = True
        try:
            _Driver(self, chosen).run()
        finally:
            for case in chosen:
                case._driven = False

    def _keep(self, case: Case) -> None:
        self._open[case.id] = case
        self._commit([case])

    def _commit(self, cases: Iterable[Case]) -> set[Case]:
        """Write the state of these cases to the store, if there is one, in one transaction.

        Return those whose state can't be written. They are stopped, and the store says so; what it
        kept of them last knows every call that was under way.
        """
        unsaved: set[Case] = set()
        if self._store is None:
            return unsaved
        rows = []
        for case in cases:
            with case._lock:
                try:
                    state = self._state(case)
                except (TypeError, ValueError, RecursionError) as error:
                    case._fail(case.workflow.last_task, error)
                    log.error("case %s: its data can't be saved, so it was stopped", case.id)
                    self._store.put_error(case.id, case.status, _error_text(case))
                    unsaved.add(case)
                    continue
                key = case.process.key
                if key not in self._definitions:
                    self._store.put_process(key, self._definition(case.process))
                name = case.process.name
                rows.append(Row(case.id, key, name, case.status, state, _error_text(case)))
        if rows:
            self._store.put(rows)
        return unsaved

    def _definition(self, process: Process) -> str:
        """Return the process as text, so that a case goes on as it began when its file changes."""
        if process.key not in self._definitions:
            dictionary = {
                "key": process.key,
                "name": process.name,
                "file": process.file,
                "spec": process.spec,
                "subprocesses": process.subprocesses,
            }
            self._definitions[process.key] = json.dumps(dictionary, cls=self._encoder)
        return self._definitions[process.key]

    def _process(self, key: str, definition: str) -> Process:
        if key not in self._processes:
            found = json.loads(definition)
            self._processes[key] = Process(
                key,
                found["name"],
                found["file"],
                self._registry.restore(found["spec"]),
                self._registry.restore(found["subprocesses"]),
            )
            self._definitions[key] = definition
            if self._store is not None:
                self._store.put_process(key, definition)
        return self._processes[key]

    def _state(self, case: Case) -> str:
        return json.dumps(self._registry.convert(case.workflow), cls=self._encoder)

    def _restored(
        self, case_id: str, process: Process, state: dict[str, Any], error: dict[str, Any] | None
    ) -> Case:
        state = {**state, "spec": process.spec, "subprocess_specs": process.subprocesses}
        case = Case(self, case_id, process, self._registry.restore(state), error)
        for task in list(case._calls.values()):
            record = _record(task)
            if record.get("underway"):
                record["underway"] = False
                if not self._is_repeatable(task):
                    record["interrupted"] = True
                elif task.state != TaskState.STARTED:
                    case._begin_again(task)  # nobody waits for it
        return case

    def _is_repeatable(self, task: Any) -> bool:
        try:
            return bool(self._action(task)[1].repeatable)
        except ConnectorError:  # it is not loaded here: nobody knows
            return False

    def _action(self, task: Any) -> tuple[Connection, Any]:
        name, _, action = task.task_spec.operation_name.partition("/")
        if name not in self._connections:
            raise InvalidInput(f"the connector '{name}' is not loaded.")
        return self._connections[name], self.connectors[name].action(action)

    def _told(self, case: Case) -> None:
        events, case._events = case._events, []
        for element, name, what in events if self._watch else ():
            self._watch(case, element, name, what)  # type: ignore[misc]


class _Driver:
    """One call of `Engine.run`: its cases, what they want, what is under way, what is due."""

    def __init__(self, engine: Engine, cases: Iterable[Case]) -> None:
        self.engine = engine
        self.fresh = dict.fromkeys(cases)  # to advance
        self.changed: dict[Case, None] = {}  # since the last commit
        self.broken: dict[Case, None] = {}  # left in the middle of a change
        self.wanted: deque[tuple[Case, Any]] = deque()
        self.underway: dict[Future[Any], tuple[Case, Any]] = {}
        self.due: list[tuple[float, int, Case]] = []
        self.signals: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()

    def run(self) -> None:
        with self.engine._lock:
            self.engine._drivers.add(self.signals)
        try:
            while self._step():
                self._wait()
        except BaseException:
            self._land()
            raise
        finally:
            with self.engine._lock:
                self.engine._drivers.discard(self.signals)

    @contextlib.contextmanager
    def _changing(self, case: Case) -> Iterator[None]:
        """Change a case whole. Ctrl-C may come at any point: then it is not in order any more."""
        self.changed[case] = self.broken[case] = None
        with case._lock:
            yield
        del self.broken[case]

    def _step(self) -> bool:
        """Advance what can be, commit it, begin the calls there is room for; is there more?"""
        pending = {task.id for _, task in self.wanted}
        while self.fresh:
            case = next(iter(self.fresh))
            with self._changing(case):
                case._advance()
                wanted = [task for task in case._wanted(time.time()) if task.id not in pending]
                try:
                    due = case._due()
                except (ValueError, OverflowError) as error:  # a moment that no calendar has
                    case._fail(None, error)
                    due = None
            del self.fresh[case]
            self.wanted += [(case, task) for task in wanted]
            if due is not None:
                heapq.heappush(self.due, (due, id(case), case))
        beginning = []
        while self.wanted and self.engine._slots.acquire(blocking=False):
            case, task = self.wanted.popleft()
            with self._changing(case):
                call = self._begun(case, task)
            if call is None:
                self.engine._slots.release()
            else:
                beginning.append((case, task, call))
        unsaved: Iterable[Case] = self.changed
        try:
            unsaved = self.engine._commit(self.changed)
        finally:  # no call begins unless its mark is kept
            for case, task, _ in beginning:
                if case in unsaved:
                    self._unbegun(case, task)
        for case, task, call in beginning:
            if case in unsaved:
                continue
            future = self.engine._pool.submit(self._call, *call)
            self.underway[future] = (case, task)
            future.add_done_callback(self.signals.put)
        changed, self.changed = self.changed, {}
        for case in changed:
            self.engine._told(case)
        return bool(self.underway or self.wanted or self.due or self.fresh)

    def _begun(self, case: Case, task: Any) -> tuple[Connection, str, dict[str, Any]] | None:
        """Mark a call as under way and return it, or None where it can't be made."""
        if task.state != TaskState.STARTED or task not in case._wanted(time.time()):
            return None
        try:
            connection, action = self.engine._action(task)
            given = inputs(task)
        except ConnectorError as error:
            case._refuse(task, error)
            self.fresh[case] = None
            return None
        except SpiffWorkflowException as error:
            task.internal_data[CALL]["failed"] = True
            case._fail(task, error)
            return None
        record = task.internal_data[CALL]
        record["underway"] = True
        record["attempts"] += 1
        case._tell(task, "begins")
        return connection, action.name, given

    def _unbegun(self, case: Case, task: Any) -> None:
        """Take the mark of a call back that is not made after all."""
        with self._changing(case):
            _record(task)["underway"] = False
            _record(task)["attempts"] -= 1
        self.engine._slots.release()

    def _call(
        self, connection: Connection, action: str, given: dict[str, Any]
    ) -> dict[str, Any] | ConnectorError:
        try:
            return connection.run(action, given)
        except ConnectorError as error:
            return error
        except Exception as fault:  # noqa: BLE001 - a stranger's code; other cases must go on
            log.error("%s: unexpected fault\n%s", action, _trace(fault))
            return _Unexpected(connection.connector.action(action).effect, fault)
        finally:
            self.engine._slots.release()
            with self.engine._lock:
                others = [each for each in self.engine._drivers if each is not self.signals]
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
            _record(task)["underway"] = False
            if isinstance(result, ConnectorError):
                case._refuse(task, result)
            else:
                case._succeed(task, result)
        self.fresh[case] = None

    def _land(self) -> None:
        """End in order what is under way: none is lost, and none that never began is in doubt."""
        for future, (case, task) in list(self.underway.items()):
            if future.cancel():
                self._unbegun(case, task)
                del self.underway[future]
        for future, (case, _) in list(self.underway.items()):
            if future.exception() is None and case not in self.broken:
                self._take(future)
        for case in self.broken:
            # The store knows it as it was, with the calls that were under way.
            self.engine._open.pop(case.id, None)
            case._fail(None, RuntimeError("it was broken off in the middle of a step; resume it"))
        self.engine._commit([case for case in self.changed if case not in self.broken])


def _record(task: Any) -> dict[str, Any]:
    """Return a service task's record of its call."""
    found: dict[str, Any] = task.internal_data.get(CALL, {})
    return found


def _is_open(task: Any) -> bool:
    """Tell whether a service task's call is wanted, under way or stands still."""
    record = _record(task)
    left = task.state != TaskState.STARTED
    return bool(record.get("underway") or "interrupted" in record if left else "due" in record)


def _inputs(task: Any) -> dict[str, Any]:
    try:
        return inputs(task)
    except SpiffWorkflowException:  # what stopped the call, perhaps
        return {}


def _is_of(output: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Tell whether an output is of a call with these inputs, by the fields that both have."""
    shared = output.keys() & given.keys()
    return bool(shared) and all(output[name] == given[name] for name in shared)


def _error_text(case: Case) -> str | None:
    """Write a case's error for the store, with the failure that an interruption comes before."""
    error = case.error
    if error is not None and error["code"] == _INTERRUPTED:
        error = {**error, "failure": case._error}
    return json.dumps(error) if error else None


def _trace(fault: Exception) -> str:
    """Return where a fault was raised, without its text, which may hold a number or a body."""
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__


def _named(task: Any) -> tuple[str, str]:
    """Return how to name a task to people, and its id."""
    element = task.task_spec.bpmn_id or task.task_spec.name
    name = getattr(task.task_spec, "bpmn_name", None)
    return (f"'{name}' ({element})" if name else f"'{element}'"), element


class _State(BpmnWorkflowConverter):  # type: ignore[misc]
    """Leaves the specifications out of a case's state: they are kept once for all cases."""

    def to_dict(self, workflow: Any) -> dict[str, Any]:
        state: dict[str, Any] = WorkflowConverter.to_dict(self, workflow)
        state["subprocesses"] = self.mapping_to_dict(workflow.subprocesses)
        state["bpmn_events"] = self.registry.convert(workflow.bpmn_events)
        return state


def _registry() -> Any:
    config = {**SPIFF_CONFIG, BpmnWorkflow: _State, ConnectorTask: ServiceTaskConverter}
    del config[ServiceTask]
    registry = BpmnWorkflowSerializer.configure(config, DefaultRegistry())
    registry._encoder_mode = True  # leaves the walk through the data to the JSON encoder
    return registry


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a case's first data by way of JSON, which is what it must be."""
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the data of a case must be JSON ({error}).") from error
    if any("typename" in found for found in _objects(copied)):
        raise InvalidInput("the name 'typename' is SpiffWorkflow's own: name the field otherwise.")
    return copied


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _objects(item)
