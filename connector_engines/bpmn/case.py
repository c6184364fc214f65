"""The rules of a case: which calls are wanted, how one begins and ends, what stops the case.

Nothing here waits, stores, calls a connector or reads a clock: the engine does that.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from SpiffWorkflow.bpmn import BpmnEvent
from SpiffWorkflow.bpmn.specs.event_definitions.item_aware_event import SignalEventDefinition
from SpiffWorkflow.bpmn.specs.event_definitions.message import MessageEventDefinition
from SpiffWorkflow.bpmn.specs.event_definitions.multiple import MultipleEventDefinition
from SpiffWorkflow.bpmn.specs.event_definitions.timer import TimerEventDefinition
from SpiffWorkflow.exceptions import SpiffWorkflowException
from SpiffWorkflow.util.task import TaskState

from connector_runtime.errors import ConnectorError, InvalidInput, OutcomeUnknown

from .call import Call, Calls, State
from .given import NewId, given
from .process import DATA_STORES, Process
from .scripts import Scripts, inputs, throw
from .workflow import Workflow, timer_due

log = logging.getLogger("connector_engines.bpmn")

# Names in the data that belong to SpiffWorkflow
_NOT_DATA = ("data_objects", DATA_STORES)
# Added to resend_after_seconds, so that the connector's own limit has surely passed
_MARGIN_SECONDS = 1.0
# Events from outside the case
_KINDS = {"message": MessageEventDefinition, "signal": SignalEventDefinition}
_OUTSIDE = (TimerEventDefinition, MessageEventDefinition, SignalEventDefinition)


class Request(NamedTuple):
    """A call to make now. `task` is its id, `operator` is "connector/action".

    With `since` (seconds since 1970), the call may have been made at that time already, so it must
    be looked up. With `resend`, it may be sent again if the look-up does not find it.
    """

    task: str
    operator: str
    inputs: dict[str, Any]
    since: float | None
    resend: bool


class Event(NamedTuple):
    """Something that happened in a case: the element's id, its name, and what happened."""

    element: str
    name: str
    what: str


class Case:
    """One run of a process.

    Every method that continues it takes the time, in seconds since 1970. `new_id` returns the
    ids of its tasks. An engine calls `advance`, then `begin` for each task of `wanted`, stores the
    case, makes the calls, and passes each result to `end`.

    id        its name, which never changes
    process   the process that it runs
    workflow  SpiffWorkflow's own object, for everything that this class does not offer
    calls     the record of each call that is not over, by the id of its task
    fault     why it stopped, if the process itself failed and not a call
    late      the results of calls whose task the process had left before they ended
    resend_after_seconds  after this time, a call that was not found is made again; None: never
    """

    def __init__(
        self,
        case_id: str,
        process: Process,
        workflow: Any,
        new_id: NewId,
        names: Mapping[str, Any] | None = None,
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
        self.resend_after_seconds: float | None = None
        self.calls = Calls(calls or {})
        self._new_id = new_id
        # The tasks whose call the process still waits for. A call whose task it has left is not
        # here.
        self._tasks: dict[str, Any] = {}
        if self.calls:
            workflows = (workflow, *workflow.subprocesses.values())
            tasks = {str(task.id): task for flow in workflows for task in flow.tasks.values()}
            self._tasks = {name: tasks[name] for name in self.calls if name in tasks}
        self._events: list[Event] = []
        self._scripts = Scripts(names or {})
        workflow.script_engine = self._scripts

    @classmethod
    def start(
        cls,
        case_id: str,
        process: Process,
        data: Mapping[str, Any],
        now: float,
        new_id: NewId,
        names: Mapping[str, Any] | None = None,
    ) -> Case:
        """Create a case with its first data. Nothing runs yet.

        `names` are additional names that its expressions may use. Raise InvalidInput if `data` is
        not JSON.
        """
        first = _copied(data)
        with given(now, new_id):
            workflow = Workflow(process.spec, process.subprocesses)
            workflow.task_tree.data.update(first)
            for task in workflow.track.ready.values():
                task.data.update(_copied(data))
            return cls(case_id, process, workflow, new_id, names)

    def __repr__(self) -> str:
        return f"<Case {self.id} of {self.process.name}: {self.status}>"

    @property
    def data(self) -> dict[str, Any]:
        """The data of the process at its end, or at the last task that has ended."""
        last = self.workflow.last_task
        data = self.workflow.data if self.workflow.completed or last is None else last.data
        return {name: value for name, value in data.items() if name not in _NOT_DATA}

    @property
    def error(self) -> dict[str, Any] | None:
        """Return why it stopped: `ConnectorError.to_dict()` plus `task`, the id of the element.

        If several calls have stopped, a call with an unknown outcome comes first. The code is
        "PROCESS_FAULT" if the process itself failed. `stopped` has all calls.
        """
        unknown = next(iter(self.calls.of(State.UNKNOWN).values()), None)
        return self._failure() if unknown is None else unknown.error

    @property
    def stopped(self) -> list[dict[str, Any]]:
        """Return the calls that have stopped, those with an unknown outcome first.

        Each has `task` (its own id), `element` (its id in the BPMN file), `why`, `inputs` and
        `error`. `why` is "failed", or "interrupted" if it is not known whether the call was carried
        out. `inputs` show which call of a loop it is. An interrupted call also has `since` (when it
        began, in seconds since 1970), `candidates` (identifiers of messages that may be its own)
        and `looked_until` (when the look-up ended).
        """
        return [self._describe(name) for name in self._stopped(None)]

    def _describe(self, name: str) -> dict[str, Any]:
        call = self.calls[name]
        error = call.error or {}
        known = {"task": name, "element": call.element, "inputs": call.inputs or {}, "error": error}
        if call.state is State.FAILED:
            return {**known, "why": "failed"}
        return {
            **known,
            "why": "interrupted",
            "since": call.since,
            "candidates": list(error.get("candidates") or ()),
            "looked_until": error.get("looked_until"),
        }

    @property
    def status(self) -> str:
        """Return "running", "waiting" (for a time, a person or an event), "finished", "failed", or
        "interrupted" (it is not known whether a call was carried out)."""
        if self.calls.of(State.UNKNOWN):
            return "interrupted"
        if self._failure() is not None:
            return "failed"
        if self.calls.of(State.BEGUN):
            return "running"
        if self.workflow.completed:
            return "finished"
        return "running" if self.calls or self.workflow.track.ready else "waiting"

    @property
    def is_over(self) -> bool:
        """Tell whether the case is over: then only its outcome must be stored."""
        return self.workflow.completed and not self.calls and self.fault is None

    def due(self) -> float | None:
        """Return when the case continues by itself (seconds since 1970), or None.

        Raise as `timer` does.
        """
        if self._failure() is not None or self.workflow.completed:
            return None
        if self.workflow.track.ready:
            return 0.0
        moments = [call.due for call in self.calls.of(State.WANTED).values()]
        timer = self.timer()
        return min(moments if timer is None else [*moments, timer], default=None)

    def timer(self) -> float | None:
        """Return when the next timer fires (seconds since 1970), or None.

        Raise ValueError or OverflowError if the timer has a date that does not exist.
        """
        if self._failure() is not None or self.workflow.completed:
            return None
        timers = map(timer_due, self.workflow.event_manager.tasks.values())
        return min((due for due in timers if due is not None), default=None)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is ready to run, and no call is wanted or begun."""
        if self.calls.of(State.BEGUN):
            return False
        wanted = self.calls.of(State.WANTED).values()
        if self._failure() is not None:
            return not any(call.since is not None for call in wanted)
        return not wanted and not self.workflow.track.ready

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Return the user and manual tasks that wait for a person.

        Each has `task` (its own id), `element` (its id in the BPMN file), `name` and `data`. If the
        drawing has them, it also has `lane`, `instructions` and `form` (the names of its files).
        """
        return [_for_people(task) for task in self.workflow.track.manual.values()]

    @property
    def waits(self) -> set[tuple[str, str]]:
        """Return the events that the case waits for, as ("message", name) and ("signal", name)."""
        if self.workflow.completed or self._failure() is not None:
            return set()
        return {
            (kind, part.name)
            for task in self.workflow.event_manager.tasks.values()
            for part in _parts(task.task_spec.event_definition)
            for kind, definition in _KINDS.items()
            if isinstance(part, definition)
        }

    def wanted(self, now: float) -> list[str]:
        """Return the ids of the tasks whose call may begin at `now`."""
        if self._failure() is not None:
            return []
        return [name for name, call in self.calls.of(State.WANTED).items() if call.due <= now]

    def is_wanted(self, name: str) -> bool:
        """Tell whether a call must begin, now or when it is due.

        After a case has failed, only calls that may have been carried out are still looked up.
        """
        call = self.calls.of(State.WANTED).get(name)
        return call is not None and (call.since is not None or self._failure() is None)

    def take_fresh(self) -> list[tuple[str, float]]:
        """Return the calls that became wanted since the last time: task ids, and when they are due.

        It returns the calls of a stopped case too; `begin` refuses them.
        """
        wanted = self.calls.of(State.WANTED)
        fresh = [
            (name, wanted[name].due) for name in dict.fromkeys(self.calls.fresh) if name in wanted
        ]
        self.calls.fresh.clear()
        return fresh

    @property
    def scripts_run(self) -> int:
        """Return how often an expression may have changed data in place since the case was read."""
        return self._scripts.count

    def take_events(self) -> list[Event]:
        """Return the events since the last time."""
        events, self._events = self._events, []
        return events

    def advance(self, now: float) -> None:
        """Run all steps of the process that are possible without a call or an event."""
        if self._failure() is not None or self.workflow.completed:
            return

        def seen(task: Any) -> None:
            if task.state != TaskState.STARTED:
                self._tell(task)

        try:
            with given(now, self._new_id):
                self.workflow.do_engine_steps(did_complete_task=seen)
                while self.workflow.track.ready:
                    # A timer has fired
                    self.workflow.do_engine_steps(did_complete_task=seen)
        # Expressions may raise anything, and SpiffWorkflow raises Exception itself for a wrong
        # duration. Only this case must stop, not the others.
        except Exception as error:  # noqa: BLE001
            self.stop(error)
        for task in self._scripts.wanted:
            # The next cycle of a timer may reach a task again, but one task makes one call.
            if task.state == TaskState.STARTED and str(task.id) not in self.calls:
                self._tasks[str(task.id)] = task
                spec = task.task_spec
                call = Call(
                    task.number,
                    spec.operation_name,
                    spec.bpmn_id or spec.name,
                    spec.bpmn_name or "",
                )
                self.calls.add(str(task.id), call)
        self._scripts.wanted.clear()
        if self.workflow.track.left:
            self._forget_left()
        self.workflow.track.left = False
        with given(now, self._new_id):
            self.workflow.prune()
        if not self._is_open():
            self.stop(RuntimeError(f"it can't continue: {self._waiting()} can never end"))

    def _forget_left(self) -> None:
        """Forget the calls that had not begun when the process left their tasks."""
        for task in list(self._tasks.values()):
            name = str(task.id)
            call = self.calls[name]
            if task.state != TaskState.STARTED and call.state is State.WANTED and not call.since:
                self._forget(name)

    def begin(self, name: str, now: float, clock: float | None = None) -> Request | None:
        """Mark a call as begun and return its request, or None if it can't be made any more.

        The case must be stored before the call is made. `clock` is the time that is recorded as the
        begin of the call, if that must differ from `now`.
        """
        if not self.is_wanted(name) or self.calls[name].due > now:
            return None
        call = self.calls[name]
        if self._is_left(name) and call.since is None:
            self._forget(name)
            return None
        self.calls.go(name, "begin", now if clock is None else clock)
        if call.before is not None and call.inputs is not None:
            asked = call.inputs
        else:
            task = self._tasks[name]
            try:
                with given(now, self._new_id):
                    asked = inputs(task)
            except SpiffWorkflowException as error:
                self.calls.go(name, "fail", self._reason(task, error))
                return None
            # The connector will refuse inputs that are not JSON
            call.inputs = asked if _is_json(asked) else None
        self._tell_of(call, "begins")
        resend = self._may_resend(call, now)
        call.resends += resend
        return Request(name, call.operator, asked, call.before, resend)

    def _may_resend(self, call: Call, now: float) -> bool:
        """Tell whether a call may be sent again: only once, after `resend_after_seconds`."""
        if call.before is None or self.resend_after_seconds is None or call.resends:
            return False
        return now - call.before >= self.resend_after_seconds

    def withdraw(self, name: str) -> None:
        """Mark a call as not begun: it was not made."""
        self.calls.go(name, "withdraw")

    def end(self, name: str, result: dict[str, Any] | ConnectorError, now: float) -> None:
        """Process the result of a call: its output, or the connector's error."""
        call = self.calls[name]
        if isinstance(result, ConnectorError):
            result = _in_doubt(call, result)
        if self._is_left(name):
            if not isinstance(result, ConnectorError):
                self._keep_late(name, result)
            elif result.outcome == "unknown":
                self.calls.go(name, "doubt", self._explain(call.label, call.element, result))
            else:
                self._keep_late(name, result.to_dict())
            return
        with given(now, self._new_id):
            if isinstance(result, ConnectorError):
                self._refuse(name, result, now)
            else:
                self.calls.go(name, "succeed")
                self._succeed(name, result)

    def lose(self, harmless: Callable[[str], bool]) -> None:
        """Record that it is not known how the begun calls ended, because their program has ended.

        `harmless(operator)` tells whether a call can be repeated without harm. The other calls will
        be looked up: `begin` returns them with `since`.
        """
        for name in list(self.calls.of(State.BEGUN)):
            if harmless(self.calls[name].operator):
                if self._is_left(name):
                    # The process does not wait for this call any more
                    self._forget(name)
                else:
                    self.calls.go(name, "lose", harmless=True)
            else:
                self.calls.go(name, "lose", harmless=False)

    def look(self) -> None:
        """Look up once more the calls whose outcome is not known."""
        for name in list(self.calls.of(State.UNKNOWN)):
            self.calls.go(name, "look")

    def stop(self, error: Exception) -> None:
        """Stop the case because the process itself failed. The first reason is kept."""
        task = getattr(error, "task", None)
        reason = self._reason(task, error)
        self.fault = self.fault or reason

    def retry(self, name: str | None, now: float) -> None:
        """Repeat the calls that stopped the case.

        `name` is the id of one element or task (see `stopped`). Without it, all failed calls are
        repeated; if none failed, the interrupted calls. An interrupted call may have been carried
        out. Check that first, and use `settle` if it was. Raise InvalidInput if no call of this
        name has stopped.
        """
        chosen = self._stopped(name)
        if name is None and self._failure() is not None:
            chosen = [task_id for task_id in chosen if self.calls[task_id].state is State.FAILED]
        elif name is not None and not chosen:
            raise InvalidInput(f"no call of '{name}' has stopped.")
        for task_id in chosen:
            self.calls.go(task_id, "retry")
            if self._is_left(task_id):
                # The process has left this task and does not need its result
                self._forget(task_id)
        if self.calls.of(State.FAILED):
            return
        self.fault = None
        with given(now, self._new_id):
            for task in self.workflow.get_tasks(state=TaskState.ERROR):
                task_id = str(task.id)
                if task_id in self.calls:
                    # The call succeeded. Only the steps after it are repeated.
                    task._set_state(TaskState.STARTED)
                    self._complete(task_id)
                else:
                    self.workflow.reset_from_task_id(task.id)

    def to_settle(self, output: Mapping[str, Any], name: str | None) -> tuple[str, str]:
        """Return the task and the operator of the stopped call that this output fits.

        `name` is the id of the element or of the task (see `stopped`). It is needed if `output`
        fits the inputs of several stopped calls. Raise InvalidInput unless exactly one call fits.
        """
        if not isinstance(output, Mapping):
            raise InvalidInput("the output of a call must be an object with its fields.")
        stopped = self._stopped(name)
        if len(stopped) > 1:
            stopped = [
                task_id for task_id in stopped if _is_of(output, self.calls[task_id].inputs or {})
            ] or stopped
        if len(stopped) != 1:
            named = [f"{task_id} of {self.calls[task_id].label}" for task_id in stopped]
            raise InvalidInput(
                f"{len(stopped)} calls have stopped: name the one to settle "
                f"({'; '.join(named) or 'none'})."
            )
        return stopped[0], self.calls[stopped[0]].operator

    def settle(self, name: str, output: Mapping[str, Any], now: float) -> None:
        """Give the output of a stopped call (see `to_settle`). The caller has checked it."""
        self.calls.go(name, "settle")
        if self._is_left(name):
            self._keep_late(name, dict(output))
            return
        with given(now, self._new_id):
            self._succeed(name, dict(output))

    def complete(self, name: str, data: Mapping[str, Any], now: float) -> None:
        """Complete a user or manual task with the data that a person entered.

        `name` is the id of the task or of its element (see `tasks`). Raise InvalidInput unless
        exactly one such task waits, and `data` is JSON.
        """
        waiting = self.workflow.track.manual.values()
        chosen = [task for task in waiting if name in (task.task_spec.bpmn_id, str(task.id))]
        if len(chosen) != 1:
            listed = ", ".join(f"{task.id} of {_named(task)[0]}" for task in waiting) or "none"
            raise InvalidInput(
                f"{len(chosen)} tasks '{name}' wait: name the one to complete ({listed})."
            )
        entered = _copied(data)
        (task,) = chosen
        with given(now, self._new_id):
            if hasattr(task.task_spec, "add_data_from_form"):
                task.task_spec.add_data_from_form(task, entered)
            else:
                task.data.update(entered)
            try:
                task.run()
            except SpiffWorkflowException as error:
                self.stop(error)
            else:
                self._tell(task)

    def receive(
        self,
        kind: str,
        name: str,
        payload: Mapping[str, Any],
        correlation: Mapping[str, Any],
        now: float,
    ) -> bool:
        """Receive a "message" or a "signal". Return whether the case waited for it.

        If the drawing names a variable for the event, `payload` becomes that variable; otherwise
        each field of `payload` becomes a variable. Each name in `correlation` is a correlation
        property of the drawing, or else a variable of the case, and must have this value. Raise
        InvalidInput if `payload` is not JSON.
        """
        if (kind, name) not in self.waits or not self._correlates(correlation):
            return False
        entered = _copied(payload)
        with given(now, self._new_id):
            for task in list(self.workflow.event_manager.tasks.values()):
                for part in _parts(task.task_spec.event_definition):
                    if isinstance(part, _KINDS[kind]) and part.name == name:
                        if _variable(part) is None:
                            task.data.update(entered)
                        task.task_spec.catch(task, BpmnEvent(part, payload=entered))
                        task.task_spec._update(task)
        return True

    def _correlates(self, correlation: Mapping[str, Any]) -> bool:
        workflows = (self.workflow, *self.workflow.subprocesses.values())
        known: dict[str, Any] = {**self.data}
        for workflow in workflows:
            for properties in workflow.correlations.values():
                known.update(properties)
        return all(name in known and known[name] == value for name, value in correlation.items())

    def _is_open(self) -> bool:
        """Tell whether the case has ended, has stopped, or can still continue."""
        workflow = self.workflow
        return bool(
            workflow.completed
            or self.calls
            or self._failure() is not None
            or workflow.track.manual
            or any(_is_from_outside(task) for task in workflow.event_manager.tasks.values())
        )

    def _waiting(self) -> str:
        workflows = (self.workflow, *self.workflow.subprocesses.values())
        waiting = [task for flow in workflows for task in flow.waiting.values()]
        return ", ".join(_named(task)[0] for task in waiting) or "the process"

    def _stopped(self, name: str | None) -> list[str]:
        """Return the task ids of the stopped calls: all, or those of one element or task."""
        stopped = [*self.calls.of(State.UNKNOWN), *self.calls.of(State.FAILED)]
        return [
            task_id for task_id in stopped if name in (None, self.calls[task_id].element, task_id)
        ]

    def _failure(self) -> dict[str, Any] | None:
        """Return why the case has failed (a call, or the process itself), or None."""
        failed = next(iter(self.calls.of(State.FAILED).values()), None)
        return self.fault if failed is None else failed.error

    def _is_left(self, name: str) -> bool:
        """Tell whether the process has left the task of this call."""
        task = self._tasks.get(name)
        return task is None or task.state != TaskState.STARTED

    def _forget(self, name: str) -> None:
        self.calls.forget(name)
        self._tasks.pop(name, None)

    def _succeed(self, name: str, output: dict[str, Any]) -> None:
        task = self._tasks[name]
        task.data[task.task_spec.result_variable] = output
        self._complete(name)

    def _complete(self, name: str) -> None:
        task = self._tasks[name]
        try:
            task.complete()
        except SpiffWorkflowException as error:
            # The error is from the task's post-script, or from the next task
            error.task = getattr(error, "task", None) or task
            self.stop(error)
        else:
            self._forget(name)
            self._tell(task)

    def _refuse(self, name: str, error: ConnectorError, now: float) -> None:
        """Repeat a failed call, or pass its error to the process, or else stop the case."""
        task, call = self._tasks[name], self.calls[name]
        spec = task.task_spec
        if error.retryable and call.attempts <= (spec.retries or 0):
            base = 1 if spec.retry_backoff_base is None else spec.retry_backoff_base
            pause = max(base**call.attempts, error.retry_after_seconds or 0)
            self.calls.go(name, "repeat", now + pause)
            self._tell(task, f"{error.code}, again in {pause:g} s")
            return
        unknown = error.outcome == "unknown" or (call.before is not None and error.retryable)
        if unknown and self.resend_after_seconds is not None and not call.resends:
            due = (call.since or now) + self.resend_after_seconds + _MARGIN_SECONDS
            self.calls.go(name, "doubt", error.to_dict())
            self.calls.go(name, "look", due)
            self._tell(task, f"{error.code}, looked for again in {max(due - now, 0):.0f} s")
            return
        try:
            caught = throw(task, error)
        except SpiffWorkflowException as fault:
            self.calls.go(name, "fail", self._reason(task, fault))
            return
        if caught:
            self._forget(name)
            self._tell(task, error.code)
            return
        self.calls.go(name, "doubt" if unknown else "fail", self._reason(task, error))

    def _reason(self, task: Any, error: Exception) -> dict[str, Any]:
        """Describe what stopped a task, or the process if `task` is None."""
        if task is None:
            return self._explain(f"'{self.process.name}'", None, error)
        self._tell(task, getattr(error, "code", "failed"))
        return self._explain(*_named(task), error)

    def _explain(self, where: str, element: str | None, error: Exception) -> dict[str, Any]:
        known = error.to_dict() if isinstance(error, ConnectorError) else {"code": "PROCESS_FAULT"}
        reason = str(error).rstrip(".") or type(error).__name__
        cause = getattr(error, "exception", None) or error.__cause__
        if cause is not None and known["code"] == "PROCESS_FAULT":
            # The exception's text may contain data, so only its type is shown
            reason += f" ({type(cause).__name__})"
        return {**known, "message": f"{self.process.file}: {where}: {reason}.", "task": element}

    def _tell(self, task: Any, what: str = "done") -> None:
        """Add an event for `take_events`."""
        element = task.task_spec.bpmn_id
        if element:
            self._events.append(Event(element, task.task_spec.bpmn_name or element, what))

    def _tell_of(self, call: Call, what: str) -> None:
        self._events.append(Event(call.element, call.name or call.element, what))

    def _keep_late(self, name: str, result: dict[str, Any]) -> None:
        """Keep the result of a call whose task the process left before the call ended."""
        element = self.calls[name].element
        self._forget(name)
        self.late.append({"task": name, "element": element, "result": result})
        log.warning(
            "case %s: the call of '%s' ended after the process had left it; see its 'late'",
            self.id,
            element,
        )


def _named(task: Any) -> tuple[str, str]:
    """Return a task's name for a message to people, and the id of its element."""
    element = task.task_spec.bpmn_id or task.task_spec.name
    name = getattr(task.task_spec, "bpmn_name", None)
    return (f"'{name}' ({element})" if name else f"'{element}'"), element


def _is_from_outside(task: Any) -> bool:
    return any(isinstance(part, _OUTSIDE) for part in _parts(task.task_spec.event_definition))


def _parts(definition: Any) -> list[Any]:
    """Return the events that this definition waits for. An event-based gateway has several."""
    if isinstance(definition, MultipleEventDefinition):
        return list(definition.event_definitions)
    return [definition]


def _variable(definition: Any) -> str | None:
    """Return the variable that the drawing names for the payload of an event, or None."""
    return getattr(definition, "message_var", None) or getattr(definition, "variable", None)


def _for_people(task: Any) -> dict[str, Any]:
    spec = task.task_spec
    extensions = getattr(spec, "extensions", None) or {}
    properties = extensions.get("properties") or {}
    known = {
        "task": str(task.id),
        "element": spec.bpmn_id,
        "name": spec.bpmn_name or spec.bpmn_id,
        "lane": spec.lane,
        "data": {name: value for name, value in task.data.items() if name not in _NOT_DATA},
        "instructions": extensions.get("instructionsForEndUser"),
        "form": {
            "schema": properties.get("formJsonSchemaFilename"),
            "ui": properties.get("formUiSchemaFilename"),
        }
        if properties
        else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _in_doubt(call: Call, error: ConnectorError) -> ConnectorError:
    """Return OutcomeUnknown if this attempt sent nothing but an earlier one may have sent."""
    surely = call.before is None or error.outcome != "not_sent" or error.retryable
    return error if surely else OutcomeUnknown(str(error))


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_of(output: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Tell whether an output fits these inputs: the fields that both have must be equal."""
    shared = output.keys() & asked.keys()
    return bool(shared) and all(output[name] == asked[name] for name in shared)


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    """Copy data through JSON. Raise InvalidInput if it is not JSON."""
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the data of a case must be JSON ({error}).") from error
    if any("typename" in record for record in _objects(copied)):
        raise InvalidInput("SpiffWorkflow reserves the name 'typename': rename this field.")
    return copied


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        inner = list(value.values())
    else:
        inner = value if isinstance(value, list) else []
    for item in inner:
        yield from _objects(item)
