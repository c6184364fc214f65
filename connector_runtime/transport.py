"""One request and its answer over HTTP: was the request sent, and is the answer complete?

    connect, tunnel, TLS handshake      nothing was sent; at most `connect_seconds`
    first byte of the request           `left` becomes true, here and nowhere else
    ... to the last byte of the answer  at most `answer_seconds`, however slowly it comes

Requests go through requests' transport adapter, not its Session: the adapter follows no redirect,
keeps no cookie and reads no .netrc, each of which could send credentials or bodies to another host.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import math
import os
import queue
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError
from urllib3.util.connection import create_connection

from .errors import InvalidConfiguration

MIB = 1024**2
_POOLS = 16  # one for each host that a connector speaks to
_CONNECTIONS = 128  # kept alive at most; beyond that a thread's connection is closed after its use
_FIRST_READ_BYTES = 64 * 1024
_READ_BYTES = MIB
_INTERIM_ANSWERS = 100  # a server that sends more 1xx answers than this is not answering
_NO_BODY = frozenset({204, 205, 304})
_GZIP = 16 + zlib.MAX_WBITS
# What connecting can raise. Any other exception before the request was sent is a defect.
_CONNECTING = (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError)


def is_secure(url: str) -> bool:
    """Tell whether credentials may travel to `url`: https, or a loopback address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or is_loopback(host or ""))


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address is this machine's own, without asking DNS."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Answer(NamedTuple):
    """A whole answer. `release` must be called: with True once the answer was understood, so that
    the connection may be used again; with False its connection is closed."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    release: Callable[[bool], None]


class Failure(NamedTuple):
    """No usable answer. `left` tells whether the first byte of the request was written."""

    left: bool
    reason: str  # "certificate", "time", "size", "encoding" or "broken"
    detail: str  # the kind of exception, which quotes nothing
    status: int | None = None
    headers: Mapping[str, str] = {}


class Request(NamedTuple):
    """One request; `target` is the path with its query."""

    method: str
    origin: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None

    def __repr__(self) -> str:  # it holds the credentials, numbers and texts
        return f"<Request {self.method} {self.origin}>"


class _Exchange:
    """One request under way, as the connection that carries it sees it."""

    def __init__(self, request: Request, connect_seconds: float, answer_seconds: float) -> None:
        self.request = request
        self.connect_seconds = connect_seconds
        self.answer_seconds = answer_seconds
        self.left = False
        self.ends = time.monotonic() + connect_seconds
        self.expired = False
        self.handle: socket.socket | None = None
        self.connection: Any = None
        self.put_back: Callable[[Any], None] | None = None

    def remaining(self) -> float:
        """Return the seconds that are left. Raise TimeoutError when there are none."""
        seconds = self.ends - time.monotonic()
        if seconds <= 0 or self.expired:
            raise TimeoutError
        return seconds


class _Watch:
    """Ends exchanges whose time is over: a thread shuts their sockets down.

    A timeout of the socket would not do: it starts again with each byte that arrives. The thread
    ends by itself when it has nothing to watch.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._active: set[_Exchange] = set()
        self._wakes = math.inf
        self._running = False

    def begin(self, exchange: _Exchange) -> None:
        with self._lock:
            self._active.add(exchange)
            self._wake_for(exchange)

    def depart(self, exchange: _Exchange) -> None:
        """Note that sending begins. Raise TimeoutError when its time to connect is over."""
        with self._lock:
            if exchange.expired:
                raise TimeoutError
            if not exchange.left:
                exchange.left = True
                exchange.ends = time.monotonic() + exchange.answer_seconds
                self._wake_for(exchange)

    def attach(self, exchange: _Exchange, handle: socket.socket) -> None:
        with self._lock:
            exchange.handle = handle
            if exchange.expired:
                _shut_down(handle)

    def end(self, exchange: _Exchange) -> None:
        with self._lock:
            self._active.discard(exchange)

    def _wake_for(self, exchange: _Exchange) -> None:
        if not self._running:
            self._running = True
            self._wakes = exchange.ends
            threading.Thread(target=self._run, name="connector-watch", daemon=True).start()
        elif exchange.ends < self._wakes:
            self._changed.notify()

    def _run(self) -> None:
        with self._lock:
            while self._active:
                now = time.monotonic()
                for exchange in self._active:
                    if exchange.ends <= now and not exchange.expired:
                        exchange.expired = True
                        if exchange.handle is not None:
                            _shut_down(exchange.handle)
                ends = (exchange.ends for exchange in self._active if not exchange.expired)
                self._wakes = min(ends, default=now + 1)
                self._changed.wait(max(self._wakes - now, 0))
            self._running = False


def _shut_down(handle: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side has closed it already
        handle.shutdown(socket.SHUT_RDWR)


_current = threading.local()  # the exchange that this thread is carrying out


class _HTTPResponse(http.client.HTTPResponse):
    """http.client's response, but no old answer is left for the next request on the connection.

    It reads past every interim answer; http.client does so for 100 only, and takes 103 for the
    answer. And it notices what a server sends beyond the answer's end. What is no header, among the
    headers, is passed over without a word: urllib3 would log it, and it may hold anything.
    """

    fp: Any

    def begin(self) -> None:
        super().begin()
        self.msg.defects.clear()
        self.msg.set_payload("")

    def _close_conn(self) -> None:
        exchange: _Exchange | None = getattr(_current, "exchange", None)
        connection = exchange.connection if exchange is not None else None
        if exchange and connection and connection.is_ready and connection.sock is not None:
            connection.sock.settimeout(0)
            # There should be nothing to read; TLS raises an exception of its own then.
            with contextlib.suppress(OSError):
                connection.has_more = bool(self.fp.peek(1))
            connection.sock.settimeout(exchange.answer_seconds)  # for the next request's sending
        super()._close_conn()  # type: ignore[misc]

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_INTERIM_ANSWERS):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == 101:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException("too many interim answers")


def _watched_connection(base: Any, watch: _Watch) -> Any:
    """Make a subclass of a urllib3 connection that tells its exchange what happens."""

    class Connection(base):  # type: ignore[misc]
        response_class = _HTTPResponse
        _handle: socket.socket | None = None
        has_more = False  # the server sent more than its answer
        _head = b""  # of a request whose body follows
        is_ready = False  # tunnel and handshake are done: what is sent now is the request

        def connect(self) -> None:
            self.is_ready = False
            super().connect()
            self.sock.settimeout(_current.exchange.answer_seconds)
            self.is_ready = True

        def _new_conn(self) -> socket.socket:
            exchange: _Exchange = _current.exchange
            if base._new_conn is HTTPConnection._new_conn:
                sock = _connected(exchange, self)
            else:  # through a SOCKS proxy
                sock = super()._new_conn()
            # A second handle of the same socket, because TLS replaces the first one. It stays open
            # for as long as the connection does.
            try:
                self._handle = sock.dup()
                exchange.connection = self
                watch.attach(exchange, self._handle)
                self.timeout = exchange.remaining()
            except BaseException:
                sock.close()  # nobody else knows it yet
                raise
            sock.settimeout(self.timeout)
            return sock

        def _tunnel(self) -> None:
            # Python 3.10 leaves the proxy's answer open, and with it the socket of a refusal.
            answers: list[_HTTPResponse] = []

            class Answer(_HTTPResponse):
                def __init__(self, *args: Any, **kwargs: Any) -> None:
                    super().__init__(*args, **kwargs)
                    answers.append(self)

            self.response_class = Answer
            try:
                super()._tunnel()
            finally:
                del self.response_class
                for opened in answers:
                    opened.close()
            _current.exchange.remaining()  # after a shutdown, the proxy's answer may look complete

        def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
            exchange: _Exchange = _current.exchange
            exchange.connection = self
            if self._handle is not None:
                watch.attach(exchange, self._handle)
            # urllib3 was given another target: see request_url.
            self._head = b""
            super().putrequest(method, exchange.request.target, *args, **kwargs)

        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            if self.is_ready:
                exchange: _Exchange = _current.exchange
                if exchange.request.body and not self._head:
                    self._head = data  # sent together with the body, in one packet if possible
                    return
                data, self._head = self._head + data, b""
                watch.depart(exchange)
            super().send(data)

        def close(self) -> None:
            super().close()
            self.is_ready = False
            exchange = getattr(_current, "exchange", None)
            if exchange is None or exchange.handle is not self._handle:
                self.close_handle()

        def close_handle(self) -> None:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    return Connection


def _connected(exchange: _Exchange, connection: Any) -> socket.socket:
    """Connect to the first address that answers; the time to connect is for all of them together.

    urllib3 gives each address the whole time, and does not limit DNS.
    """
    fault: OSError = OSError("the name has no address")
    for address in _addresses(connection.host, connection.port, exchange):
        try:
            return create_connection(
                (address, connection.port),
                exchange.remaining(),
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except TimeoutError:
            raise
        except OSError as error:
            fault = error
    # urllib3 swallows a bare ConnectionResetError, as it comes where a request was half written.
    raise NewConnectionError(connection, type(fault).__name__)


def _addresses(host: str, port: int, exchange: _Exchange) -> list[str]:
    # In a thread, because getaddrinfo has no timeout.
    # Not a SimpleQueue: in Python 3.10 to 3.12, a `get` with a very short time limit may never end.
    answers: queue.Queue[list[Any] | Exception] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="connector-dns", daemon=True).start()
    try:
        answer = answers.get(timeout=exchange.remaining())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return [str(entry[4][0]) for entry in answer]


def _watched_pool(base: Any, watch: _Watch) -> Any:
    class Pool(base):  # type: ignore[misc]
        ConnectionCls = _watched_connection(base.ConnectionCls, watch)

        def _put_conn(self, conn: Any) -> None:
            exchange: _Exchange | None = getattr(_current, "exchange", None)
            if conn is None or exchange is None:
                super()._put_conn(conn)
            else:  # not yet: the answer may turn out not to be understood
                exchange.put_back = super()._put_conn

    return Pool


class _Adapter(HTTPAdapter):
    """requests' adapter, with connections that tell whether a request was sent."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        self._pool_by_origin: dict[str, Any] = {}
        super().__init__(pool_connections=_POOLS, pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not known:
            self._watch_pools(manager)
        return manager

    def _watch_pools(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {
            scheme: _watched_pool(base, self._watch)
            for scheme, base in manager.pool_classes_by_scheme.items()
        }

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> Any:
        # requests finds the pool again for every request, which takes as long as all the rest.
        origin = _current.exchange.request.origin
        pool = self._pool_by_origin.get(origin)
        if pool is None:
            pool = super().get_connection_with_tls_context(request, *args, **kwargs)
            self._pool_by_origin[origin] = pool
        return pool

    def close_pools(self) -> None:
        # urllib3 closes what they keep only when they are garbage, and these are not.
        for pool in self._pool_by_origin.values():
            pool.close()

    def cert_verify(self, conn: Any, *args: Any) -> None:
        if not getattr(conn, "is_verified", False):  # requests reads the file system each time
            super().cert_verify(conn, *args)  # type: ignore[no-untyped-call]
            conn.is_verified = True

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        # Without cookies, encodings and a copy of the headers, which nobody reads here.
        response = requests.Response()
        response.status_code, response.headers, response.raw = resp.status, resp.headers, resp
        response.request = req  # for tools that stand in for the adapter, such as responses
        return response

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        # urllib3 logs what it is given, and a path or query may hold a phone number. The target
        # itself is put in by the connection: see putrequest.
        return "/"


class Transport:
    """The HTTP connections of one connector connection, shared by threads.

    Raise InvalidConfiguration, before anything is sent, for addresses and certificate files that
    can't be used.
    """

    def __init__(self, origins: list[str], connect_seconds: float, answer_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._routes = {origin: _route(origin) for origin in origins}
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        self._watch = _Watch()
        self._adapter = _Adapter(self._watch)

    def close(self) -> None:
        self._adapter.close()
        self._adapter.close_pools()

    def exchange(
        self, request: Request, most_bytes: int, ends: float | None = None
    ) -> Answer | Failure:
        """Make one request, once, and return its whole answer of at most `most_bytes`, counted
        after decompression, or why there is none. `ends` is a moment of the monotonic clock."""
        if self._process != os.getpid():
            # After a fork, two processes on one connection would read each other's answers.
            self._open()
        if request.origin not in self._routes:  # another host than the first, which is rare
            self._routes[request.origin] = _route(request.origin)
        verify, proxies = self._routes[request.origin]
        most_seconds = math.inf if ends is None else max(ends - time.monotonic(), 0.001)
        exchange = _Exchange(
            request,
            min(self._connect_seconds, most_seconds),
            min(self._answer_seconds, most_seconds),
        )
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = request.method, request.origin + request.target
        prepared.headers = request.headers  # type: ignore[assignment]
        prepared.body, prepared.hooks = request.body, {}
        response = None
        whole = False
        _current.exchange = exchange
        self._watch.begin(exchange)
        try:
            response = self._adapter.send(
                prepared,
                stream=True,
                timeout=(exchange.connect_seconds, exchange.answer_seconds),
                verify=verify,
                proxies=proxies,
            )
            exchange.left = True  # an answer came, so the request was sent
            content = _content(response, most_bytes)
            if exchange.expired:
                raise TimeoutError  # after a shutdown, an answer without a length looks complete
            whole = True
        except Exception as error:
            if not exchange.left and not isinstance(error, _CONNECTING):
                raise
            # Whatever a server answers, the exchange failed; the caller has no defect.
            return _failure(exchange, error, response)
        finally:
            _current.exchange = None
            self._watch.end(exchange)
            if not whole:
                if response is not None:
                    response.raw.close()
                _release(exchange, response, False)
        return Answer(
            response.status_code,
            response.headers,
            content,
            lambda understood: _release(exchange, response, understood),
        )


def _release(exchange: _Exchange, response: requests.Response | None, understood: bool) -> None:
    connection, put_back = exchange.connection, exchange.put_back
    exchange.connection = exchange.put_back = exchange.handle = None
    if connection is None:
        return
    status = response.status_code if response is not None else 0
    if (
        understood
        and put_back is not None
        and connection.sock is not None
        and not exchange.expired
        and status not in _NO_BODY
        and not connection.has_more
    ):
        put_back(connection)
        return
    connection.close()
    connection.close_handle()
    if put_back is not None:
        put_back(None)


def _content(response: requests.Response, most_bytes: int) -> bytes:
    """Read the body. Raise _TooLarge, _NotDecoded, or what urllib3 raises."""
    if response.status_code in _NO_BODY or response.status_code < 200:
        return b""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "gzip":
        pieces = _unzipped(_pieces(response.raw, most_bytes), most_bytes)
    elif encoding in ("identity", ""):
        pieces = _pieces(response.raw, most_bytes)
    else:
        raise _NotDecoded
    parts, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > most_bytes:
            raise _TooLarge
        parts.append(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _pieces(raw: Any, most_bytes: int) -> Iterator[bytes]:
    # In one piece where a possible length is stated; otherwise a page is copied once more.
    stated = raw.length_remaining or 0
    amount = stated if _FIRST_READ_BYTES < stated <= most_bytes else _FIRST_READ_BYTES
    while piece := raw.read(amount, decode_content=False):
        yield piece
        if raw.length_remaining == 0:
            break
        amount = _READ_BYTES


def _unzipped(pieces: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    """Decompress at most as much as the answer may have in all."""
    decoder = zlib.decompressobj(_GZIP)
    for packed in pieces:
        rest = packed
        while rest:
            if decoder.eof:
                raise _NotDecoded  # something follows the end
            try:
                part = decoder.decompress(rest, most_bytes + 1)
            except zlib.error as error:
                raise _NotDecoded from error
            if part:
                yield part
            rest = decoder.unconsumed_tail or decoder.unused_data
    if not decoder.eof:
        raise _NotDecoded


class _TooLarge(Exception):
    """The answer is too large."""


class _NotDecoded(Exception):
    """The answer's compression is damaged, or one that was not asked for."""


def _failure(exchange: _Exchange, error: Exception, response: requests.Response | None) -> Failure:
    if not exchange.left and _has_cause(error, ssl.SSLCertVerificationError):
        reason = "certificate"
    elif isinstance(error, _TooLarge):
        reason = "size"
    elif isinstance(error, _NotDecoded):
        reason = "encoding"
    elif exchange.expired or _has_cause(error, TimeoutError):
        reason = "time"
    else:
        reason = "broken"
    return Failure(
        exchange.left,
        reason,
        type(error).__name__,
        response.status_code if response is not None else None,
        response.headers if response is not None else {},
    )


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether `error` is, wraps or was raised because of an error of this kind."""
    waiting: list[Any] = [error]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        if isinstance(item, kind):
            return True
        seen.add(id(item))
        waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return False


def _route(origin: str) -> tuple[bool | str, dict[str, str]]:
    """Return how to verify a server and which proxies lead to it, from the environment.

    Read once: requests' own Session goes through the environment again for every request.
    """
    try:
        requests.Request("GET", f"{origin}/").prepare()
        # As DNS does: a wrong name would fail at each attempt.
        (urlsplit(origin).hostname or "").encode("idna")
        environment = requests.Session().merge_environment_settings(origin, {}, None, None, None)
    except (requests.RequestException, ValueError) as error:
        raise InvalidConfiguration(
            f"configuration: '{origin}' is no address that can be asked."
        ) from error
    verify: bool | str = environment["verify"] or True
    if isinstance(verify, str) and origin.startswith("https:"):
        _check_certificates(verify)  # some 50 ms
    if is_loopback(urlsplit(origin).hostname or ""):
        return verify, {}
    proxies = dict(environment["proxies"])
    for name, address in proxies.items():
        try:
            host = urllib3.util.parse_url(address).host
        except LocationParseError:
            host = None
        if not host:
            raise InvalidConfiguration(
                f"configuration: the variable {name.upper()}_PROXY holds no address of a proxy."
            )
    return verify, proxies


def _check_certificates(path: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise InvalidConfiguration(
            f"configuration: the certificates at '{path}' (REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE) "
            "can't be read."
        ) from error
