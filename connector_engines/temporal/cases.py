"""Starts cases on a cluster, shows them, and lets people decide how they continue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from connector_engines import bpmn, drawings
from connector_engines.bpmn import CaseStopped
from connector_engines.drawings import Files
from connector_runtime import Connector
from connector_runtime.errors import InvalidInput

from .claims import call_id, claim
from .client import refusals
from .workflow import MOST_BYTES, CaseWorkflow, TooLarge, pack, size_of

# A step with a large list can take longer than Temporal's default of 10 s. A longer limit has a
# price: Temporal notices only after this time that a worker was killed in a step.
_STEP_TIMEOUT = timedelta(seconds=30)
_FIRST_LOOK_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0


class _Given(dict):  # type: ignore[type-arg]
    """Settings that only the worker knows: treats every setting as set."""

    def get(self, name: str, default: Any = None) -> Any:
        return True


class Cases:
    """The cases of one task queue.

    A process is checked against `connectors` before its case starts. Without `settings`, only the
    workers know which global parameters are set, so the check treats all of them as set.
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        connectors: Mapping[str, Connector],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.client = client
        self.task_queue = task_queue
        self.connectors = dict(connectors)
        self._settings: Mapping[str, Mapping[str, Any]] = (
            {name: settings.get(name, {}) for name in self.connectors}
            if settings is not None
            else {name: _Given() for name in self.connectors}
        )
        self._read: dict[tuple[bytes, str | None], tuple[bytes, dict[str, str]]] = {}

    async def start(
        self,
        path: Files,
        data: Mapping[str, Any] | None = None,
        *,
        id: str,
        process: str | None = None,
    ) -> CaseHandle:
        """Start a case of a process with this data; a worker of the task queue runs it.

        `path` is a BPMN file, several files with the processes and decisions (DMN) that they call,
        or a folder of such files. `id` is the name of the case and never changes. `process` is the
        id of the process to run, if the files have several. Raise InvalidProcess, InvalidInput
        (`data` is not JSON, or the id is already used), or InvalidConfiguration (the server
        refuses).
        """
        content, needs = self._process(path, process)
        first = _json(data or {})
        storage = self.client.data_converter.external_storage is not None
        size = 0 if storage else size_of(first)
        if size > MOST_BYTES:
            raise InvalidInput(f"{TooLarge('the data of the case', size)}.")
        try:
            with refusals():
                handle = await self.client.start_workflow(
                    CaseWorkflow.run,
                    args=[content, {"needs": needs, "storage": storage, "data": first}],
                    id=id,
                    task_queue=self.task_queue,
                    task_timeout=_STEP_TIMEOUT,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                )
        except WorkflowAlreadyStartedError as error:
            raise InvalidInput(f"there is a case '{id}' already: give another id.") from error
        return CaseHandle(self, handle)

    def case(self, case_id: str) -> CaseHandle:
        """Return a case by its id. Only the first request shows whether it exists."""
        return CaseHandle(self, self.client.get_workflow_handle(case_id))

    def _process(self, path: Files, process: str | None) -> tuple[bytes, dict[str, str]]:
        """Return a process, packed, and the versions of the connectors it was checked with."""
        contents = drawings.contents(path)
        key = (drawings.digest(contents), process)
        if key not in self._read:
            parsed = bpmn.parse(contents, self.connectors, self._settings, process)
            text = bpmn.process_text(parsed)
            needs = {
                name: connector.version
                for name, connector in self.connectors.items()
                if f'"{name}/' in text
            }
            self._read[key] = pack(text), needs
        return self._read[key]


class CaseHandle:
    """One case of a cluster."""

    def __init__(self, cases: Cases, handle: WorkflowHandle[Any, Any]) -> None:
        self.id = handle.id
        self.workflow = handle
        self._cases = cases

    async def show(self) -> dict[str, Any]:
        """Return the state of the case.

        `id`, `process`, `status`, `data`, `error`, `stopped`, `late` and `tasks` are as in
        `bpmn.Case`. `waits_for` lists the messages and signals it waits for, as {kind, name}.
        `held` lists the calls that no worker could make so far, as {task, element, why}. Raise
        InvalidInput if there is no such case.
        """
        with refusals():
            shown: dict[str, Any] = await self.workflow.query(CaseWorkflow.show)
        return shown

    async def result(self) -> dict[str, Any]:
        """Wait until the case is finished, and return its data. Raise CaseStopped if it stops."""
        ended = asyncio.ensure_future(self.workflow.result())
        pause = _FIRST_LOOK_SECONDS
        try:
            while True:
                done, _ = await asyncio.wait([ended], timeout=pause)
                if done:
                    break
                shown = await self.show()
                if shown["status"] in ("failed", "interrupted"):
                    raise CaseStopped(Shown(shown))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            with refusals():
                data: dict[str, Any] = ended.result()["data"]
            return data
        except WorkflowFailureError as error:
            cause = error.cause
            code = getattr(cause, "type", None) or "ENDED"
            reason = {"code": code, "message": f"case '{self.id}' was ended: {cause}."}
            raise CaseStopped(Shown({"id": self.id, "error": reason, "stopped": []})) from error
        finally:
            ended.cancel()

    async def settle(self, output: Mapping[str, Any], name: str | None = None) -> None:
        """Give the output of a call that has stopped, if a person found it out in another way.

        `name` is the id of the element or of the task (see `stopped`). Raise InvalidInput unless
        `output` is an output of the action.
        """
        with refusals():
            stopped_call = await self.workflow.query(
                CaseWorkflow.to_settle, args=[dict(output), name]
            )
        if "problem" in stopped_call:
            raise InvalidInput(stopped_call["problem"])
        connector, _, action_name = stopped_call["operator"].partition("/")
        if connector not in self._cases.connectors:
            raise InvalidInput(f"the connector '{connector}' is not loaded.")
        action = self._cases.connectors[connector].action(action_name)
        problems = action.output.problems(dict(output))
        if problems:
            listed = "; ".join(problems)
            raise InvalidInput(f"output of {action.name}: {listed}.", problems=problems)
        if not action.repeatable and action.identifier is not None:
            made, call = str(output[action.identifier]), call_id(self.id, stopped_call["task"])
            with refusals():
                free = await claim(self._cases.client, stopped_call["queue"], connector, made, call)
            if not free:
                raise InvalidInput(f"output of {action.name}: {made} belongs to another call.")
        await self._update(CaseWorkflow.settle, dict(output), stopped_call["task"])

    async def retry(self, name: str | None = None) -> None:
        """Repeat the calls that stopped the case, or only `name` (an element or task of `stopped`).

        An interrupted call may have been carried out. Check that first, and use `settle` if it was.
        Raise InvalidInput if no call of this name has stopped.
        """
        await self._update(CaseWorkflow.retry, name)

    async def complete(self, task: str | Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Complete a task that waits for a person, with the data that the person entered.

        `task` is one of `tasks`, its id, or the id of its element. Raise InvalidInput.
        """
        name = task if isinstance(task, str) else str(task["task"])
        await self._update(CaseWorkflow.complete, name, _json(data))

    async def message(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        correlation: Mapping[str, Any] | None = None,
    ) -> bool:
        """Send the case a message. Return whether it waited for this message."""
        return await self._receive("message", name, payload, correlation)

    async def signal(self, name: str, payload: Mapping[str, Any] | None = None) -> bool:
        """Send the case a signal. Return whether it waited for this signal."""
        return await self._receive("signal", name, payload, None)

    async def _receive(
        self,
        kind: str,
        name: str,
        payload: Mapping[str, Any] | None,
        correlation: Mapping[str, Any] | None,
    ) -> bool:
        taken = await self._update(
            CaseWorkflow.receive, kind, name, _json(payload or {}), _json(correlation or {})
        )
        return bool(taken)

    async def _update(self, update: Any, *arguments: Any) -> Any:
        try:
            with refusals():
                return await self.workflow.execute_update(update, args=arguments)
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError):
                raise InvalidInput(error.cause.message) from None
            raise


class Shown:
    """A case as `CaseHandle.show` returned it, for CaseStopped."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.id: str = fields["id"]
        self.error: dict[str, Any] | None = fields["error"]
        self.stopped: list[dict[str, Any]] = fields["stopped"]


def _json(data: Mapping[str, Any]) -> dict[str, Any]:
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(data), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"the data of a case must be JSON ({error}).") from error
    return copied
