"""The rules of a case: which calls are wanted, how one begins and ends, what stops the case.

Nothing here waits, stores, calls a connector, or asks for the time: an engine does, and tells.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from SpiffWorkflow.bpmn import BpmnWorkflow
from SpiffWorkflow.bpmn.specs.event_definitions.timer import TimerEventDefinition
from SpiffWorkflow.exceptions import SpiffWorkflowException
from SpiffWorkflow.util.task import TaskState

from connector_runtime.errors import ConnectorError, InvalidInput

from .call import Call, State
from .given import NewId, given
from .process import Process
from .scripts import Scripts, inputs, throw

log = logging.getLogger("connector_engines.bpmn")

_INTERRUPTED = "INTERRUPTED"
_AFTER_SECONDS = 0.001  # SpiffWorkflow's timers fire after their moment, not at it


class Request(NamedTuple):
    """A call that begins now: `task` is its id; with `since`, it may have begun then already."""

    task: str
    operator: str
    inputs: dict[str, Any]
    since: float | None


class Event(NamedTuple):
    """What happened, for those who watch: the element's id, its name, and what."""

    element: str
    name: str
    what: str


class Case:
    """One run of a process.

    Every method that lets it go on is given the moment, in seconds since 1970; `new_id` gives the
    ids of its tasks. An engine calls `advance`, then `begin` for each of `wanted`, keeps the
    case, makes the calls, and tells how each ended by `end`.

    id        its name for ever
    process   the process it follows
    workflow  SpiffWorkflow's own object, for what this class does not offer
    calls     the record of each call that is not over, by the id of its task
    fault     why it stopped, where it was not a call
    late      what came of calls that the process had left in the meantime
    """

    def __init__(
        self,
        case_id: str,
        process: Process,
        workflow: Any,
        new_id: NewId,
        *,
        calls: Mapping[str, Call] | None = None,
        fault: dict[str, Any] | None = None,
        late: list[dict[str, Any]] | None = None,
    ) -> None:
        self.id = case_id
        self.process = process
        self.workflow = workflow
        self.fault = fault
        self.late = late or []
        self.calls: dict[str, Call] = dict(calls or {})
        self._new_id = new_id
        self._tasks: dict[str, Any] = {}
        if self.calls:
            tasks = {str(task.id): task for task in workflow.get_tasks()}
            self._tasks = {name: tasks[name] for name in self.calls}
        self._events: list[Event] = []
        self._scripts = Scripts()
        workflow.script_engine = self._scripts

    @classmethod
    def start(
        cls, case_id: str, process: Process, data: Mapping[str, Any], now: float, new_id: NewId
    ) -> Case:
        """Make a case with this data at its start; nothing runs yet.

        Raise InvalidInput where `data` is no JSON.
        """
        first = _copied(data)
        with given(now, new_id):
            workflow = BpmnWorkflow(process.spec, process.subprocesses)
            workflow.task_tree.data.update(first)
            for task in workflow.get_tasks(state=TaskState.READY):
                task.data.update(_copied(data))
            return cls(case_id, process, workflow, new_id)

    def __repr__(self) -> str:
        return f"<Case {self.id} of {self.process.name}: {self.status}>"

    # What it is like

    @property
    def data(self) -> dict[str, Any]:
        """The data of the process: where it ended, or where it stands."""
        last = self.workflow.last_task
        data = self.workflow.data if self.workflow.completed or last is None else last.data
        return {name: value for name, value in data.items() if name != "data_objects"}

    @property
    def error(self) -> dict[str, Any] | None:
        """Return why it stopped: the failed call's `ConnectorError.to_dict()` and `task`, its id.

        The code is "PROCESS_FAULT" for a fault of the process itself, and "INTERRUPTED" for calls
        that were under way when its process ended. These come before any failure, for they may have
        been carried out. `stopped` has them all.
        """
        unknown = [self._tasks[name] for name in self._in(State.UNKNOWN)]
        if not unknown:
            return self._failure()
        names = ", ".join(_named(task)[0] for task in unknown)
        why = (
            "under way when the process ended, and may have been carried out. Look before you let "
            "it try again"
        )
        return {
            "code": _INTERRUPTED,
            "message": f"{self.process.file}: {names}: a call of each was {why}."
            if len(unknown) > 1
            else f"{self.process.file}: {names}: its call was {why}.",
            "retryable": False,
            "outcome": "unknown",
            "task": _named(unknown[0])[1],
        }

    @property
    def stopped(self) -> list[dict[str, Any]]:
        """Return the calls that stand still: `task` (its own id), `element` (of the BPMN file),
        `why` ("interrupted" or "failed") and `inputs`, by which to tell those of a loop apart."""
        return [
            {
                "task": name,
                "element": self._tasks[name].task_spec.bpmn_id,
                "why": "interrupted" if self.calls[name].state is State.UNKNOWN else "failed",
                "inputs": self._inputs(name),
            }
            for name in self._stopped(None)
        ]

    @property
    def status(self) -> str:
        """Return "running", "waiting" (for a moment or somebody), "finished", "failed" or
        "interrupted": nobody knows whether a call was carried out."""
        states = {call.state for call in self.calls.values()}
        if State.UNKNOWN in states:
            return "interrupted"
        if self._failure() is not None:
            return "failed"
        if State.BEGUN in states:
            return "running"
        if self.workflow.completed:
            return "finished"
        ready = self.workflow.get_next_task(state=TaskState.READY, manual=False)
        return "running" if states or ready is not None else "waiting"

    def due(self) -> float | None:
        """Return the moment at which something happens by itself, or None.

        Raise ValueError or OverflowError for a timer whose moment no calendar has.
        """
        if self._failure() is not None or self.workflow.completed:
            return None
        moments = [self.calls[name].due for name in self._in(State.WANTED)]
        for task in self.workflow.event_manager.tasks.values():
            value = task.internal_data.get("event_value")
            if isinstance(value, dict):
                value = value["next"] if value["cycles"] else None
            if isinstance(value, str):
                moment = TimerEventDefinition.parse_time_or_duration(value)
                if isinstance(moment, datetime):
                    moments.append(moment.timestamp() + _AFTER_SECONDS)
        return min(moments, default=None)

    def wanted(self, now: float) -> list[str]:
        """Return the tasks whose call may begin."""
        if self._failure() is not None:
            return []
        return [name for name in self._in(State.WANTED) if self.calls[name].due <= now]

    def take_events(self) -> list[Event]:
        """Return what happened since it was asked for last."""
        events, self._events = self._events, []
        return events

    # What an engine tells it

    def advance(self, now: float) -> None:
        """Run all that stays inside the process."""
        if self._failure() is not None or self.workflow.completed:
            return

        def seen(task: Any) -> None:
            if task.state != TaskState.STARTED:
                self._tell(task)

        try:
            with given(now, self._new_id):
                while True:
                    self.workflow.do_engine_steps(did_complete_task=seen)
                    if self.workflow.get_next_task(state=TaskState.READY, manual=False) is None:
                        break
        # Expressions may raise anything, and SpiffWorkflow raises plain Exception for a wrong
        # duration: it is this case that stops, not the others.
        except Exception as error:  # noqa: BLE001
            self.stop(error)
        for task in self._scripts.wanted:
            # A timer's next cycle may come by again: one task is one call.
            if task.state == TaskState.STARTED and str(task.id) not in self.calls:
                self._tasks[str(task.id)] = task
                self.calls[str(task.id)] = Call()
        self._scripts.wanted.clear()
        for name, task in list(self._tasks.items()):
            if task.state != TaskState.STARTED and self.calls[name].state is State.WANTED:
                self._forget(name)  # the process left it before it began

    def begin(self, name: str, now: float) -> Request | None:
        """Mark a call as begun and return what to ask, or None where it can't be made any more.

        It must be kept as begun before anything of it leaves.
        """
        if name not in self.wanted(now) or self._tasks[name].state != TaskState.STARTED:
            return None
        task, call = self._tasks[name], self.calls[name]
        call.begin(now)
        try:
            with given(now, self._new_id):
                evaluated = inputs(task)
        except SpiffWorkflowException as error:
            call.fail(self._reason(task, error))
            return None
        self._tell(task, "begins")
        return Request(name, task.task_spec.operation_name, evaluated, call.before)

    def withdraw(self, name: str) -> None:
        """Take the mark of a call back that is not made after all."""
        self.calls[name].withdraw()

    def end(self, name: str, result: dict[str, Any] | ConnectorError, now: float) -> None:
        """Take what came of a call: its output, or the connector's error."""
        task, call = self._tasks[name], self.calls[name]
        if task.state != TaskState.STARTED:
            self._keep_late(
                name, result.to_dict() if isinstance(result, ConnectorError) else result
            )
            return
        with given(now, self._new_id):
            if isinstance(result, ConnectorError):
                self._refuse(name, result, now)
            else:
                call.succeed()
                self._succeed(name, result)

    def lose(self, harmless: Callable[[str], bool]) -> None:
        """Say that nobody knows how the calls ended that had begun: their process is gone.

        `harmless` tells of an operator whether its call may be made again without harm.
        """
        for name in self._in(State.BEGUN):
            task, call = self._tasks[name], self.calls[name]
            if not harmless(task.task_spec.operation_name):
                call.doubt({})
            elif task.state != TaskState.STARTED:
                self._forget(name)  # nobody waits for it
            else:
                call.lose(harmless=True)

    def stop(self, error: Exception) -> None:
        """Stop the case for a fault that is no call's; the first reason is kept."""
        task = getattr(error, "task", None)
        reason = self._reason(task, error)
        self.fault = self.fault or reason

    # What people decide

    def retry(self, name: str | None, now: float) -> None:
        """Let a stopped case try again what stopped it.

        `name` is the element or the task (see `stopped`) to try; without it, all that failed is
        tried, and only where nothing failed, the interrupted calls. Those may have been carried
        out: look first, and `settle` what was. Raise InvalidInput where nothing of this name
        stopped.
        """
        chosen = self._stopped(name)
        if name is None and self._failure() is not None:
            chosen = [each for each in chosen if self.calls[each].state is State.FAILED]
        elif name is not None and not chosen:
            raise InvalidInput(f"no call of '{name}' stands still.")
        for each in chosen:
            self.calls[each].retry()
            if self._tasks[each].state != TaskState.STARTED:
                self._forget(each)  # the process has left it, and goes on without its result
        if any(call.state is State.FAILED for call in self.calls.values()):
            return
        self.fault = None
        with given(now, self._new_id):
            for task in self.workflow.get_tasks(state=TaskState.ERROR):
                each = str(task.id)
                if each in self.calls:
                    # The call itself went well, and is not made again: only what came after.
                    task._set_state(TaskState.STARTED)
                    self._complete(each)
                else:
                    self.workflow.reset_from_task_id(task.id)

    def to_settle(self, output: Mapping[str, Any], name: str | None) -> tuple[str, str]:
        """Return the task and the operator of the call that stands still and has this output.

        `name` is the element or the task (see `stopped`), where several stand still and `output`
        has not the inputs of one alone. Raise InvalidInput where it is not one.
        """
        if not isinstance(output, Mapping):
            raise InvalidInput("the output of a call must be an object with its fields.")
        stopped = self._stopped(name)
        if len(stopped) > 1:
            stopped = [each for each in stopped if _is_of(output, self._inputs(each))] or stopped
        if len(stopped) != 1:
            named = [f"{each} of {_named(self._tasks[each])[0]}" for each in stopped]
            raise InvalidInput(
                f"{len(stopped)} calls stand still: name the one to settle "
                f"({'; '.join(named) or 'none'})."
            )
        return stopped[0], self._tasks[stopped[0]].task_spec.operation_name

    def settle(self, name: str, output: Mapping[str, Any], now: float) -> None:
        """Give the output of a call that stands still (`to_settle` finds it), checked before."""
        call, task = self.calls[name], self._tasks[name]
        call.settle()
        if task.state != TaskState.STARTED:
            self._keep_late(name, dict(output))
            return
        with given(now, self._new_id):
            self._succeed(name, dict(output))

    # How it is done

    def _in(self, state: State) -> list[str]:
        return [name for name, call in self.calls.items() if call.state is state]

    def _stopped(self, name: str | None) -> list[str]:
        """Return the calls that stand still, all or those of one element or task id."""
        return [
            each
            for each, call in self.calls.items()
            if call.state in (State.FAILED, State.UNKNOWN)
            and name in (None, self._tasks[each].task_spec.bpmn_id, each)
        ]

    def _failure(self) -> dict[str, Any] | None:
        """Return why it can't go on: a call that failed, or a fault of the process itself."""
        for call in self.calls.values():
            if call.state is State.FAILED:
                return call.error
        return self.fault

    def _inputs(self, name: str) -> dict[str, Any]:
        try:
            return inputs(self._tasks[name])
        except SpiffWorkflowException:  # what stopped the call, perhaps
            return {}

    def _forget(self, name: str) -> None:
        del self.calls[name], self._tasks[name]

    def _succeed(self, name: str, output: dict[str, Any]) -> None:
        task = self._tasks[name]
        task.data[task.task_spec.result_variable] = output
        self._complete(name)

    def _complete(self, name: str) -> None:
        task = self._tasks[name]
        try:
            task.complete()
        except SpiffWorkflowException as error:  # of its post-script, or of what comes next
            error.task = getattr(error, "task", None) or task
            self.stop(error)
        else:
            self._forget(name)
            self._tell(task)

    def _refuse(self, name: str, error: ConnectorError, now: float) -> None:
        """Repeat a failed call, hand its error to the process, or stop the case, in this order."""
        task, call = self._tasks[name], self.calls[name]
        spec = task.task_spec
        if error.retryable and call.attempts <= (spec.retries or 0):
            base = 1 if spec.retry_backoff_base is None else spec.retry_backoff_base
            pause = max(base**call.attempts, error.retry_after_seconds or 0)
            call.repeat(now + pause)
            self._tell(task, f"{error.code}, again in {pause:g} s")
            return
        try:
            caught = throw(task, error)
        except SpiffWorkflowException as fault:
            call.fail(self._reason(task, fault))
            return
        if caught:
            self._forget(name)
            self._tell(task, error.code)
            return
        call.fail(self._reason(task, error))

    def _reason(self, task: Any, error: Exception) -> dict[str, Any]:
        """Describe what stopped a task, or the process where there is none."""
        where, element = f"'{self.process.name}'", None
        if task is not None:
            where, element = _named(task)
            self._tell(task, getattr(error, "code", "failed"))
        known = error.to_dict() if isinstance(error, ConnectorError) else {"code": "PROCESS_FAULT"}
        reason = str(error).rstrip(".") or type(error).__name__
        cause = getattr(error, "exception", None) or error.__cause__
        if cause is not None and known["code"] == "PROCESS_FAULT":
            reason += f" ({type(cause).__name__})"  # its text may quote the data
        return {**known, "message": f"{self.process.file}: {where}: {reason}.", "task": element}

    def _tell(self, task: Any, what: str = "done") -> None:
        """Note what happened for those who watch."""
        element = task.task_spec.bpmn_id
        if element:
            self._events.append(Event(element, task.task_spec.bpmn_name or element, what))

    def _keep_late(self, name: str, result: dict[str, Any]) -> None:
        """Keep the result of a call whose task the process has left in the meantime."""
        element = self._tasks[name].task_spec.bpmn_id
        self._forget(name)
        self.late.append({"task": name, "element": element, "result": result})
        log.warning(
            "case %s: the call of '%s' ended after the process had left it; see its 'late'",
            self.id,
            element,
        )


def _named(task: Any) -> tuple[str, str]:
    """Return how to name a task to people, and its id."""
    element = task.task_spec.bpmn_id or task.task_spec.name
    name = getattr(task.task_spec, "bpmn_name", None)
    return (f"'{name}' ({element})" if name else f"'{element}'"), element


def _is_of(output: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Tell whether an output is of a call with these inputs, by the fields that both have."""
    shared = output.keys() & asked.keys()
    return bool(shared) and all(output[name] == asked[name] for name in shared)


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a case's first data by way of JSON, which is what it must be."""
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the data of a case must be JSON ({error}).") from error
    if any("typename" in each for each in _objects(copied)):
        raise InvalidInput("the name 'typename' is SpiffWorkflow's own: name the field otherwise.")
    return copied


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _objects(item)
