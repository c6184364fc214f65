"""A case as a Temporal workflow.

Temporal runs this code again from its history whenever a worker takes a case over, so it must
decide the same each time. The moment is `workflow.time`, identifiers are `workflow.uuid4`, and
`connector_engines.bpmn.given` hands both to SpiffWorkflow. A change of the rules that would lead a
running case elsewhere goes behind `workflow.patched`; the histories among the tests show it.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from connector_engines import bpmn
from connector_engines.bpmn import State
from connector_runtime.errors import ConnectorError, InvalidInput

NAME = "connector-case"
CALL = "connector-call"
# A worker that is silent for so long is taken for dead, and the call goes to another one.
HEARTBEAT_SECONDS = 10.0
# Longer than any call: each request of a connector ends by its own limits, and heart-beats tell
# earlier of a worker that is gone.
CALL_TIMEOUT = timedelta(hours=24)
# The server takes 2,000 activities of a workflow at once, and 4 MB in one message.
MOST_CALLS = 200
# The server refuses a larger value for ever; a little room is for its wrapping.
MOST_BYTES = 2 * 1024 * 1024 - 16 * 1024
_FIRST_PAUSE_SECONDS = 1.0  # for a worker that has the connector
_LONGEST_PAUSE_SECONDS = 300.0
_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)


def pack(text: str) -> bytes:
    """Return text compressed: a process and a case are mostly names that recur."""
    return zlib.compress(text.encode())


def unpack(content: bytes) -> str:
    return zlib.decompress(content).decode()


@lru_cache(maxsize=100)
def _process(content: bytes) -> bpmn.Process:
    return bpmn.process_of(unpack(content))


class TooLarge(ConnectorError):
    """A value that Temporal can't keep, where no external storage takes it."""

    code = "TOO_LARGE"

    def __init__(self, what: str, size: int) -> None:
        super().__init__(
            f"{what} has {size / 1e6:.1f} MB, and Temporal keeps values up to "
            f"{MOST_BYTES / 1e6:.1f} MB: give all workers and starters external storage (--storage)"
        )


def size_of(value: Any) -> int:
    """Return how many bytes a value has in a history."""
    return len(json.dumps(value, separators=(",", ":")))


class Reported(ConnectorError):
    """An error that an activity has reported, as its `to_dict` gave it."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields["message"])
        self.fields = fields
        self.code = fields["code"]
        self.retryable = fields["retryable"]
        self.outcome = fields["outcome"]
        self.retry_after_seconds = fields.get("retry_after_seconds")

    def to_dict(self) -> dict[str, Any]:
        return self.fields


# What expressions may use beside Python's own, for each task queue that this process serves. A
# worker makes its workflows itself, from the class alone, so it can't hand this to them.
SCRIPT_NAMES: dict[str, Mapping[str, Any]] = {}


def _script_names(queue: str) -> Mapping[str, Any]:
    if queue in SCRIPT_NAMES:
        return SCRIPT_NAMES[queue]
    # A Replayer of the SDK has a queue of its own.
    return {name: value for names in SCRIPT_NAMES.values() for name, value in names.items()}


@workflow.defn(name=NAME, sandboxed=False)
class CaseWorkflow:
    """One case.

    process  its process, packed
    begin    `needs`: the version of each connector that it was checked with; `data`, or after
             continue-as-new what is kept beside the case itself; `storage`: whether there is
             one for large values
    parts    the case as it stood, packed, after continue-as-new
    """

    @workflow.init
    def __init__(self, process: bytes, begin: dict[str, Any], parts: bytes | None = None) -> None:
        known, now = _process(process), workflow.time()
        name = workflow.info().workflow_id
        names = _script_names(workflow.info().task_queue)
        if parts is None:
            self.case = bpmn.Case.start(name, known, begin["data"], now, workflow.uuid4, names)
        else:
            saved = json.loads(unpack(parts))
            self.case = bpmn.case_of(name, known, saved, now, workflow.uuid4, names)
        self.process = process
        self.needs: dict[str, str] = begin["needs"]
        self.storage: bool = begin["storage"]
        # Calls that no worker could make so far: when to try again, how often it was tried, why.
        self.held: dict[str, tuple[float, int, str]] = begin.get("held", {})
        self.underway: dict[str, workflow.ActivityHandle[dict[str, Any]]] = {}
        self.woken = False
        self.alarm: tuple[float, asyncio.Task[None]] | None = None

    @workflow.run
    async def run(
        self, process: bytes, begin: dict[str, Any], parts: bytes | None = None
    ) -> dict[str, Any]:
        while True:
            self.woken = False
            leaving = workflow.info().is_continue_as_new_suggested()
            self._step(begin_calls=not leaving)
            if self.case.is_over and not self.underway:
                return self._outcome()
            if leaving and not self.underway and workflow.all_handlers_finished():
                self._continue()
            await self._wait()

    # What happens

    def _step(self, begin_calls: bool) -> None:
        now = workflow.time()
        self.case.advance(now)
        self.case.take_fresh()
        self.case.take_events()
        wanted = self.case.calls.of(State.WANTED)
        for gone in self.held.keys() - wanted.keys():
            del self.held[gone]
        if not begin_calls:
            return
        for task in list(wanted):
            if len(self.underway) >= MOST_CALLS:
                break
            if self._moment_of(task) <= now:
                self._begin(task, now)

    def _moment_of(self, task: str) -> float:
        due = self.case.calls[task].due
        return max(due, self.held[task][0]) if task in self.held else due

    def _begin(self, task: str, now: float) -> None:
        request = self.case.begin(task, now)
        if request is None:
            return
        size = size_of(request.inputs)
        if size > MOST_BYTES:
            self.case.end(task, TooLarge("the input", size), now)
            self.case.advance(now)
            return
        connector = request.operator.partition("/")[0]
        handle = workflow.start_activity(
            CALL,
            {
                "task": task,
                "operator": request.operator,
                "inputs": request.inputs,
                "version": self.needs.get(connector),
                "since": request.since,
                "resend": request.resend,
            },
            result_type=dict[str, Any],
            start_to_close_timeout=CALL_TIMEOUT,
            heartbeat_timeout=timedelta(seconds=HEARTBEAT_SECONDS),
            retry_policy=_RETRIES,
        )
        self.underway[task] = handle
        handle.add_done_callback(lambda done: self._ended(task, done))

    def _ended(self, task: str, done: asyncio.Task[dict[str, Any]]) -> None:
        del self.underway[task]
        self.woken = True
        now = workflow.time()
        try:
            result = done.result()
        except (ActivityError, asyncio.CancelledError) as error:
            # Its input or its outcome could not be kept; an activity itself never fails for good.
            if is_cancelled_exception(error):
                return  # the workflow itself is cancelled
            cause = error.__cause__ or error
            self.case.end(task, bpmn.UnexpectedFault("write", cause), now)
            return
        if "missing" in result:
            self._hold(task, result["missing"], now)
            return
        self.held.pop(task, None)
        if "error" in result:
            self.case.resend_after_seconds = result["resend_after_seconds"]
            self.case.end(task, Reported(result["error"]), now)
            return
        self.case.end(task, result["output"], now)

    def _hold(self, task: str, why: str, now: float) -> None:
        """Leave a call waiting that this worker could not make; nothing of it has left."""
        self.case.withdraw(task)
        tried = self.held[task][1] + 1 if task in self.held else 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (tried - 1), _LONGEST_PAUSE_SECONDS)
        self.held[task] = (now + pause, tried, why)

    async def _wait(self) -> None:
        """Wait until a call has ended, somebody has decided, or the next moment has come."""
        due = self._due()
        if self.alarm is not None and (self.alarm[0] != due or self.alarm[1].done()):
            self.alarm[1].cancel()
            self.alarm = None
        if due is not None and self.alarm is None:
            seconds = max(due - workflow.time(), 0.001)
            self.alarm = (due, asyncio.create_task(workflow.sleep(seconds)))
        alarm = self.alarm
        await workflow.wait_condition(lambda: self.woken or (alarm is not None and alarm[1].done()))

    def _due(self) -> float | None:
        now = workflow.time()
        wanted = self.case.calls.of(State.WANTED)
        moments = [moment for task in wanted if (moment := self._moment_of(task)) > now]
        try:
            timer = self.case.timer()
        except (ValueError, OverflowError) as error:  # a moment that no calendar has
            self.case.stop(error)
            timer = None
        return min(moments if timer is None else [*moments, timer], default=None)

    def _continue(self) -> None:
        """Go on in a new history, with all that is under way."""
        begin = {"needs": self.needs, "storage": self.storage, "held": self.held}
        parts = pack(json.dumps(bpmn.case_parts(self.case)))
        if len(parts) > MOST_BYTES and not self.storage:
            self.case.stop(TooLarge("the case", len(parts)))
            return
        workflow.continue_as_new(args=[self.process, begin, parts])

    def _outcome(self) -> dict[str, Any]:
        outcome = {"status": self.case.status, "data": self.case.data, "late": self.case.late}
        size = size_of(outcome)
        if size > MOST_BYTES and not self.storage:
            error = TooLarge("the case is finished; its data", size)
            raise ApplicationError(str(error), type=error.code, non_retryable=True)
        return outcome

    # What people ask and decide

    @workflow.query
    def show(self) -> dict[str, Any]:
        case = self.case
        shown = {
            "id": case.id,
            "process": case.process.name,
            "status": case.status,
            "error": case.error,
            "stopped": case.stopped,
            "held": [
                {"task": task, "element": case.calls[task].element, "why": why}
                for task, (_, _, why) in self.held.items()
                if task in case.calls
            ],
            "late": case.late,
            "tasks": case.tasks,
            "waits_for": [{"kind": kind, "name": name} for kind, name in sorted(case.waits)],
            "data": case.data,
        }
        if not self.storage and size_of(shown) > MOST_BYTES:
            # No answer to a query is larger, so the rest is shown without the data.
            shown["data"] = {}
            shown["tasks"] = [{**task, "data": {}} for task in case.tasks]
        return shown

    @workflow.query
    def to_settle(self, output: dict[str, Any], name: str | None) -> dict[str, str]:
        """Return `task`, `operator` and `queue`, or `problem`."""
        try:
            task, operator = self.case.to_settle(output, name)
        except InvalidInput as error:
            return {"problem": str(error)}
        return {"task": task, "operator": operator, "queue": workflow.info().task_queue}

    @workflow.update
    def settle(self, output: dict[str, Any], name: str) -> None:
        try:
            task, _ = self.case.to_settle(output, name)
        except InvalidInput as error:
            raise _refused(error) from None
        self.case.settle(task, output, workflow.time())
        self.woken = True

    @workflow.update
    def retry(self, name: str | None) -> None:
        try:
            self.case.retry(name, workflow.time())
        except InvalidInput as error:
            raise _refused(error) from None
        for task, (_, tried, why) in self.held.items():
            self.held[task] = (0.0, tried, why)  # somebody has set up the worker
        self.woken = True

    @workflow.update
    def complete(self, name: str, data: dict[str, Any]) -> None:
        try:
            self.case.complete(name, data, workflow.time())
        except InvalidInput as error:
            raise _refused(error) from None
        self.woken = True

    @workflow.update
    def receive(
        self, kind: str, name: str, payload: dict[str, Any], correlation: dict[str, Any]
    ) -> bool:
        now = workflow.time()
        self.case.advance(now)  # it may not have come to its first event yet
        try:
            taken = self.case.receive(kind, name, payload, correlation, now)
        except InvalidInput as error:
            raise _refused(error) from None
        self.woken = True
        return taken


def _refused(error: InvalidInput) -> ApplicationError:
    return ApplicationError(str(error), type=error.code, non_retryable=True)
