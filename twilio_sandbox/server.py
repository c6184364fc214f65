"""The sandbox's HTTP server. It listens on loopback, in its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import re
import secrets
import socket
import struct
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, replace
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qsl

from aiohttp import web

from .answers import Answer, Question, error
from .credentials import Account, user_of
from .faults import Fault, Faults
from .resources import answer
from .setup import SCENARIOS, Setup, done
from .store import API_VERSION, Behaviour, Store

ACCOUNT_SID = "AC5a4db0c0000000000000000000000001"
AUTH_TOKEN = "sandbox-auth-token-not-a-secret"  # noqa: S105 - made up, opens nothing
_KEY = "5a4db0c000000000000000000000000"
REMEMBERED_REQUESTS = 10_000
HTML = "<!DOCTYPE html><html><head><title>Sandbox</title></head><body>Not JSON.</body></html>"


class Sandbox:
    """A Twilio account on loopback, from `start` (or `with`) to `stop`.

    `port` 0 means any free port. The status of a message changes every `step_seconds`; `advance`
    moves the clock forward. At first the clock is `clock_offset_seconds` ahead of this machine's
    (behind it, if negative). `behaviour`: see `behave`. Raise ValueError if there is no such
    scenario or behaviour. `start` raises OSError if the port can't be used.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        scenario: str = "ready",
        account_sid: str = ACCOUNT_SID,
        auth_token: str = AUTH_TOKEN,
        step_seconds: float = 0.5,
        clock_offset_seconds: float = 0,
        **behaviour: Any,
    ) -> None:
        chosen = SCENARIOS.get(scenario)
        if chosen is None:
            raise ValueError(f"no scenario {scenario!r}; there are {', '.join(SCENARIOS)}")
        self.scenario = chosen
        self.account = Account(
            sid=account_sid,
            auth_token=auth_token,
            keys={kind: (f"SK{_KEY}{digit}", f"sandbox-{kind}-key-secret-not-a-secret")
                  for digit, kind in enumerate(("standard", "main", "restricted"), start=2)},
            test_sid="AC5a4db0c0000000000000000000000003",
            test_auth_token="sandbox-test-token-not-a-secret",  # noqa: S106 - made up
        )  # fmt: skip
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.port = port
        self._behaviour = Behaviour()
        self._behaviour.change(**behaviour)
        self._store = Store(
            account_sid, step_seconds, clock_offset_seconds, replace(self._behaviour)
        )
        self._setup = chosen.setup
        self._faults = Faults()
        self._requests: deque[dict[str, Any]] = deque(maxlen=REMEMBERED_REQUESTS)
        self._log_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the scenario for the connector: credentials, address and sender.

        The default scenario has the account's own token, and a number as sender.
        """
        return self.settings_with(self.scenario.credentials)

    @property
    def key_settings(self) -> dict[str, str]:
        """Settings with a Standard API key instead of the account's token."""
        return self.settings_with("standard")

    @property
    def test_settings(self) -> dict[str, str]:
        """Settings with test credentials, which may only create messages."""
        return self.settings_with("test")

    def settings_with(self, credentials: str) -> dict[str, str]:
        """Settings with "token", "test", or an API key: "standard", "main" or "restricted"."""
        account, sid, key = self.account, self.account_sid, {}
        if credentials == "test":
            sid, secret = account.test_sid, account.test_auth_token
        elif credentials == "token":
            secret = self.auth_token
        else:
            key_sid, secret = account.keys[credentials]
            key = {"apiKeySid": key_sid}
        return {
            "from": self.scenario.sender,
            "accountId": sid,
            "authToken": secret,
            "apiBaseUrl": self.url,
            **key,
        }

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The stored messages as Twilio would return them now, newest first."""
        return self._store.all()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The last requests received (10,000 at most), oldest first.

        Each has method, path, query, form, headers, user (the Basic user name), peer (the
        client's port: the same on one connection) and status. The status is None if there is no
        answer (yet).
        """
        with self._log_lock:
            return [dict(request) for request in self._requests]

    def now(self) -> float:
        """The time of the sandbox's clock, in seconds since 1970."""
        return self._store.clock.now()

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward, so that the status of messages changes."""
        self._store.clock.advance(seconds)

    def add(self, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Store a message with these fields of Twilio's API, and return it; see `Store.add`."""
        return self._store.add(fields or {})

    def seed(self, count: int, seed: int = 0) -> None:
        """Store `count` invented messages. The same seed gives the same messages."""
        self._store.seed(count, seed)

    def fail(
        self,
        fault: str,
        method: str | None = None,
        times: int | None = 1,
        after: int = 0,
        path: str | None = None,
        **options: Any,
    ) -> None:
        """Switch a fault on for `times` requests (None: for all), after `after` requests.

        `method` and `path` (the end of a path) select the requests. `twilio_sandbox.faults` lists
        the faults and their options. Several faults act in the order in which they were switched
        on. Raise ValueError for a wrong argument.
        """
        self._faults.add(fault, method, path, times, after, options)

    def behave(self, **behaviour: Any) -> None:
        """Change how the account treats messages from now on. The constructor has the same options.

        list_lag_seconds      lists show a message only so many seconds after it was created
        order_jitter_seconds  the order of lists differs from `date_created` by at most this time
        trial_prefix          texts begin with the sentence of a trial account
        default_service       the `messaging_service_sid` of messages that use no service

        Raise ValueError for another name or a wrong value.
        """
        self._store.behaviour.change(**behaviour)

    @property
    def setup(self) -> Setup:
        """How the account is set up now."""
        return self._setup

    def set_up(self, **changes: Any) -> None:
        """Change the account's set-up: see `twilio_sandbox.setup.Setup`. Raise ValueError."""
        self._setup = self._setup.changed(changes)

    def do_step(self, step: int) -> None:
        """Do a step (1 to 7) of the set-up as the connector's document describes it."""
        self._setup = done(self._setup, step)

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    def reset(self) -> None:
        """Delete all messages, requests and faults; set the behaviour and the set-up back."""
        self._faults.clear()
        self._setup = self.scenario.setup
        self._store.behaviour = replace(self._behaviour)
        self._store.clear()
        with self._log_lock:
            self._requests.clear()

    def start(self) -> None:
        """Start the server. It accepts requests when this returns. Raise OSError."""
        ready = threading.Event()
        failed: list[Exception] = []
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready, failed)), name="twilio-sandbox"
        )
        # If a test forgets to stop the sandbox, the process must still end
        self._thread.daemon = True
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            raise failed[0]

    def stop(self) -> None:
        """Stop the server and close all connections, even those with a withheld answer."""
        if self._thread is None or self._loop is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _serve(self, ready: threading.Event, failed: list[Exception]) -> None:
        self._loop = asyncio.get_running_loop()
        application = web.Application(client_max_size=1024**2)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # With handler_cancellation, a withheld answer ends when its client has disconnected.
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=1
        )
        await runner.setup()
        try:
            served = cast("web.Server", runner.server)  # it is None only before `setup`
            listening = await self._loop.create_server(served, "127.0.0.1", self.port)
            self.port = listening.sockets[0].getsockname()[1]
            ready.set()
            await self._stopping.wait()
            await _accept_no_more(listening)
        except (OSError, OverflowError) as problem:
            failed.append(problem)
        finally:
            await runner.cleanup()
            ready.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        try:
            form = (await request.read()).decode(errors="replace")
        except web.HTTPRequestEntityTooLarge:
            return self._response(request, error(413, 20413))
        if path.startswith("/_sandbox"):
            return self._control(request.method, path, form)
        entry = self._remember(request, path, query, form)
        question = Question(
            request.method, path, query, form, request.headers.get("Authorization", "")
        )
        response = await self._with_faults(request, question)
        if response is None:
            # Nobody gets this answer, because the connection is closed
            return web.Response()
        with self._log_lock:
            entry["status"] = response.status
        return response

    def _remember(self, request: web.Request, path: str, query: str, form: str) -> dict[str, Any]:
        headers = {
            name: "(hidden)" if "authorization" in name.lower() else value
            for name, value in request.headers.items()
        }
        peer = request.transport and request.transport.get_extra_info("peername")
        entry = {
            "method": request.method,
            "path": path,
            "query": dict(parse_qsl(query, keep_blank_values=True)),
            "form": dict(parse_qsl(form, keep_blank_values=True)),
            "headers": headers,
            "user": user_of(request.headers.get("Authorization", "")),
            "peer": peer[1] if peer else None,
            "status": None,
        }
        with self._log_lock:
            self._requests.append(entry)
        return entry

    async def _with_faults(
        self, request: web.Request, question: Question
    ) -> web.StreamResponse | None:
        """Carry out the request with its faults. Return None if the connection is closed."""
        fault, storing = self._faults.next_for(question.method, question.path)
        if fault is None:
            return self._response(request, self._carry_out(question, storing))
        kind, options = fault.kind, fault.options
        if kind == "reset_before":
            _reset(request)
            return None
        refused = _refused(fault)
        if refused is not None and not options.get("stored"):
            return self._response(request, refused)
        done = self._carry_out(question, storing)
        if refused is not None:
            return self._response(request, refused)
        if kind == "reset_after":
            _reset(request)
            return None
        if kind == "withhold":
            await self._stopping.wait()
            _reset(request)
            return None
        if kind == "slow":
            await self._pause(options["seconds"])
        if kind == "raw":
            _write_and_close(request, options["text"].encode("latin-1", "replace"))
            return None
        if kind == "early":
            await self._write_early(request, options)
        response = self._response(request, _altered(done, fault, question))
        if kind == "drip" and options["part"] == "head":
            return await self._drip_all(request, response, options["seconds"])
        if kind == "drip":
            return await self._drip(request, response, options["seconds"])
        return response

    def _carry_out(self, question: Question, storing: list[Fault]) -> Answer:
        done = answer(question, self.account, self._setup, self._store, self.url)
        # A message of test credentials is not stored.
        if done.status == 201 and self._store.get(done.value["sid"]) is not None:
            of = {fault.kind: fault.options for fault in storing}
            if "twin" in of:
                # Copy before `late` hides the message: the copies are not late
                self._store.copy(done.value["sid"], of["twin"]["copies"])
            if "late" in of:
                self._store.hide(done.value["sid"], of["late"]["seconds"])
        return done

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _drip(
        self, request: web.Request, whole: web.Response, seconds: float
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=whole.status, headers=whole.headers)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            # A ConnectionError means that the client has disconnected
            for byte in _body(whole):
                await response.write(bytes([byte]))
                await self._pause(seconds)
            await response.write_eof()
        return response

    async def _drip_all(
        self, request: web.Request, whole: web.Response, seconds: float
    ) -> web.StreamResponse | None:
        reason = HTTPStatus(whole.status).phrase
        lines = [f"HTTP/1.1 {whole.status} {reason}"]
        lines += [f"{name}: {value}" for name, value in whole.headers.items()]
        lines += [f"Content-Length: {len(_body(whole))}", "Connection: close", "", ""]
        for byte in "\r\n".join(lines).encode() + _body(whole):
            if request.transport is None:
                return None
            request.transport.write(bytes([byte]))
            await self._pause(seconds)
        _write_and_close(request, b"")
        return None

    async def _write_early(self, request: web.Request, options: Mapping[str, Any]) -> None:
        """Send answers without a body, and wait after each."""
        head = f"HTTP/1.1 {options['status']} Early\r\n\r\n".encode()
        for _ in range(options["count"]) if options["count"] else itertools.count():
            if self._stopping.is_set() or request.transport is None:
                return
            request.transport.write(head)
            await self._pause(options["seconds"])

    def _response(self, request: web.Request, given: Answer) -> web.Response:
        """Return the HTTP answer as Twilio sends it: compressed if the client accepts gzip."""
        text = json.dumps(given.value) if given.text is None else given.text
        body = text.encode("utf-8", "surrogatepass")
        if given.status == 204:
            body = b""
        headers = {
            "Twilio-Request-Id": "RQ" + secrets.token_hex(16),
            "Date": formatdate(self._store.clock.now(), usegmt=True),
            "Vary": "Accept-Encoding",
            **given.headers,
        }
        if body and _takes_gzip(request.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return web.Response(
            status=given.status,
            body=body,
            content_type=given.content_type,
            charset="utf-8",
            headers=headers,
        )

    def _control(self, method: str, path: str, text: str) -> web.Response:
        """Carry out a request to /_sandbox: a test in another process controls the sandbox."""
        try:
            value = json.loads(text) if text else {}
            done = self._controlled(method, path, value)
        except (ValueError, TypeError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        if done is None:
            return web.json_response({"error": f"no {method} {path}"}, status=404)
        return web.json_response(done, status=201 if method == "POST" else 200)

    def _controlled(self, method: str, path: str, value: Any) -> Any:
        asked = f"{method} {path.removeprefix('/_sandbox')}"
        if asked == "GET /messages":
            return self.messages
        if asked == "GET /requests":
            return self.requests
        if asked == "DELETE ":
            self.reset()
            return {}
        if asked == "DELETE /faults":
            self.clear_faults()
            return {}
        if asked == "POST /faults":
            self.fail(**value)
            return {}
        if asked == "GET /setup":
            return asdict(self.setup)
        if asked == "POST /setup":
            self.set_up(**value)
            return asdict(self.setup)
        if re.fullmatch("POST /steps/[1-7]", asked):
            self.do_step(int(asked[-1]))
            return asdict(self.setup)
        if asked == "POST /behaviour":
            self.behave(**value)
            return {}
        if asked == "POST /clock":
            self.advance(**value)
            return {}
        if asked == "POST /messages" and isinstance(value, dict) and "count" in value:
            self.seed(**value)
            return {}
        if asked == "POST /messages":
            return [self.add(entry) for entry in (value if isinstance(value, list) else [value])]
        return None


async def _accept_no_more(listening: asyncio.Server) -> None:
    """Close a server as soon as it knows of every connection that was accepted.

    asyncio needs three turns of its loop to make a connection. If the server is closed meanwhile,
    the connection is lost: it is neither served nor closed.
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows
        for listener in listening.sockets:
            loop.remove_reader(listener.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
    listening.close()


def _refused(fault: Fault) -> Answer | None:
    """Return the answer of a fault that answers instead of Twilio, or None."""
    options = fault.options
    if fault.kind == "redirect":
        return Answer(302, headers={"Location": options["location"]})
    if fault.kind not in ("throttle", "error"):
        return None
    status = options.get("status", 429)
    after = options["retry_after"]
    code = options.get("code") or 20000 + status
    return error(status, code, {} if after is None else {"Retry-After": str(after)})


def _altered(done: Answer, fault: Fault, question: Question) -> Answer:
    """Return the answer, changed by a fault."""
    kind, options = fault.kind, fault.options
    status = options.get("status") or done.status
    if kind == "html":
        return Answer(status, text=HTML, content_type="text/html")
    if kind == "truncated":
        text = json.dumps(done.value)
        return Answer(status, text=text[: len(text) // 2])
    if kind == "body" and options["text"] is not None:
        return Answer(status, text=options["text"])
    if kind == "body" and options["patch"] is None:
        return Answer(status, options["value"])
    value = done.value
    if kind == "body" and isinstance(value, dict):
        if "messages" in value:
            patched = [{**message, **options["patch"]} for message in value["messages"]]
            return Answer(status, {**value, "messages": patched})
        return Answer(status, {**value, **options["patch"]})
    if kind.endswith("_page") and done.status == 200:
        return Answer(status, {**value, "next_page_uri": _next_page(value, fault, question)})
    return done


def _next_page(page: Mapping[str, Any], fault: Fault, question: Question) -> Any:
    if fault.kind == "foreign_page":
        return _foreign(fault.options, question.path)
    if fault.kind == "repeated_page":
        return f"{question.path}?{question.query}" if question.query else question.path
    messages, following = page["messages"], page["next_page_uri"]
    by = fault.options["by"]
    if following is None or by >= len(messages):
        return following
    return following.replace(messages[-1]["sid"], messages[-1 - by]["sid"])


def _foreign(options: Mapping[str, Any], path: str) -> Any:
    if options["uri"] is not None:
        return options["uri"]
    page = "?PageSize=50&Page=1&PageToken=PASM" + 32 * "a"
    if options["account_sid"] is not None:
        return f"/{API_VERSION}/Accounts/{options['account_sid']}/Messages.json{page}"
    return f"https://api.example.com{path}{page}"


def _takes_gzip(accepted: str) -> bool:
    """Tell whether an Accept-Encoding header names gzip and does not refuse it."""
    for entry in accepted.lower().split(","):
        coding, _, weight = entry.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False


def _body(response: web.Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b""


def _write_and_close(request: web.Request, content: bytes) -> None:
    if request.transport is not None:
        request.transport.write(content)
        request.transport.close()


def _reset(request: web.Request) -> None:
    """Close the connection with RST instead of FIN, so that the client sees a reset."""
    transport = request.transport
    if transport is None:
        return
    linger = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()
