"""A server that behaves like Twilio until a chosen moment, and then like a fault.

It stands as a plain server, a TLS server, a proxy with a tunnel to a TLS server (CONNECT), or such
a proxy that is itself reached over TLS. What it *stored* is what Twilio would have sent: a POST
counts from the moment when its whole body arrived.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import itertools
import json
import os
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

KINDS = ("plain", "TLS", "CONNECT tunnel", "https proxy")
NAME = "api.example.test"  # reached through proxies only, so nobody resolves it
ACCOUNT = "AC" + 32 * "a"
TOKEN = "made-up-token-of-nobody"
SENDER = "+15005550006"

_PACE = 0.05  # seconds between the bytes of a drip
_LONGEST = 30.0  # seconds after which a hang or a drip gives up, as a test must end
_SIDS = itertools.count(1)


class Gone(Exception):
    """The connection is over for the server."""


class Certificates:
    """One authority that the tests trust, and what it and others issued."""

    def __init__(self, folder: Path) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        self.bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.bundle)
        past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        names = (NAME, "127.0.0.1")
        self.good = _context(authority.issue_cert(*names))
        self.bad = {
            "unknown authority": _context(stranger.issue_cert(*names)),
            "another name": _context(authority.issue_cert("other.example.test")),
            "expired": _context(authority.issue_cert(*names, not_after=past)),
        }


def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


class Raw:
    """The socket itself."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.paced = False

    def recv(self, size: int) -> bytes:
        return self.sock.recv(size)

    def sendall(self, data: bytes) -> None:
        for piece in self.server.pieces(data, self.paced):
            self.sock.sendall(piece)


class Tls:
    """TLS over the layer below, which may be TLS again."""

    def __init__(self, server: Server, below: Raw | Tls, context: ssl.SSLContext) -> None:
        self.server = server
        self.below = below
        self.paced = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def handshake(self, hello: Callable[[], None], halfway: Callable[[], None]) -> None:
        """Shake hands; call `hello` after the client's first bytes, `halfway` within the answer."""
        self._receive()
        hello()
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        flight = self._outgoing.read()
        self.below.sendall(flight[: len(flight) // 2])
        halfway()
        self.below.sendall(flight[len(flight) // 2 :])
        self._pump(self._tls.do_handshake)

    def recv(self, size: int) -> bytes:
        try:
            return self._pump(self._tls.read, size)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def sendall(self, data: bytes) -> None:
        for piece in self.server.pieces(data, self.paced):
            self._pump(self._tls.write, piece)

    def goodbye(self) -> None:
        """Say that nothing more comes, as a polite server does before it closes."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
            self._tls.unwrap()
        self.below.sendall(self._outgoing.read())

    def _receive(self) -> None:
        data = self.below.recv(65536)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _pump(self, step: Callable[..., Any], *arguments: Any) -> Any:
        while True:
            try:
                result = step(*arguments)
            except ssl.SSLWantReadError:
                self.below.sendall(self._outgoing.read())
                self._receive()
                continue
            self.below.sendall(self._outgoing.read())
            return result


class Wire:
    """One connection as the server sees it: `top` is the layer that speaks at the moment."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.raw = Raw(server, sock)
        self.top: Raw | Tls = self.raw
        self.unread = b""
        self.requests = 0

    def send(self, data: bytes) -> None:
        self.top.sendall(data)

    def read_until(self, mark: bytes) -> bytes:
        while mark not in self.unread:
            self._more()
        head, _, self.unread = self.unread.partition(mark)
        return head

    def read(self, size: int) -> bytes:
        while len(self.unread) < size:
            self._more()
        data, self.unread = self.unread[:size], self.unread[size:]
        return data

    def _more(self) -> None:
        data = self.top.recv(65536)
        if not data:
            raise Gone
        self.unread += data


Act = Callable[[Wire], None]


def close(wire: Wire) -> None:
    """Close the socket; over TLS without a word, as a process that dies does."""
    raise Gone


def goodbye(wire: Wire) -> None:
    """Close as TLS wants it, with a notice."""
    if isinstance(wire.top, Tls):
        wire.top.goodbye()
    raise Gone


def reset(wire: Wire) -> None:
    wire.raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Gone


def hang(wire: Wire) -> None:
    wire.server.stopping.wait(_LONGEST)
    raise Gone


def garbage(wire: Wire) -> None:
    """Send bytes that mean nothing, inside whatever encryption there is by now, and close."""
    wire.send(random.Random(7).randbytes(200) + b"\r\n\r\n")
    raise Gone


def noise(wire: Wire) -> None:
    """Send bytes that mean nothing outside the encryption, where TLS expects its records."""
    wire.raw.sendall(random.Random(8).randbytes(200))
    raise Gone


def drip(wire: Wire) -> None:
    """From now on, send byte by byte."""
    wire.top.paced = True


def trickle(wire: Wire) -> None:
    """From now on, send byte by byte below the encryption, so that no record is ever whole."""
    wire.raw.paced = True


ACTS: dict[str, Act] = {"close": close, "reset": reset, "hang": hang, "garbage": garbage,
                        "drip": drip}  # fmt: skip
Respond = Callable[[Wire, Mapping[str, str]], None]


class Server:
    """The server from `with` to the end of it.

    `acts` maps a phase to what a connection meets there. `respond` replaces the whole answer to
    a POST. `refusal` is what a proxy answers in place of its 200.
    """

    def __init__(
        self,
        kind: str,
        certificates: Certificates,
        acts: Mapping[str, Act] | None = None,
        *,
        respond: Respond | None = None,
        refusal: bytes | None = None,
        origin: ssl.SSLContext | None = None,
        proxy: ssl.SSLContext | None = None,
        framing: str = "length",
    ) -> None:
        self.kind = kind
        self.certificates = certificates
        self.acts = acts or {}
        self.respond = respond or answer
        self.refusal = refusal
        self.origin = origin or certificates.good
        self.proxy = proxy or certificates.good
        self.framing = framing
        self.stopping = threading.Event()
        self.stored: list[dict[str, str]] = []
        self.arrived: list[str] = []  # the request lines that reached the origin
        self.asked: list[str] = []  # what a proxy was asked for
        self.connections = 0
        self.ended = 0  # connections that are over
        self.changed = threading.Condition()
        self.faults: list[BaseException] = []  # of the server's own
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Server:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(10)  # first: it adds to both lists
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        assert not self.faults, self.faults

    @property
    def base_url(self) -> str:
        if self.kind in ("plain", "TLS"):
            return f"http{'s' if self.kind == 'TLS' else ''}://127.0.0.1:{self.port}"
        return f"https://{NAME}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables under which the connector reaches this server."""
        return environment(self.kind, self.port, self.certificates)

    def pieces(self, data: bytes, paced: bool) -> Iterator[bytes]:
        if not paced:
            if data:
                yield data
            return
        ends = time.monotonic() + _LONGEST
        for place in range(len(data)):
            yield data[place : place + 1]
            if self.stopping.wait(_PACE) or time.monotonic() > ends:
                raise Gone

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                self._sockets.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                self._converse(Wire(self, sock))
        except (Gone, OSError):  # ssl's errors are OSErrors too
            pass
        except BaseException as fault:  # noqa: BLE001 - shown when the server ends
            self.faults.append(fault)
        with self.changed:
            self.ended += 1
            self.changed.notify_all()

    def _reach(self, phase: str, wire: Wire) -> None:
        act = self.acts.get(phase)
        if act is not None:
            act(wire)

    def _converse(self, wire: Wire) -> None:
        self._reach("accepted", wire)
        if self.kind == "https proxy":
            self._handshake(wire, self.proxy, "proxy")
        if self.kind in ("CONNECT tunnel", "https proxy"):
            self.asked.append(wire.read_until(b"\r\n\r\n").decode("latin-1").splitlines()[0])
            self._reach("CONNECT read", wire)
            if self.refusal is not None:
                wire.send(self.refusal)
                raise Gone
            wire.send(b"HTTP/1.1 2")
            self._reach("within the proxy's 200", wire)
            wire.send(b"00 Connection established\r\nVia: 1.1 exam")
            self._reach("within the proxy's headers", wire)
            wire.send(b"ple\r\n\r\n")
            self._reach("CONNECT answered", wire)
        if self.kind != "plain":
            self._handshake(wire, self.origin, "origin")
        while True:
            self._exchange(wire)

    def _handshake(self, wire: Wire, context: ssl.SSLContext, whose: str) -> None:
        layer = Tls(self, wire.top, context)
        layer.handshake(
            lambda: self._reach(f"{whose}'s hello", wire),
            lambda: self._reach(f"within the {whose}'s handshake", wire),
        )
        wire.top = layer

    def _exchange(self, wire: Wire) -> None:
        self._reach("before the request", wire)
        if "within the request" in self.acts:
            wire.read(20)
            self._reach("within the request", wire)
            raise Gone  # only a drip comes here, and an answer to half a request is none
        lines = wire.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        body = wire.read(int(headers.get("content-length", 0))).decode()
        form = {name: values[-1] for name, values in parse_qs(body).items()}
        wire.requests += 1
        self.arrived.append(lines[0])
        if lines[0].startswith("POST"):
            self.stored.append(form)
        self._reach("request read", wire)
        self.respond(wire, form or _looked_up(lines[0]))
        self._reach("answered", wire)


def _looked_up(line: str) -> dict[str, str]:
    return {
        "To": "+14155550123",
        "Body": "looked up",
        "Sid": urlsplit(line.split()[1]).path[-39:-5],
    }


def message(form: Mapping[str, str]) -> dict[str, Any]:
    """The message that Twilio answers to this form."""
    sid = form.get("Sid", f"SM{next(_SIDS):032x}")
    uri = f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}"
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S +0000")
    return {
        "sid": sid, "account_sid": ACCOUNT, "api_version": "2010-04-01", "uri": uri + ".json",
        "to": form["To"], "from": form.get("From", SENDER), "body": form["Body"],
        "status": "queued", "direction": "outbound-api", "date_created": now, "date_updated": now,
        "date_sent": None, "price": None, "price_unit": "USD", "error_code": None,
        "error_message": None, "num_media": "0", "num_segments": "1",
        "messaging_service_sid": None, "subresource_uris": {"media": uri + "/Media.json"},
    }  # fmt: skip


def answer(wire: Wire, form: Mapping[str, str], status: bytes = b"201 Created") -> None:
    """Answer with the message, compressed as Twilio does, and pass the phases of an answer."""
    body = gzip.compress(json.dumps(message(form)).encode())
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n"
    head += b"Twilio-Request-Id: RQ" + 32 * b"b" + b"\r\nContent-Encoding: gzip\r\n"
    if wire.server.framing == "chunked":
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        half = len(body) // 2
        body = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (
            half,
            body[:half],
            len(body) - half,
            body[half:],
        )
    else:
        head += b"Content-Length: %d\r\n\r\n" % len(body)
    reach = wire.server._reach
    wire.send(head[:11])
    reach("within the status line", wire)
    wire.send(head[11:60])
    reach("within the headers", wire)
    wire.send(head[60:] + body[: len(body) // 2])
    reach("within the body", wire)
    wire.send(body[len(body) // 2 :])


_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_ENVIRONMENT = threading.Lock()


def environment(kind: str, port: int, certificates: Certificates) -> dict[str, str]:
    variables = {"REQUESTS_CA_BUNDLE": str(certificates.bundle)}
    if kind in ("CONNECT tunnel", "https proxy"):
        scheme = "http" if kind == "CONNECT tunnel" else "https"
        variables["HTTPS_PROXY"] = f"{scheme}://127.0.0.1:{port}"
    return variables


@contextlib.contextmanager
def connected(
    twilio: Any, base_url: str, variables: Mapping[str, str], **options: Any
) -> Iterator[Any]:
    """Connect with these environment variables and settings; an unknown option is left out."""
    known = {entry["name"] for entry in twilio.manifest["options"]}
    settings = {
        "accountId": ACCOUNT, "authToken": TOKEN, "from": SENDER, "apiBaseUrl": base_url,
        **{name: value for name, value in options.items() if name in known},
    }  # fmt: skip
    both = {name: "" for upper in _PROXIES for name in (upper, upper.lower())}
    with _ENVIRONMENT:  # it is the process's
        before = {name: os.environ.get(name) for name in {**both, **variables}}
        for name in both:
            os.environ.pop(name, None)
        os.environ.update(variables)
        try:
            connection = twilio.connect(settings)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
    with connection:
        yield connection
