"""What a connection knows: whether a request left, and that every exchange ends."""

import contextlib
import gzip
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
import zlib
from urllib.parse import quote

import pytest
import trustme
from urllib3.util.connection import create_connection

from connector_runtime import errors, transport
from tests.conftest import until

GOOD = {"accountId": "AC" + 32 * "a", "authToken": "made-up", "from": "+15005550006",
        "resolveSeconds": 0}  # fmt: skip
INPUTS = {"to": "+14155550123", "body": "hush"}


def message(**changes):
    return {
        "sid": "SM" + 32 * "b", "to": INPUTS["to"], "from": GOOD["from"], "body": "hush",
        "status": "queued", "account_sid": GOOD["accountId"], "api_version": "2010-04-01",
        "date_created": "Tue, 15 May 2018 16:02:24 +0000", "date_updated": None, "date_sent": None,
        "price": None, "price_unit": "USD", "error_code": None, "error_message": None,
        "uri": "/x", "direction": "outbound-api", **changes,
    }  # fmt: skip


def answer(body, status="201 Created", *headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def read_request(peer):
    """Read one request; return its body, or None when the caller has gone."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = peer.recv(65536)
        if not piece:
            return None
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(lines.get(b"content-length", 0))
    while len(body) < length:
        body += peer.recv(65536)
    return body


class Server:
    """A server whose every connection is handled by `serve(peer, number)`; `requests` counts."""

    def __init__(self, serve, context=None):
        self.serve = serve
        self.context = context
        self.stored = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.peers = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self._one, args=(peer,), daemon=True).start()

    def _one(self, peer):
        try:
            if self.context:
                peer = self.context.wrap_socket(peer, server_side=True)
            self.serve(self, peer)
        except OSError:
            pass
        finally:
            peer.close()

    def take(self, peer):
        body = read_request(peer)
        if body is not None:
            self.stored.append(body)
        return body

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for peer in self.peers:
            peer.close()


def settings(server, **more):
    return {**GOOD, "apiBaseUrl": f"http://127.0.0.1:{server.port}", **more}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))


def tls(authority, *names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def tunnel(server, origin):
    """Serve CONNECT, and join the caller with `origin`."""

    def serve(_, peer):
        read_request(peer)
        with socket.create_connection(("127.0.0.1", origin.port)) as other:
            peer.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            for source, target in ((peer, other), (other, peer)):
                threading.Thread(target=pump, args=(source, target), daemon=True).start()
            while other.fileno() >= 0 and peer.fileno() >= 0 and not origin.done.wait(0.05):
                pass

    return serve


def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxied(authority, trusted, monkeypatch):
    """An API behind TLS and a CONNECT proxy; `serve` says what the API does."""
    opened = []

    def start(serve):
        origin = Server(serve, tls(authority, "api.test"))
        origin.done = threading.Event()
        proxy = Server(tunnel(None, origin))
        opened.extend((origin, proxy))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        return origin

    yield start
    for server in opened:
        server.__exit__()
        if hasattr(server, "done"):
            server.done.set()


def test_a_send_that_was_taken_behind_a_proxy_is_made_once_and_its_outcome_unknown(twilio, proxied):
    origin = proxied(lambda server, peer: server.take(peer))  # takes the POST, then closes
    with pytest.raises(errors.OutcomeUnknown):
        twilio.run("send_sms", INPUTS, {**GOOD, "apiBaseUrl": "https://api.test"})
    assert len(origin.stored) == 1


def test_a_send_through_a_proxy_arrives(twilio, proxied):
    def serve(server, peer):
        server.take(peer)
        peer.sendall(answer(message()))

    origin = proxied(serve)
    sms = twilio.run("send_sms", INPUTS, {**GOOD, "apiBaseUrl": "https://api.test"})
    assert sms["sid"] == "SM" + 32 * "b"
    assert len(origin.stored) == 1


def test_a_handshake_that_fails_was_never_sent(twilio, trusted):
    with Server(lambda server, peer: peer.recv(1)) as server:
        base_url = f"https://127.0.0.1:{server.port}"
        with pytest.raises(errors.NeverConnected):
            twilio.run("send_sms", INPUTS, {**GOOD, "apiBaseUrl": base_url, "maxAttempts": 1})


def drip(piece, head=b""):
    def serve(server, peer):
        server.take(peer)
        peer.sendall(head)
        while True:
            peer.sendall(piece)
            time.sleep(0.02)

    return serve


BODY = b"HTTP/1.1 201 Created\r\nContent-Length: 10000\r\n\r\n"
DRIPS = {
    "a body": drip(b" ", BODY),
    "a header": drip(b"a", b"HTTP/1.1 201 Created\r\nX: "),
    "100 Continue": drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": drip(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
}


@pytest.mark.parametrize("serve", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_ends_in_time(twilio, serve):
    with Server(serve) as server:
        started = time.monotonic()
        with pytest.raises(errors.OutcomeUnknown, match=r"No answer from Twilio within 1 s"):
            twilio.run("send_sms", INPUTS, settings(server, timeoutSeconds=1))
        assert time.monotonic() - started < 10
        until(lambda: server.stored)  # a busy machine's server may read the request later
        assert len(server.stored) == 1


def test_a_proxy_that_drips_its_answer_ends_in_time_and_nothing_left(twilio, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Server(drip(b"HTTP/1.1 200 x\r\n"[:1], b"HTTP/1.1 200 OK\r\nX: ")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        started = time.monotonic()
        chosen = {"apiBaseUrl": "https://api.test", "connectTimeoutSeconds": 0.4}
        with pytest.raises(errors.NeverConnected):
            twilio.run("send_sms", INPUTS, {**GOOD, **chosen, "maxAttempts": 1})
        assert time.monotonic() - started < 10


def test_a_connection_that_is_made_when_the_time_is_over_is_closed(twilio, monkeypatch):
    made = []

    def slow_machine(*args, **kwargs):
        made.append(create_connection(*args, **kwargs))
        time.sleep(3.2)
        return made[-1]

    monkeypatch.setattr(transport, "create_connection", slow_machine)
    with Server(lambda server, peer: server.take(peer)) as server:
        chosen = settings(server, connectTimeoutSeconds=3, maxAttempts=1)
        with pytest.raises(errors.NeverConnected):
            twilio.run("send_sms", INPUTS, chosen)
        assert [socket.fileno() for socket in made] == [-1]
        assert server.stored == []


HOSTILE = {
    "a length of 10^21": b"HTTP/1.1 201 Created\r\nContent-Length: 1" + 21 * b"0" + b"\r\n\r\n{}",
    "a length of 10^15": b"HTTP/1.1 201 Created\r\nContent-Length: 1" + 15 * b"0" + b"\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 201 Created\r\nContent-Length: -5\r\n\r\n{}",
    "a negative chunk": b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n",
    "no status line": b"\x16\x03\x01 nonsense\r\n\r\n",
    "more headers than anybody sends": b"HTTP/1.1 201 Created\r\n" + 500 * b"X: y\r\n" + b"\r\n{}",
    "damaged gzip": answer(b"\x1f\x8bnonsense", "201 Created", "Content-Encoding: gzip"),
    "a compression that was not asked for": answer(b"{}", "201 Created", "Content-Encoding: br"),
    "gzip that is cut": answer(
        gzip.compress(json.dumps(message()).encode())[:-9], "201 Created", "Content-Encoding: gzip"
    ),
    "another recipient": answer(message(to="+14155550124")),
    "no length, and cut": b"HTTP/1.1 201 Created\r\n\r\n" + json.dumps(message()).encode()[:-1],
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_whatever_an_answer_holds_the_outcome_is_unknown(twilio, content):
    def serve(server, peer):
        server.take(peer)
        peer.sendall(content)

    with Server(serve) as server:
        with pytest.raises(errors.OutcomeUnknown):
            twilio.run("send_sms", INPUTS, settings(server))
        assert len(server.stored) == 1


def bomb():
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    zeros = bytes(1024**2)
    return b"".join(squeeze.compress(zeros) for _ in range(256)) + squeeze.flush()


def test_an_answer_is_read_no_further_than_its_bound_even_when_it_is_compressed(twilio):
    import tracemalloc

    packed = answer(bomb(), "201 Created", "Content-Encoding: gzip")

    def serve(server, peer):
        server.take(peer)
        peer.sendall(packed)

    with Server(serve) as server, twilio.connect(settings(server, timeoutSeconds=30)) as connection:
        tracemalloc.start()
        with pytest.raises(errors.OutcomeUnknown, match="too large"):
            connection.run("send_sms", INPUTS)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 1024**2


def test_a_gzip_answer_is_read(twilio):
    def serve(server, peer):
        server.take(peer)
        packed = gzip.compress(json.dumps(message()).encode())
        peer.sendall(answer(packed, "201 Created", "Content-Encoding: gzip"))

    with Server(serve) as server:
        assert twilio.run("send_sms", INPUTS, settings(server))["sid"] == "SM" + 32 * "b"


@pytest.mark.parametrize("early", ["102 Processing", "103 Early Hints", "100 Continue"])
def test_an_interim_answer_is_not_the_answer(twilio, early):
    def serve(server, peer):
        while server.take(peer) is not None:
            peer.sendall(f"HTTP/1.1 {early}\r\nX-Early: yes\r\n\r\n".encode())
            number = len(server.stored)
            peer.sendall(answer(message(sid=f"SM{number:032}")))

    with Server(serve) as server, twilio.connect(settings(server)) as connection:
        sids = [connection.run("send_sms", INPUTS)["sid"] for _ in range(2)]
    assert sids == [f"SM{number:032}" for number in (1, 2)]
    assert len(server.peers) == 1  # the connection was understood, and kept


LATE = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "no JSON": answer(b"<html>", "502 Bad Gateway"),
    "another recipient": answer(message(to="+14155550124")),
    "no message": answer([]),
    "two at once": 2 * answer(message(sid="SM" + 32 * "c")),
}


@pytest.mark.parametrize("first", LATE.values(), ids=LATE)
def test_no_send_is_given_the_answer_of_another(twilio, first):
    asked_again = threading.Event()

    def serve(server, peer):
        server.take(peer)
        peer.sendall(first)
        asked_again.wait(5)
        peer.sendall(answer(message(sid="SM" + 32 * "d")))  # late, and of the first request
        server.take(peer)

    def serve_all(server, peer):
        if len(server.peers) == 1:
            serve(server, peer)
        else:
            server.take(peer)
            asked_again.set()
            peer.sendall(answer(message(sid="SM" + 32 * "e")))

    with Server(serve_all) as server, twilio.connect(settings(server)) as connection:
        with contextlib.suppress(errors.OutcomeUnknown):
            connection.run("send_sms", INPUTS)
        assert connection.run("send_sms", INPUTS)["sid"] == "SM" + 32 * "e"
        asked_again.set()


def test_a_process_that_forks_shares_no_connection(twilio):
    def serve(server, peer):
        while server.take(peer) is not None:
            peer.sendall(answer(message(sid=f"SM{len(server.stored):032}")))

    with Server(serve) as server, twilio.connect(settings(server, timeoutSeconds=5)) as connection:
        connection.run("send_sms", INPUTS)
        child = os.fork()
        if child == 0:
            try:
                connection.run("send_sms", INPUTS)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        connection.run("send_sms", INPUTS)
        assert (len(server.stored), len(server.peers)) == (3, 2)


def test_an_error_holds_no_request_and_no_secret(twilio):
    def serve(server, peer):
        server.take(peer)

    with Server(serve) as server, pytest.raises(errors.OutcomeUnknown) as caught:
        twilio.run("send_sms", INPUTS, settings(server))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_urllib3_logs_no_number(twilio, sandbox, caplog):
    caplog.set_level(logging.DEBUG)
    with twilio.connect(sandbox.settings) as connection:
        connection.check(["+14155550123"])
    asked = [request["path"] for request in sandbox.requests]
    assert f"/v2/PhoneNumbers/{quote('+14155550123')}" in asked
    assert '"GET / HTTP/1.1" 200' in caplog.text
    assert not re.search("5005550006|4155550123", caplog.text)


BROKEN_HEADS = {
    "a line that is no header": b"HTTP/1.1 201 Created\r\n+14155550123 made-up\r\nA: b\r\n\r\n{}",
    "a head that is cut off": b"HTTP/1.1 201 Created\r\nA: b\r\n+14155550123 made-up",
}


@pytest.mark.parametrize("head", BROKEN_HEADS.values(), ids=BROKEN_HEADS)
def test_what_is_no_header_is_not_logged(twilio, caplog, head):
    caplog.set_level(logging.DEBUG)

    def serve(server, peer):
        server.take(peer)
        peer.sendall(head)

    with Server(serve) as server, pytest.raises(errors.OutcomeUnknown):
        twilio.run("send_sms", INPUTS, settings(server))
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "4155550123" not in caplog.text


WRONG_ENVIRONMENT = {
    "a certificate file that is not there": ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "/nowhere"),
    "a certificate file that holds none": ("REQUESTS_CA_BUNDLE", __file__, "can't be read"),
    "a proxy without a host": ("HTTPS_PROXY", "http://:3128", "HTTPS_PROXY"),
    "a proxy with an impossible port": ("HTTPS_PROXY", "http://localhost:abc", "HTTPS_PROXY"),
}


@pytest.mark.parametrize(
    ("name", "value", "expected"), WRONG_ENVIRONMENT.values(), ids=WRONG_ENVIRONMENT
)
def test_a_wrong_environment_is_said_before_anything_is_sent(
    twilio, monkeypatch, name, value, expected
):
    monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(errors.InvalidConfiguration, match=expected):
        twilio.connect({**GOOD, "apiBaseUrl": "https://api.test"})


def test_no_certificates_are_read_for_an_address_without_tls(twilio, monkeypatch, sandbox):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with twilio.connect(sandbox.settings) as connection:
        connection.run("send_sms", INPUTS)
    assert len(sandbox.messages) == 1
