"""A worker of a task queue: it runs the cases and makes their calls."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any

import temporalio.worker
from temporalio.client import Client

from connector_engines import bpmn
from connector_runtime import Connector
from connector_runtime.errors import InvalidConfiguration

from .activities import Calls
from .claims import Made
from .client import refusals
from .workflow import HEARTBEAT_SECONDS, SCRIPT_NAMES, CaseWorkflow

# How long a shutdown waits for calls. Each call has its own, much shorter limit.
_GRACE = timedelta(minutes=10)


class Worker:
    """Runs the cases of a task queue with these connectors and their settings for one environment.

    No setting leaves this process. At most `threads` calls run at once. `identity` is the name of
    this worker in Temporal's histories; the default is made of the process and the host.
    `script_names` are names that expressions may use in addition to Python's own and
    `explain(connector, code)`. They must be the same in all workers of the task queue, and a
    function must always return the same value for the same arguments.

    Use it as an async context manager, or `await run()`. Raise InvalidConfiguration.
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str,
        connectors: Mapping[str, Connector],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        threads: int = 32,
        identity: str | None = None,
        script_names: Mapping[str, Any] | None = None,
    ) -> None:
        if sys.flags.hash_randomization:
            raise InvalidConfiguration(
                "a worker needs the environment variable PYTHONHASHSEED=0, set before Python "
                "starts: all workers that run a case must see the items of a set in the same order."
            )
        SCRIPT_NAMES[task_queue] = bpmn.script_names(dict(connectors), script_names)
        given = {name: (settings or {}).get(name, {}) for name in connectors}
        self.calls = Calls(client, connectors, given, threads)
        with contextlib.ExitStack() as undo:
            undo.callback(self.calls.close)
            self._worker = temporalio.worker.Worker(
                client,
                task_queue=task_queue,
                workflows=[CaseWorkflow, Made],
                activities=[self.calls.call],
                max_concurrent_activities=threads,
                max_heartbeat_throttle_interval=timedelta(seconds=HEARTBEAT_SECONDS / 5),
                graceful_shutdown_timeout=_GRACE,
                identity=identity,
                # This is not for debugging. Without it, the SDK takes a step of more than 2 s for a
                # deadlock and repeats it for ever. A script with a large list may take longer.
                debug_mode=True,
            )
            self._closing = undo.pop_all()

    async def run(self) -> None:
        """Work until `shutdown` is called or this task is cancelled.

        Raise InvalidConfiguration if the server refuses.
        """
        with self._closing, refusals():
            await self._worker.run()

    async def shutdown(self) -> None:
        """Start nothing new, wait for the running calls, and end."""
        await self._worker.shutdown()

    async def __aenter__(self) -> Worker:
        with refusals():
            await self._worker.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._closing:
            await self._worker.__aexit__(kind, error, traceback)
