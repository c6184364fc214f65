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
import hmac
import json
import logging
import re
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from aiohttp import web

from connector_runtime import Connection, Connector
from connector_runtime.connection import Action
from connector_runtime.errors import ConnectorError, InvalidConfiguration
from connector_runtime.http import is_loopback

from .openapi import ENGINES_OWN, KEY_HEADER, discovery, document

log = logging.getLogger("connector_engines.proxy")

_COMMAND = "/v1/do/"
_KEY = re.compile(r"[!-~]+")
_IDLE_SECONDS = 75.0
_SELDOM_SECONDS = 10.0  # between two lines of the log about a flood of connections
_BACKLOG = 64  # accepted at once, so that those above the limit don't use up the open files
_WRITE_SECONDS = 1.0  # for the last answers to leave, once their commands have ended
_RETRY_AFTER_SECONDS = 1
# The HTTP status for callers that only look at the status, where the service gave none over 400.
_STATUSES = {
    "INVALID_INPUT": 400,
    "NOT_FOUND": 404,
    "THROTTLED": 429,
    "INVALID_CONFIGURATION": 500,
    "NEVER_CONNECTED": 503,
    "UNAVAILABLE": 503,
    "NO_ANSWER": 504,
    "OUTCOME_UNKNOWN": 504,
}
_BAD_GATEWAY = 502


class Proxy:
    """Connectors as a server, in a thread of its own from `start` (or `with`) to `stop`.

    `connectors` and `settings` go by the name that stands in the path. `port` 0 is any free one.
    With `api_key`, everything but /liveness asks for it; without, only this machine is listened to.
    At most `most_commands` run at once, and no request may be larger than `most_bytes`. At most
    `most_connections` are open; another is closed at once. A request's head must have come within
    `request_seconds`, and then its body. `stop` waits `stop_seconds` for commands to end. Raise
    InvalidConfiguration; `start` also OSError, where the port can't be had.
    """

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        most_bytes: int = 256 * 1024,
        most_commands: int = 16,
        most_connections: int = 128,
        request_seconds: float = 10.0,
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
        self._stop_seconds = stop_seconds
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
                name: undo.enter_context(connector.connect(self._settings[name]))
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
            self._thread.daemon = True  # a program that forgets to stop it must not hang
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
        loop.set_exception_handler(self._loop_fault)
        self._open.clear()
        # Without handler_cancellation a command goes on when its caller has left.
        server = web.Server(self._handle)

        def protocol() -> _Protocol:
            return _Protocol(
                self,
                server,
                loop=loop,
                access_log=None,  # a query may hold a number or a body
                keepalive_timeout=_IDLE_SECONDS,
                lingering_time=self.request_seconds,
                auto_decompress=False,  # it would refuse what it can't decompress in its own way
            )

        try:
            listener = await loop.create_server(protocol, self.host, self.port, backlog=_BACKLOG)
            self.port = listener.sockets[0].getsockname()[1]
        except Exception as problem:  # noqa: BLE001 - it is raised again where `start` was called
            failed.append(problem)
            return
        finally:
            ready.set()
        await self._stopping.wait()
        listener.close()
        await asyncio.to_thread(
            concurrent.futures.wait, list(self._calls), timeout=self._stop_seconds
        )
        server.pre_shutdown()
        await server.shutdown(_WRITE_SECONDS)

    def _loop_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault = context.get("exception")
        if isinstance(fault, OSError) and "socket" in context:
            # Of accepting, while the process has no open file to spare: it comes in thousands.
            self._say_seldom(f"a connection can't be taken: {fault.strerror}")
        else:
            loop.default_exception_handler(context)

    def _say_seldom(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _SELDOM_SECONDS
            log.warning("%s", what)

    def take(self, connection: _Protocol) -> bool:
        """Tell whether there is room for a connection, and count it."""
        if len(self._open) >= self._most_connections:
            self._say_seldom(f"{self._most_connections} connections are open; more are closed")
            return False
        self._open.add(connection)
        return True

    def leave(self, connection: _Protocol) -> None:
        self._open.discard(connection)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        try:
            with cast(_Protocol, request.protocol).handling():
                return await self._answer(request)
        except _Refusal as refusal:
            if refusal.status != 500:  # that one is in the log already, with its traceback
                log.info("refused: HTTP %d %s", refusal.status, refusal.code)
            return refusal.response()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/liveness":
            self._check_key(request)
        if self._api_key is None:
            _check_host(request)
            _check_origin(request)
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
            inputs = _from_body(await self._body(request))
        inputs = {name: inputs[name] for name in inputs if not name.startswith(ENGINES_OWN)}
        # From here on without a pause, so that no other request can take the place in between.
        self._check_room()
        call = self._pool.submit(self._run, command, inputs)
        self._calls[call] = command.name
        answer = await asyncio.wrap_future(call)
        self._calls.pop(call, None)  # or a long list would stay in memory until the next command
        return web.Response(body=answer, content_type="application/json")

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

    async def _body(self, request: web.BaseRequest) -> bytes:
        if request.content_type != "application/json":
            # It also keeps out the forms of web pages, which may not send this type unasked.
            raise _Refusal(415, "unsupported_media_type", "The body must be application/json.")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Refusal(415, "unsupported_media_type", "The body must not be compressed.")
        too_large = _Refusal(
            413, "too_large", f"The request must not be larger than {self._most_bytes} bytes."
        )
        if (request.content_length or 0) > self._most_bytes:
            raise too_large
        body = bytearray()
        try:
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # it is no part of the answer
            end = time.monotonic() + self.request_seconds
            while chunk := await asyncio.wait_for(
                request.content.readany(), end - time.monotonic()
            ):
                body += chunk
                if len(body) > self._most_bytes:
                    raise too_large
        except asyncio.TimeoutError as error:
            raise _Refusal(408, "too_slow", "The body took too long to come.") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise _Refusal(400, "invalid_request", "The body broke off.") from error
        return bytes(body)

    def _check_room(self) -> None:
        self._calls = {call: name for call, name in self._calls.items() if not call.done()}
        code = why = None
        if self._stopping.is_set():
            code, why = "stopping", "The proxy is stopping."
        elif len(self._calls) >= self._most_commands:
            code, why = "busy", f"{self._most_commands} commands are under way."
        if code:
            raise _Refusal(
                503,
                code,
                f"{why} Nothing was done; try again.",
                {"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )

    def _run(self, command: _Command, inputs: dict[str, Any]) -> bytes:
        """Run a command to its end, log how it ended, and return the answer as JSON.

        It is here, and not where the answer is awaited, that nobody's leaving stops anything.
        """
        started = time.perf_counter()
        outcome = "failed"
        try:
            output = self._connections[command.connector].run(command.action.name, inputs)
            answer = _version_2(output, 200 if command.action.effect == "read" else 201, None)
            outcome = "done"
            return answer
        except ConnectorError as error:
            outcome = error.code
            told = {"error_code": error.code, "message": str(error)}
            return _version_2(error.to_dict(), _status(error), told)
        # A stranger's code may raise anything, and must not take the server with it.
        except (Exception, SystemExit) as fault:
            log.error("%s: unexpected fault\n%s", command.name, _trace(fault))
            raise _unexpected(command.action.effect) from fault
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            log.info("%s: %s in %.0f ms", command.name, outcome, milliseconds)


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
    """A connection: within the limits of its number and of the time that a request's head takes.

    It answers in JSON also what never reaches a handler, and what one did not expect.
    """

    def __init__(self, proxy: Proxy, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._proxy = proxy
        self._handling = False
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not self._proxy.take(self):
            transport.close()
            return
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        if not self._handling and self._head_due is None:
            self._await_head()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_came()
        self._proxy.leave(self)
        super().connection_lost(exc)

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        self._head_came()
        self._handling = True
        try:
            yield
        finally:
            self._handling = False

    def _await_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._head_due = loop.call_later(self._proxy.request_seconds, self.force_close)

    def _head_came(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

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
            refusal = _unexpected("read")
        return refusal.response()


def _check_host(request: web.BaseRequest) -> None:
    """Refuse what a web page sends here under a name of its own that it made point to loopback."""
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
    """Refuse web pages of others, whatever the media type that a browser lets them send."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    if origin.lower() not in (f"http://{request.host}".lower(), f"https://{request.host}".lower()):
        raise _Refusal(
            403,
            "forbidden_origin",
            "Web pages of other hosts may not call this proxy, as it asks for no key.",
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
        inputs: dict[str, Any] = _unique(list(request.query.items()))
    except ValueError:
        raise _Refusal(400, "invalid_request", "A field stands twice in the query.") from None
    properties = action.input_schema["properties"]
    for name, value in inputs.items():
        if properties.get(name, {}).get("type", "string") != "string":
            with contextlib.suppress(ValueError, RecursionError):  # validation says what it must be
                inputs[name] = json.loads(value)
    return inputs


def _from_body(body: bytes) -> dict[str, Any]:
    try:
        inputs = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):  # not chained: it keeps the text
        raise _Refusal(
            400, "invalid_request", "The body is not valid JSON, or a field stands twice in it."
        ) from None
    if not isinstance(inputs, dict):
        raise _Refusal(400, "invalid_request", "The body must be a JSON object.")
    return inputs


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field stands twice")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _version_2(body: Any, status: int, error: Mapping[str, str] | None) -> bytes:
    answer = {
        "command_response_version": 2,
        "command_response": {
            "body": body,
            "mimetype": "application/json",
            "http_status": status,
        },
        "error": error,
        "spiff__logs": [],
    }
    return json.dumps(answer).encode()


def _status(error: ConnectorError) -> int:
    """Return the service's own status; one below 400 came with an answer that is of no use."""
    if error.status is not None and error.status >= 400:
        return error.status
    return _STATUSES.get(error.code, _BAD_GATEWAY)


def _unexpected(effect: str) -> _Refusal:
    perhaps = (
        "" if effect == "read" else " It may have been carried out: look before you repeat it."
    )
    return _Refusal(500, "internal_error", f"An unexpected fault; see the proxy's log.{perhaps}")


def _trace(fault: BaseException | None) -> str:
    """Return where a fault was raised, without its text, which may hold a number or a body."""
    if fault is None:
        return ""
    return "".join(traceback.format_tb(fault.__traceback__)) + type(fault).__name__


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(value, status=status, headers=headers)
