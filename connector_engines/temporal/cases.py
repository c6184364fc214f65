"""Starts cases on a cluster, shows them, and lets people decide what becomes of them."""

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

# A step over a large list takes longer than the usual 10 s; a worker that is killed in a step is
# noticed only after this time.
_STEP_TIMEOUT = timedelta(seconds=30)
_FIRST_LOOK_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0


class _Given(dict):  # type: ignore[type-arg]
    """Settings that are not known here: each may be set where the worker runs."""

    def get(self, name: str, default: Any = None) -> Any:
        return True


class Cases:
    """The cases of one task queue.

    A process is checked against `connectors` before its case starts. Which global parameters are
    set is known to the workers alone, unless `settings` are given here too.
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

        `path` is a BPMN file, several with the processes and decisions (DMN) that they call, or a
        folder of them. `id` is the case's name for good. `process` is the id of the one to run,
        where there are several. Raise InvalidProcess, and InvalidInput for data that is no JSON or
        a used id.
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
        """Return a case by its id; whether it exists is known at the first request."""
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
        """Return what is known of it: `status`, `data`, `error`, `stopped`, `tasks`, and more.

        `held` are calls that no worker could make until now, with the reason.
        """
        with refusals():
            shown: dict[str, Any] = await self.workflow.query(CaseWorkflow.show)
        return shown

    async def result(self) -> dict[str, Any]:
        """Wait until it is finished, and return its data. Raise CaseStopped if it stops."""
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
        """Give the output of a call that stands still, found out by other means.

        `name` is the element or the task (see `stopped`). Raise InvalidInput unless `output` is
        what the action returns.
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
        """Let a stopped case try again what stopped it; see `stopped` for names.

        Interrupted calls may have been carried out: look first, and `settle` what was.
        """
        await self._update(CaseWorkflow.retry, name)

    async def complete(self, task: str | Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """End a task that waits for somebody: one of `tasks`, its own id, or its element's."""
        name = task if isinstance(task, str) else str(task["task"])
        await self._update(CaseWorkflow.complete, name, _json(data))

    async def message(
        self,
        name: str,
        payload: Mapping[str, Any] | None = None,
        correlation: Mapping[str, Any] | None = None,
    ) -> bool:
        """Give it a message, and return whether it waited for one."""
        return await self._receive("message", name, payload, correlation)

    async def signal(self, name: str, payload: Mapping[str, Any] | None = None) -> bool:
        """Give it a signal, and return whether it waited for one."""
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
    """A case as `CaseHandle.show` gave it, for CaseStopped."""

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
