"""One call of a connector, as a Temporal activity.

Temporal runs an activity again when its worker has died, so a second attempt may be a second send.
It is run with `since` instead, the moment at which Temporal scheduled it first: the connector looks
for what the first attempt made, and never sends a second one.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from connector_engines.bpmn import UnexpectedFault
from connector_runtime import Connection, Connector
from connector_runtime.errors import ConnectorError, OutcomeUnknown

from .workflow import CALL, HEARTBEAT_SECONDS, MOST_BYTES, TooLarge, size_of

log = logging.getLogger("connector_engines.temporal")

_BEAT_SECONDS = HEARTBEAT_SECONDS / 4
_MOST_KEPT = 1000  # ended calls whose outcome this worker still knows
_MISSING_SECONDS = 30

# Tells whether another case than this one has made what has this identifier.
Taken = Callable[[str, str], bool]


class Calls:
    """The calls that this worker makes.

    `resend_after` has each connector's `resendAfterSeconds`, for the rules of the case. `taken`,
    where the cluster keeps what each case has made, tells of other cases.
    """

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        connections: Mapping[str, Connection],
        resend_after: Mapping[str, float | None],
        threads: int,
        storage: bool,
        taken: Taken | None = None,
    ) -> None:
        self.connectors = connectors
        self.connections = connections
        self.resend_after = resend_after
        self.storage = storage
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="connector-call")
        self.taken = taken
        # Under way, or ended: where Temporal gives a call to this worker again, its own knows best.
        self.known: OrderedDict[tuple[str, str, str], Future[dict[str, Any]]] = OrderedDict()

    @activity.defn(name=CALL)
    async def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return `output`, `error` (as `ConnectorError.to_dict`), or why it is `missing` here."""
        info = activity.info()
        key = (info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        future = self.known.get(key)
        if future is None:
            why = self._missing(request)
            if why is not None:
                if info.attempt == 1:
                    return {"missing": why}
                # It may have begun at another worker: the server remembers since when.
                pause = timedelta(seconds=_MISSING_SECONDS)
                raise ApplicationError(why, type="MISSING", next_retry_delay=pause)
            since = request["since"] and datetime.fromtimestamp(request["since"], timezone.utc)
            if since is None and info.attempt > 1:
                since = info.scheduled_time
            future = self.pool.submit(self._run, request, since, info.workflow_id or "")
            self.known[key] = future
            self._forget()
        beating = asyncio.create_task(_beat())
        try:
            # A thread goes on when its activity is cancelled: what it has sent is sent.
            return await asyncio.shield(asyncio.wrap_future(future))
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    def _missing(self, request: dict[str, Any]) -> str | None:
        """Say what this worker lacks for a call, or None."""
        name, _, action = request["operator"].partition("/")
        connector, needed = self.connectors.get(name), request["version"]
        if connector is None:
            return f"this worker has no connector '{name}' ({', '.join(self.connectors)})"
        if action not in connector.actions:
            return f"{name} {connector.version} of this worker has no action '{action}'"
        if needed is not None and not _serves(connector.version, needed):
            return f"this worker has {name} {connector.version}, the case needs {needed}"
        return None

    def _run(self, request: dict[str, Any], since: datetime | None, case: str) -> dict[str, Any]:
        name, _, action_name = request["operator"].partition("/")
        connector, connection = self.connectors[name], self.connections[name]
        action = connector.action(action_name)
        own = set(request["made"])

        def taken(identifier: str) -> bool:
            elsewhere = self.taken is not None and self.taken(identifier, case)
            return identifier in own or elsewhere

        try:
            if action.repeatable:
                output = connection.run(action.name, request["inputs"])
            else:
                output = connection.run(action.name, request["inputs"], since=since, taken=taken)
        except ConnectorError as error:
            return self._refused(name, _in_doubt(error, since, action))
        except Exception as fault:  # noqa: BLE001 - a stranger's code; other cases must go on
            log.error("%s: unexpected fault\n%s", action.name, _trace(fault))
            return self._refused(name, UnexpectedFault(action.effect, fault))
        size = 0 if self.storage else size_of(output)
        if size > MOST_BYTES:
            return self._refused(name, TooLarge(f"the output of {action.name}", size))
        if action.repeatable or action.identifier is None:
            return {"output": output}
        return {
            "output": output,
            "identifier": output[action.identifier],
            "recorded": self.taken is not None,
        }

    def _refused(self, name: str, error: ConnectorError) -> dict[str, Any]:
        return {"error": error.to_dict(), "resend_after_seconds": self.resend_after[name]}

    def _forget(self) -> None:
        while len(self.known) > _MOST_KEPT:
            oldest = next(iter(self.known))
            if not self.known[oldest].done():
                return
            del self.known[oldest]


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_BEAT_SECONDS)


def _serves(offered: str, needed: str) -> bool:
    """Tell whether a version serves what was checked with another: the same major, not older."""
    ours, theirs = _parts(offered), _parts(needed)
    return ours[0] == theirs[0] and ours >= theirs


def _parts(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.partition("-")[0].split(".")]


def _in_doubt(error: ConnectorError, since: datetime | None, action: Any) -> ConnectorError:
    """An attempt that was not made says nothing of an earlier one, which may have been."""
    if since is None or action.repeatable or error.outcome != "not_sent":
        return error
    return OutcomeUnknown(str(error))


def _trace(fault: Exception) -> str:
    """Return where a fault was raised, without its text, which may hold a number or a body."""
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__
