"""One call of a connector, as a Temporal activity.

Temporal runs an activity again when its worker has died. The first attempt may have sent the
message already. So the second attempt runs with `since`, the moment at which Temporal first
scheduled the activity: the connector looks for the message of the first attempt and does not send
a second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from connector_engines.bpmn import UnexpectedFault
from connector_runtime import Connector
from connector_runtime.errors import ConnectorError, OutcomeUnknown

from .claims import call_id, claim, owner
from .workflow import CALL, HEARTBEAT_SECONDS, MOST_BYTES, TooLarge, size_of

log = logging.getLogger("connector_engines.temporal")

_BEAT_SECONDS = HEARTBEAT_SECONDS / 4
# The most finished sends whose outcome this worker remembers
_MOST_KEPT = 10_000
_MISSING_SECONDS = 30

_RESEND = "resendAfterSeconds"


class Calls:
    """The calls that this worker makes, with one connection for each connector.

    `settings` has the settings of each connector, by the connector's name.
    """

    def __init__(
        self,
        client: Client,
        connectors: Mapping[str, Connector],
        settings: Mapping[str, Mapping[str, Any]],
        threads: int,
    ) -> None:
        self.client = client
        self.connectors = dict(connectors)
        self.resend_after = {name: values.get(_RESEND) for name, values in settings.items()}
        self.storage = client.data_converter.external_storage is not None
        with contextlib.ExitStack() as undo:
            # Whether to send again a message that a look-up does not find is decided by the case,
            # for each attempt. So these connections do not get this setting.
            self.connections = {
                name: undo.enter_context(
                    connector.connect({k: v for k, v in settings[name].items() if k != _RESEND})
                )
                for name, connector in self.connectors.items()
            }
            self.resending = {
                name: undo.enter_context(self.connectors[name].connect(settings[name]))
                for name, seconds in self.resend_after.items()
                if seconds is not None
            }
            self.pool = ThreadPoolExecutor(threads, thread_name_prefix="connector-call")
            undo.callback(self.pool.shutdown)
            self._closing = undo.pop_all()
        # Calls that run or have ended. If Temporal gives one to this worker again, its result is
        # taken from here.
        self.known: OrderedDict[tuple[str, str, str], Future[dict[str, Any]]] = OrderedDict()

    def close(self) -> None:
        """Wait for the calls that are under way, then close the connections."""
        self._closing.close()

    @activity.defn(name=CALL)
    async def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return `output`, `error` (as `ConnectorError.to_dict`), or why it is `missing` here."""
        info = activity.info()
        case = info.workflow_id or ""
        key = (case, info.workflow_run_id or "", info.activity_id)
        call = call_id(case, request.get("task", info.activity_id))
        future = self.known.get(key)
        if future is None:
            why = self._missing(request)
            if why is not None:
                if info.attempt == 1:
                    return {"missing": why}
                # The call may have begun in another worker. Failing keeps the activity, so that a
                # later attempt still knows when it was scheduled.
                pause = timedelta(seconds=_MISSING_SECONDS)
                raise ApplicationError(why, type="MISSING", next_retry_delay=pause)
            first = info.attempt == 1
            since = request["since"] and datetime.fromtimestamp(request["since"], timezone.utc)
            if since is None and not first:
                since = info.scheduled_time
            # The first attempt may have sent it again already, so later attempts only look it up.
            resend = first and request.get("resend", False)
            loop = asyncio.get_running_loop()
            future = self.pool.submit(self._run, request, since, resend, call, loop)
            self.known[key] = future
            self._forget()
        beating = asyncio.create_task(_beat())
        try:
            # A thread can't be stopped when its activity is cancelled, so let it finish.
            result = await asyncio.shield(asyncio.wrap_future(future))
            return await self._claimed(request, result, call)
        finally:
            # Failed reads are repeated, and lists are not kept. The result of a send is kept:
            # its connection has returned the message once, and would not find it again.
            if future.done() and (future.exception() is not None or self._is_read(request)):
                self.known.pop(key, None)
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    def _missing(self, request: dict[str, Any]) -> str | None:
        """Return what this worker does not have for a call, or None if it has everything."""
        name, _, action = request["operator"].partition("/")
        connector, needed = self.connectors.get(name), request["version"]
        if connector is None:
            return f"this worker has no connector '{name}' ({', '.join(self.connectors)})"
        if action not in connector.actions:
            return f"{name} {connector.version} of this worker has no action '{action}'"
        if needed is not None and not _serves(connector.version, needed):
            return f"this worker has {name} {connector.version}, the case needs {needed}"
        return None

    def _is_read(self, request: dict[str, Any]) -> bool:
        name, _, action = request["operator"].partition("/")
        return self.connectors[name].action(action).repeatable

    def _run(
        self,
        request: dict[str, Any],
        since: datetime | None,
        resend: bool,
        call: str,
        loop: asyncio.AbstractEventLoop,
    ) -> dict[str, Any]:
        name, _, action_name = request["operator"].partition("/")
        connector = self.connectors[name]
        connections = self.resending if resend and name in self.resending else self.connections
        connection, action = connections[name], connector.action(action_name)

        def taken(identifier: str) -> bool:
            asking = owner(self.client, name, identifier)
            return asyncio.run_coroutine_threadsafe(asking, loop).result() not in (None, call)

        try:
            if action.repeatable:
                output = connection.run(action.name, request["inputs"])
            else:
                output = connection.run(action.name, request["inputs"], since=since, taken=taken)
        except RPCError:
            # It is not known whether another call has this message: Temporal tries again.
            raise
        except ConnectorError as error:
            return self._refused(name, _in_doubt(error, since, action))
        # The code of a connector may raise anything; other cases must go on.
        except Exception as fault:  # noqa: BLE001
            log.error("%s: unexpected fault\n%s", action.name, _trace(fault))
            return self._refused(name, UnexpectedFault(action.effect, fault))
        size = 0 if self.storage else size_of(output)
        if size > MOST_BYTES:
            return self._refused(name, TooLarge(f"the output of {action.name}", size))
        return {"output": output}

    async def _claimed(
        self, request: dict[str, Any], result: dict[str, Any], call: str
    ) -> dict[str, Any]:
        """Claim the message of a call, so that no other call uses it as its own."""
        name, _, action_name = request["operator"].partition("/")
        action = self.connectors[name].action(action_name)
        if "output" not in result or action.repeatable or action.identifier is None:
            return result
        made = result["output"][action.identifier]
        if await claim(self.client, activity.info().task_queue, name, made, call):
            return result
        what = (
            f"{action.name} may have been carried out: the record that the look-up found "
            "belongs to another call."
        )
        return self._refused(name, OutcomeUnknown(what))

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
    """Tell whether one version can replace another: the same major version, and not older."""
    ours, theirs = _parts(offered), _parts(needed)
    return ours[0] == theirs[0] and ours >= theirs


def _parts(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.partition("-")[0].split(".")]


def _in_doubt(error: ConnectorError, since: datetime | None, action: Any) -> ConnectorError:
    """Return OutcomeUnknown if this attempt sent nothing but an earlier one may have sent."""
    if since is None or action.repeatable or error.outcome != "not_sent":
        return error
    return OutcomeUnknown(str(error))


def _trace(fault: Exception) -> str:
    """Return where a fault was raised, without its text: that may contain a number or a body."""
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__
