"""A case as a Temporal workflow.

When another worker continues a case, Temporal runs this code again from the case's history. So the
code must make the same decisions each time. It takes the time from `workflow.time` and identifiers
from `workflow.uuid4`; `connector_engines.bpmn.given` passes both to SpiffWorkflow. If a change of
the rules would change a running case, put it behind `workflow.patched`. The histories in the tests
show whether that is needed.
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
# If a worker sends no heartbeat for this time, its call is given to another worker.
HEARTBEAT_SECONDS = 10.0
# Longer than any call. Each request of a connector has its own limit, and missing heartbeats show
# earlier that a worker is gone.
CALL_TIMEOUT = timedelta(hours=24)
# The server allows 2,000 open activities of a workflow, but only 4 MB in one message.
MOST_CALLS = 200
# The server refuses values above 2 MiB. 16 KiB of that are left for the envelope of a value.
MOST_BYTES = 2 * 1024 * 1024 - 16 * 1024
# Pauses while no worker has the connector of a call
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 300.0
_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)


def pack(text: str) -> bytes:
    """Compress text. A process and a case repeat the same names, so it becomes much smaller."""
    return zlib.compress(text.encode())


def unpack(content: bytes) -> str:
    return zlib.decompress(content).decode()


@lru_cache(maxsize=100)
def _process(content: bytes) -> bpmn.Process:
    return bpmn.process_of(unpack(content))


class TooLarge(ConnectorError):
    """A value that is too large for Temporal's history, without external storage."""

    code = "TOO_LARGE"

    def __init__(self, what: str, size: int) -> None:
        super().__init__(
            f"{what} has {size / 1e6:.1f} MB, and Temporal keeps values up to "
            f"{MOST_BYTES / 1e6:.1f} MB: give all workers and starters external storage (--storage)"
        )


def size_of(value: Any) -> int:
    """Return the size in bytes that a value has in a history."""
    return len(json.dumps(value, separators=(",", ":")))


class Reported(ConnectorError):
    """An error that an activity reported. `fields` is what `ConnectorError.to_dict` returned."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields["message"])
        self.fields = fields
        self.code = fields["code"]
        self.retryable = fields["retryable"]
        self.outcome = fields["outcome"]
        self.retry_after_seconds = fields.get("retry_after_seconds")

    def to_dict(self) -> dict[str, Any]:
        return self.fields


# The additional names that expressions may use, for each task queue of this process. Temporal's
# worker creates the workflows from their class, so the names can't be passed as an argument.
SCRIPT_NAMES: dict[str, Mapping[str, Any]] = {}


def _script_names(queue: str) -> Mapping[str, Any]:
    if queue in SCRIPT_NAMES:
        return SCRIPT_NAMES[queue]
    # A Replayer of the SDK uses a task queue with another name.
    return {name: value for names in SCRIPT_NAMES.values() for name, value in names.items()}


@workflow.defn(name=NAME, sandboxed=False)
class CaseWorkflow:
    """One case.

    process  its process, packed
    begin    `needs`: the version of each connector that the process was checked with;
             `data`: the first data, or `held` after continue-as-new;
             `storage`: whether there is external storage for large values
    parts    after continue-as-new: the state of the case, packed
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
        # Calls that no worker could make so far, by task: when to try again (seconds since 1970),
        # how often it was tried, and why it failed.
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
            if is_cancelled_exception(error):
                # The workflow itself is cancelled
                return
            # The server could not keep the input or the output: an activity never fails otherwise.
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
        """Try a call later that this worker could not make. Nothing was sent."""
        self.case.withdraw(task)
        tried = self.held[task][1] + 1 if task in self.held else 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (tried - 1), _LONGEST_PAUSE_SECONDS)
        self.held[task] = (now + pause, tried, why)

    async def _wait(self) -> None:
        """Wait until a call has ended, a person has decided, or the next timer fires."""
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
        except (ValueError, OverflowError) as error:
            # The timer has a date that does not exist
            self.case.stop(error)
            timer = None
        return min(moments if timer is None else [*moments, timer], default=None)

    def _continue(self) -> None:
        """Continue the case in a new, short history (Temporal's continue-as-new)."""
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
            # An answer to a query can't be larger, so it is given without the data.
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
            # A worker may have the connector now, so try at once.
            self.held[task] = (0.0, tried, why)
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
        # A new case must first run to the event that waits for the message.
        self.case.advance(now)
        try:
            taken = self.case.receive(kind, name, payload, correlation, now)
        except InvalidInput as error:
            raise _refused(error) from None
        self.woken = True
        return taken


def _refused(error: InvalidInput) -> ApplicationError:
    return ApplicationError(str(error), type=error.code, non_retryable=True)
