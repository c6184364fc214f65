"""The connector proxy: actions as commands over HTTP, in Spiff Arena's protocol.

GET       /liveness                      whether it is up; never asks for the key
GET       /v1/commands                   the commands and their parameters
GET       /v1/auths                      none: credentials are the proxy's own settings
GET       /openapi.json                  all of this as OpenAPI 3.1
GET|POST  /v1/do/<connector>/<command>   run one; GET only what changes nothing
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import hmac
import itertools
import json
import logging
import os
import re
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from aiohttp import web

from connector_runtime import Connection, Connector
from connector_runtime.connection import Action
from connector_runtime.errors import ConnectorError, InvalidConfiguration
from connector_runtime.transport import is_loopback

from .openapi import discovery, document
from .protocol import (
    ENGINES_OWN,
    KEY_HEADER,
    TASK,
    Fields,
    TooLarge,
    UnderWay,
    Unexpected,
    answer,
    fault,
    key_of,
    unique,
)

log = logging.getLogger("connector_engines.proxy")

_COMMAND = "/v1/do/"
_KEY = re.compile(r"[!-~]+")
_SELDOM_SECONDS = 10.0  # at least, between two log lines about too many connections
_BACKLOG = 128  # connections that the system accepts and that wait for a place
_SPARE = 32  # connections above the limit, which are answered with 503
_MOST_KEPT_BYTES = 256 * 1024  # of a request, without the engine's own fields
_PROGRESS_BYTES = 64 * 1024  # that a caller must read of an answer in `request_seconds`
_SENT_AHEAD_BYTES = 256 * 1024  # of an answer, which the system keeps for its caller
_WRITE_SECONDS = 1.0  # to send the last answers, once their commands have ended
_RETRY_AFTER_SECONDS = 1
_PIECE_BYTES = 64 * 1024  # of a request, which are read without a pause for others
_MOST_LARGE = 4  # requests of more than `_MOST_KEPT_BYTES` that are read at once
_ACCEPT_AGAIN_SECONDS = 0.1
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Proxy:
    """Connectors as a server, in a thread of its own from `start` (or `with`) to `stop`.

    `connectors` and `settings` go by the name that is in the path. `ledger` is a file: whoever
    asks again with a key gets what the first call with it made. `port` 0 is any free one. With
    `api_key`, everything but /liveness asks for it; without, only this machine is listened to.

    At most `most_commands` run at once. A caller waits at most `command_seconds` for one, which
    then goes on. A request may have `most_bytes`, of which 256 KiB are kept once what an engine
    adds is passed over. At most `most_connections` are open, each for one request; others get 503.
    A request's head must come within `request_seconds`, and then its body; so long an answer may
    wait to be read. `stop` waits `stop_seconds` for commands to end. Raise InvalidConfiguration;
    `start` also OSError, where the port can't be had.
    """

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        ledger: str | os.PathLike[str],
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        most_bytes: int = 16 * 1024 * 1024,
        most_commands: int = 16,
        most_connections: int = 128,
        request_seconds: float = 10.0,
        command_seconds: float = 40.0,
        stop_seconds: float = 25.0,
    ) -> None:
        if api_key is not None and not _KEY.fullmatch(api_key):
            raise InvalidConfiguration(
                "configuration: the proxy's API key must be visible ASCII without spaces, and not "
                "empty."
            )
        if api_key is None and not is_loopback(host):
            raise InvalidConfiguration(
                f"configuration: the proxy listens on '{host}' only with an API key, or whoever "
                "reaches it could send messages. Without a key it listens on 127.0.0.1."
            )
        self.connectors = dict(connectors)
        self.host = host
        self.port = port
        self._settings = {name: (settings or {}).get(name, {}) for name in self.connectors}
        self._api_key = None if api_key is None else api_key.encode()
        self._most_bytes = most_bytes
        self._most_commands = most_commands
        self._most_connections = most_connections
        self.request_seconds = request_seconds
        self._command_seconds = command_seconds
        self._stop_seconds = stop_seconds
        self._ledger = ledger
        self._open: set[_Protocol] = set()
        self._quiet_until = 0.0
        self._commands = {
            f"{name}/{action.name}": _Command(f"{name}/{action.name}", name, action)
            for name, connector in self.connectors.items()
            for action in connector.actions.values()
        }
        keyed = api_key is not None
        self._documents = {
            "/liveness": {"ok": True},
            "/v1/commands": discovery(self.connectors, self._settings),
            "/v1/auths": [],
            "/openapi.json": document(self.connectors, self._settings, keyed=keyed),
        }
        self._connections: dict[str, Connection] = {}
        self._calls: dict[Future[bytes], str] = {}
        self._keyed: dict[tuple[str, str], tuple[dict[str, Any], Future[bytes]]] = {}
        self._numbers = itertools.count(1)
        self._closing = contextlib.ExitStack()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Connect and listen; returns once requests are taken."""
        with contextlib.ExitStack() as undo:
            self._connections = {
                name: undo.enter_context(
                    connector.connect(self._settings[name], ledger=self._ledger)
                )
                for name, connector in self.connectors.items()
            }
            self._pool = ThreadPoolExecutor(self._most_commands, "connector-command")
            undo.callback(self._pool.shutdown, wait=False)
            ready = threading.Event()
            failed: list[Exception] = []
            self._stopping = asyncio.Event()
            self._thread = threading.Thread(
                target=lambda: asyncio.run(self._serve(ready, failed)), name="connector-proxy"
            )
            self._thread.daemon = True  # so that a program which does not stop it can end
            self._thread.start()
            ready.wait()
            if failed:
                self._thread.join()
                raise failed[0]
            self._closing = undo.pop_all()

    def stop(self) -> bool:
        """Take no more requests, let the running commands end, close the connections.

        Return False, and log them, where some had not ended in time.
        """
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        left = [name for call, name in self._calls.items() if not call.done()]
        if left:
            log.error("stopped, and left under way what may be carried out: %s", ", ".join(left))
        self._closing.close()
        return not left

    async def _serve(self, ready: threading.Event, failed: list[Exception]) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._open.clear()
        places = asyncio.Semaphore(self._most_connections + _SPARE)
        self._large = asyncio.Semaphore(_MOST_LARGE)
        # Without handler_cancellation a command goes on when its caller has left.
        server = web.Server(self._handle)

        def protocol() -> _Protocol:
            return _Protocol(
                self,
                places.release,
                server,
                loop=loop,
                access_log=None,  # a query may hold a number or a body
                lingering_time=self.request_seconds,
                auto_decompress=False,  # it would refuse bad data with an answer of its own form
            )

        try:
            addresses = await loop.getaddrinfo(
                self.host or None, self.port, type=socket.SOCK_STREAM
            )
            family, _, _, _, address = addresses[0]
            listener = socket.create_server(
                (address[0], self.port), family=family, backlog=_BACKLOG
            )
            # Else the system keeps megabytes of each answer that nobody reads.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_AHEAD_BYTES)
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
        except Exception as problem:  # noqa: BLE001 - it is raised again where `start` was called
            failed.append(problem)
            return
        finally:
            ready.set()
        accepting = asyncio.create_task(self._accept(listener, places, protocol))
        await self._stopping.wait()
        accepting.cancel()
        listener.close()
        await asyncio.to_thread(
            concurrent.futures.wait, list(self._calls), timeout=self._stop_seconds
        )
        server.pre_shutdown()
        await server.shutdown(_WRITE_SECONDS)

    async def _accept(
        self,
        listener: socket.socket,
        places: asyncio.Semaphore,
        protocol: Callable[[], _Protocol],
    ) -> None:
        """Take connections while there are places; beyond them they wait in the system's queue.

        asyncio's own server takes every connection, so those beyond a limit could only be reset.
        """
        loop = asyncio.get_running_loop()
        while True:
            await places.acquire()
            connection = None
            try:
                connection, _ = await loop.sock_accept(listener)
                await loop.connect_accepted_socket(protocol, connection)
            except OSError as error:  # too many open files, or the caller has gone
                if connection is not None:
                    connection.close()
                places.release()
                self._say_seldom(f"a connection can't be taken: {error.strerror}")
                await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)

    def _say_seldom(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _SELDOM_SECONDS
            log.warning("%s", what)

    def opened(self, connection: _Protocol) -> bool:
        """Count a connection, and tell whether it is within the limit."""
        self._open.add(connection)
        if len(self._open) <= self._most_connections:
            return True
        self._say_seldom(f"{self._most_connections} connections are open; more are refused")
        return False

    def closed(self, connection: _Protocol) -> None:
        self._open.discard(connection)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        connection = cast(_Protocol, request.protocol)
        try:
            with connection.handling(request):
                response = await self._answer(request, connection.is_spare)
        except _Refusal as refusal:
            log.info("refused: HTTP %d %s", refusal.status, refusal.code)
            response = refusal.response()
        # One request per connection, so that no connection is idle and every request is answered.
        response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest, is_spare: bool) -> web.Response:
        ends = time.monotonic() + self._command_seconds
        if is_spare and request.path != "/liveness":
            raise _busy("connections", f"{self._most_connections} connections are open.")
        if request.path != "/liveness":
            self._check_key(request)
        if self._api_key is None:
            _check_host(request)
            _check_origin(request)
        _check_site(request)
        if request.path in self._documents:
            _check_method(request, "GET")
            return _json(200, self._documents[request.path])
        command = self._command(request.path)
        if command.action.effect == "read":
            _check_method(request, "GET", "POST")
        else:
            _check_method(request, "POST")
        if request.method == "GET":
            inputs = _from_query(request, command.action)
        else:
            inputs = await self._body(request)
        key = None
        if command.action.effect == "write":
            key = _key(request, inputs.get(TASK), command.action)
        inputs = {name: inputs[name] for name in inputs if not name.startswith(ENGINES_OWN)}
        call = self._call(command, inputs, key, ends)
        done, _ = await asyncio.wait(
            [asyncio.wrap_future(call)], timeout=max(0.0, ends - time.monotonic())
        )
        if done:
            body = call.result()
        else:
            body = fault(
                UnderWay(
                    f"{command.name} is not done after {self._command_seconds:g} s, and goes on. "
                    "Whoever asks again with the same key gets its outcome; the proxy's log has "
                    "it too."
                )
            )
        return web.Response(body=body, content_type="application/json")

    def _call(
        self, command: _Command, inputs: dict[str, Any], key: str | None, ends: float
    ) -> Future[bytes]:
        """Begin a command, or return the one that is under way with this key and these inputs.

        The ledger would let the second wait too, but each waiting one would take up a place.
        """
        name = (command.name, key or "")
        same, under_way = self._keyed.get(name, ({}, None))
        if under_way is not None and same == inputs and not under_way.done():
            return under_way
        if time.monotonic() >= ends:  # its caller may have left, so nobody would get its outcome
            raise _busy("busy", f"The request took {self._command_seconds:g} s to be read.")
        # No await from here on, so that no other request can take the place.
        self._check_room()
        call = self._pool.submit(self._run, command, inputs, key)
        self._calls[call] = command.name
        if key is not None:
            self._keyed[name] = (inputs, call)
        return call

    def _check_key(self, request: web.BaseRequest) -> None:
        if self._api_key is None:
            return
        given = request.headers.get(KEY_HEADER, "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._api_key):
            raise _Refusal(
                401,
                "unauthorized",
                f"The header {KEY_HEADER} is missing or wrong.",
                {"WWW-Authenticate": "ApiKey"},
            )

    def _command(self, path: str) -> _Command:
        name = path.removeprefix(_COMMAND)
        if name == path:
            raise _Refusal(404, "not_found", "There is no such path; /openapi.json lists them.")
        if name not in self._commands:
            raise _Refusal(
                404,
                "command_not_found",
                f"There is no command '{name[:80]}'. The commands: {', '.join(self._commands)}.",
            )
        return self._commands[name]

    async def _body(self, request: web.BaseRequest) -> dict[str, Any]:
        if request.content_type != "application/json":
            # This also stops forms of web pages, which may not send this type without permission.
            raise _Refusal(415, "unsupported_media_type", "The body must be application/json.")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Refusal(415, "unsupported_media_type", "The body must not be compressed.")
        too_large = _Refusal(
            413,
            "too_large",
            f"The request must not be larger than {self._most_bytes} bytes, nor its inputs than "
            f"{_MOST_KEPT_BYTES}.",
        )
        if (request.content_length or 0) > self._most_bytes:
            raise too_large
        fields = Fields(_MOST_KEPT_BYTES)
        size = 0
        has_turn = False
        try:
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # it does not count as part of the answer
            left = self.request_seconds  # counts only the time that we wait for the caller
            expected = request.content_length or 0
            while not request.content.at_eof():
                if not has_turn and max(size, expected) > _MOST_KEPT_BYTES:
                    await self._take_turn()
                    has_turn = True
                chunk = request.content.read_nowait()
                if not chunk:
                    begin = time.monotonic()
                    chunk = await asyncio.wait_for(request.content.readany(), left)
                    left -= time.monotonic() - begin
                size += len(chunk)
                if size > self._most_bytes:
                    raise too_large
                for place in range(0, len(chunk), _PIECE_BYTES):
                    fields.feed(chunk[place : place + _PIECE_BYTES])
                    await asyncio.sleep(0)  # let other requests run while a large one arrives
            return fields.value()
        except TooLarge:
            raise too_large from None
        except asyncio.TimeoutError as error:
            raise _Refusal(408, "too_slow", "The body took too long to come.") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise _Refusal(400, "invalid_request", "The body broke off.") from error
        except (ValueError, RecursionError):  # not chained: it keeps the text
            raise _Refusal(
                400,
                "invalid_request",
                "The body must be a valid JSON object, and no field be given twice in it.",
            ) from None
        finally:
            if has_turn:
                self._large.release()

    async def _take_turn(self) -> None:
        """Wait until one more large request may be read.

        Many at once would make each other slow, and keep a chunk of each in memory.
        """
        try:
            await asyncio.wait_for(self._large.acquire(), self.request_seconds)
        except asyncio.TimeoutError:
            raise _busy("busy", "Many large requests are being read.") from None

    def _check_room(self) -> None:
        self._calls = {call: name for call, name in self._calls.items() if not call.done()}
        self._keyed = {name: kept for name, kept in self._keyed.items() if not kept[1].done()}
        if self._stopping.is_set():
            raise _busy("stopping", "The proxy is stopping.")
        if len(self._calls) >= self._most_commands:
            raise _busy("busy", f"{self._most_commands} commands are under way.")

    def _run(self, command: _Command, inputs: dict[str, Any], key: str | None) -> bytes:
        """Run a command to its end, log how it ended, and return the answer as JSON.

        It runs in a thread of its own, so it goes on when its caller leaves.
        """
        started = time.perf_counter()
        name = f"{command.name} {next(self._numbers)}"
        outcome = "failed"
        if command.action.effect != "read":
            # An engine's task is an identifier of its own making; other keys may hold anything.
            task = f", task {key}" if key is not None and _UUID.fullmatch(key) else ""
            log.info("%s: begins%s", name, task)
        try:
            connection = self._connections[command.connector]
            named = None if key is None else f"{command.connector}/{key}"
            output = connection.run(command.action.name, inputs, key=named)
            body = answer(output, 200 if command.action.effect == "read" else 201)
            outcome = "done"
            if key is not None:
                outcome += f", {output[command.action.identifier or '']}"
            return body
        except ConnectorError as error:
            outcome = error.code
            return fault(error)
        # A connector's code may raise anything, and must not stop the server.
        except (Exception, SystemExit) as problem:  # noqa: BLE001
            log.error("%s: unexpected fault\n%s", name, _trace(problem))
            return fault(Unexpected(f"{command.name}: {Unexpected.when}. {Unexpected.advice}"))
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            log.info("%s: %s in %.0f ms", name, outcome, milliseconds)


class _Command(NamedTuple):
    name: str
    connector: str
    action: Action


class _Refusal(Exception):
    """Why a request is answered without a command having run."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers

    def response(self) -> web.Response:
        value = {"error": {"error_code": self.code, "message": str(self)}}
        return _json(self.status, value, self.headers)


class _Protocol(web.RequestHandler):
    """A connection of one request, which must come, and whose answer must be read, in time.

    aiohttp limits neither the time that a head takes nor the time that an answer waits to be read.
    Errors that never reach a handler are answered in JSON too.
    """

    def __init__(
        self, proxy: Proxy, release: Callable[[], None], server: web.Server, **options: Any
    ) -> None:
        super().__init__(server, **options)
        self._proxy = proxy
        self._release = release
        self._handled: web.BaseRequest | None = None
        self._due: asyncio.TimerHandle | None = None
        self.is_spare = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.is_spare = not self._proxy.opened(self)
        self._due = self._later(1, cast(asyncio.WriteTransport, transport).abort)

    def data_received(self, data: bytes) -> None:
        if self._handled is None or not self._handled.content.is_eof():
            super().data_received(data)  # else it is a second request, which gets no answer

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._due is not None:
            self._due.cancel()
        self._proxy.closed(self)
        self._release()
        super().connection_lost(exc)

    @contextlib.contextmanager
    def handling(self, request: web.BaseRequest) -> Iterator[None]:
        self._handled = request
        self._read_on(request)
        if self._due is not None:
            self._due.cancel()
        try:
            yield
        finally:
            self._due = self._later(2, self._look_at_reading)

    def _read_on(self, request: web.BaseRequest) -> None:
        """Read what comes behind a request too, in order to drop it.

        aiohttp stops reading when a request came together with many others. A connection that is
        closed before all is read is reset by the system, and its caller may not get the answer.
        """
        transport = cast("asyncio.ReadTransport | None", self.transport)
        if transport is not None and request.content.is_eof():
            transport.resume_reading()

    def _later(self, part: int, do: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._proxy.request_seconds / part, do)

    def _look_at_reading(self, before: int | None = None) -> None:
        """Abort unless the caller has read enough of the answer since the last look."""
        transport = cast("asyncio.WriteTransport | None", self.transport)
        if transport is None:
            return
        left = transport.get_write_buffer_size()
        if before is None or before - left >= _PROGRESS_BYTES:
            self._due = self._later(2, functools.partial(self._look_at_reading, left))
            return
        if left:  # the system must drop its part too, instead of sending it
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()  # `close` would wait until all is read

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size:
            raise ConnectionError("the answer has begun, so no other can be given")
        if status == 400:  # `exc` and `message` repeat the request, which may hold a key
            refusal = _Refusal(400, "invalid_request", "The request is not valid HTTP.")
        else:
            log.error("unexpected fault\n%s", _trace(exc))
            refusal = _Refusal(500, "internal_error", "An unexpected fault; nothing was begun.")
        return refusal.response()


def _check_host(request: web.BaseRequest) -> None:
    """Refuse a web page whose own host name was made to point to loopback (DNS rebinding)."""
    try:
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        host = ""
    if not is_loopback(host):
        raise _Refusal(
            403,
            "forbidden_host",
            "The Host header must name a loopback address, as this proxy asks for no key.",
        )


def _check_origin(request: web.BaseRequest) -> None:
    """Refuse web pages of other hosts, whatever media type they send."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    if origin.lower() not in (f"http://{request.host}".lower(), f"https://{request.host}".lower()):
        raise _Refusal(
            403,
            "forbidden_origin",
            "Web pages of other hosts may not call this proxy, as it asks for no key.",
        )


def _check_site(request: web.BaseRequest) -> None:
    """Refuse what a browser requests for another site, such as the address of an image."""
    if request.headers.get("Sec-Fetch-Site", "none").lower() not in ("same-origin", "none"):
        raise _Refusal(403, "forbidden_site", "Web pages of other sites may not call this proxy.")


def _key(request: web.BaseRequest, task: Any, action: Action) -> str | None:
    header = request.headers.getall("Idempotency-Key", [])
    if not header and not action.find:
        return None  # the ledger keeps keys only for calls that can be looked up
    try:
        return key_of(header, task)
    except ValueError:
        raise _Refusal(
            400,
            "invalid_request",
            'The header Idempotency-Key must be given once, as text in quotes: "…".',
        ) from None


def _busy(code: str, why: str) -> _Refusal:
    return _Refusal(
        503,
        code,
        f"{why} This request has begun nothing; try again.",
        {"Retry-After": str(_RETRY_AFTER_SECONDS)},
    )


def _check_method(request: web.BaseRequest, *allowed: str) -> None:
    if request.method not in allowed:
        raise _Refusal(
            405,
            "method_not_allowed",
            f"Only {' and '.join(allowed)} will do here.",
            {"Allow": ", ".join(allowed)},
        )


def _from_query(request: web.BaseRequest, action: Action) -> dict[str, Any]:
    """Return the query's fields, which are text, as what the action's schema asks for."""
    try:
        inputs: dict[str, Any] = unique(list(request.query.items()))
    except ValueError:
        raise _Refusal(400, "invalid_request", "A field is given twice in the query.") from None
    properties = action.input_schema["properties"]
    for name, value in inputs.items():
        if properties.get(name, {}).get("type", "string") != "string":
            # Validation reports a wrong value.
            with contextlib.suppress(ValueError, RecursionError):
                inputs[name] = json.loads(value)
    return inputs


def _trace(fault: BaseException | None) -> str:
    """Return where a fault was raised, without its text, which may hold a number or a body."""
    if fault is None:
        return ""
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(value, status=status, headers=headers)
