"""Every fault in every phase of every kind of connection: what was stored, and what was said.

All cells are run at once in threads, since most of their time is waiting.
"""

import concurrent.futures
import itertools
import socket
import ssl
import time
from typing import Any, NamedTuple

import pytest

from connector_runtime import ConnectorError, errors
from tests.faults import server as faults

# CPython's ssl leaves a socket that was reset before the handshake for the garbage collection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

ATTEMPTS = 2
PAUSES = 0.3  # the back-off between two attempts
SLACK = 10  # many threads share two cores
TO = "+14155550123"

# Whether the request had left: "no" (surely not), "maybe", "yes" (surely), or "answered".
TLS_HANDSHAKE = {
    "origin's hello": "no",
    "within the origin's handshake": "no",
}
TUNNEL = {
    "CONNECT read": "no",
    "within the proxy's 200": "no",
    "within the proxy's headers": "no",
    "CONNECT answered": "no",
}
EXCHANGE = {
    "before the request": "maybe",
    "within the request": "yes",
    "request read": "yes",
    "within the status line": "yes",
    "within the headers": "yes",
    "within the body": "yes",
    "answered": "answered",
}
PHASES = {
    "plain": EXCHANGE,
    "TLS": {"accepted": "no", **TLS_HANDSHAKE, **EXCHANGE},
    "CONNECT tunnel": {"accepted": "no", **TUNNEL, **TLS_HANDSHAKE, **EXCHANGE},
    "https proxy": {
        "accepted": "no",
        "proxy's hello": "no",
        "within the proxy's handshake": "no",
        **TUNNEL,
        **TLS_HANDSHAKE,
        **EXCHANGE,
    },
}
REFUSALS = {
    "407": b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nhush",
    "502": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "302": b"HTTP/1.1 302 Found\r\nLocation: https://other.example.test/\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "huge header": b"HTTP/1.1 200 OK\r\nX: " + 70_000 * b"x",
    "many headers": b"HTTP/1.1 200 OK\r\n" + 20_000 * b"X: y\r\n",
    "many 100s": 2000 * b"HTTP/1.1 100 Continue\r\n\r\n",
    "200 and a page": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
}


class Cell(NamedTuple):
    kind: str
    phase: str
    act: str
    left: str
    action: str = "send_sms"
    framing: str = "length"

    @property
    def patience(self):
        """Seconds to be answered: few only where they are waited for in vain.

        On a busy machine, any answer may take longer than that.
        """
        is_slow = self.act in ("hang", "drip", "trickle") and self.left != "answered"
        return 0.6 if is_slow or self.phase == "nobody accepts" else 20

    @property
    def patience_to_connect(self):
        return self.patience if self.left == "no" else 20

    @property
    def id(self):
        more = "" if self.framing == "length" else f", {self.framing}"
        return f"{self.action}: {self.kind}: {self.phase}: {self.act}{more}"


class Seen(NamedTuple):
    """What came of a call. `raised` is None where it returned."""

    output: Any
    raised: BaseException | None
    stored: list[dict[str, str]]
    seconds: float


def cells():
    for kind, phases in PHASES.items():
        for (phase, left), act in itertools.product(phases.items(), faults.ACTS):
            yield Cell(kind, phase, act, left)
    for kind in ("TLS", "CONNECT tunnel", "https proxy"):
        for phase, act in itertools.product(EXCHANGE, ("goodbye", "noise", "trickle")):
            yield Cell(kind, phase, act, EXCHANGE[phase])
        for name in ("unknown authority", "another name", "expired"):
            yield Cell(kind, "origin's certificate", name, "no")
    for name in ("unknown authority", "another name", "expired"):
        yield Cell("https proxy", "proxy's certificate", name, "no")
    for kind, name in itertools.product(("CONNECT tunnel", "https proxy"), REFUSALS):
        yield Cell(kind, "proxy refuses", name, "no")
    for kind in ("plain", "TLS"):
        for phase, act in itertools.product(EXCHANGE, faults.ACTS):
            yield Cell(kind, phase, act, EXCHANGE[phase], framing="chunked")
            yield Cell(kind, phase, act, EXCHANGE[phase], action="get_sms_information")
    for kind, phase in itertools.product(PHASES, ("refused", "nobody accepts", "no name")):
        if (kind, phase) != ("plain", "no name"):  # plain http is for loopback alone
            yield Cell(kind, phase, "", "no")


CELLS = {cell.id: cell for cell in cells()}


def act(cell):
    more = {"goodbye": faults.goodbye, "noise": faults.noise, "trickle": faults.trickle}
    return {**faults.ACTS, **more}[cell.act]


def served(cell, certificates):
    if cell.phase == "proxy refuses":
        return faults.Server(cell.kind, certificates, refusal=REFUSALS[cell.act])
    if cell.phase == "origin's certificate":
        return faults.Server(cell.kind, certificates, origin=certificates.bad[cell.act])
    if cell.phase == "proxy's certificate":
        return faults.Server(cell.kind, certificates, proxy=certificates.bad[cell.act])
    return faults.Server(cell.kind, certificates, {cell.phase: act(cell)}, framing=cell.framing)


def observe(twilio, cell, certificates):
    if cell.phase == "no name":
        variables = {**faults.environment(cell.kind, 1, certificates)}
        if "HTTPS_PROXY" in variables:
            variables["HTTPS_PROXY"] = variables["HTTPS_PROXY"].replace("127.0.0.1", "p.invalid")
        url = "https://api.invalid" if cell.kind == "TLS" else f"https://{faults.NAME}"
        return call(twilio, cell, url, variables)
    if cell.phase in ("refused", "nobody accepts"):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))  # bound and not listening: refused
            port = silent.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            if cell.phase == "nobody accepts":
                silent.listen(0)
                for filler in fillers:  # fill the queue of connections that nobody takes
                    filler.setblocking(False)
                    filler.connect_ex(("127.0.0.1", port))
            direct = f"http{'' if cell.kind == 'plain' else 's'}://127.0.0.1:{port}"
            url = direct if cell.kind in ("plain", "TLS") else f"https://{faults.NAME}"
            try:
                variables = faults.environment(cell.kind, port, certificates)
                return call(twilio, cell, url, variables)
            finally:
                for filler in fillers:
                    filler.close()
    with served(cell, certificates) as server:
        seen = call(twilio, cell, server.base_url, server.environment)
    # The server has read all that was sent to it, even what it read after the call had ended.
    return seen._replace(stored=list(server.stored))


def call(twilio, cell, url, variables):
    inputs = {"to": TO, "body": "secret words"}
    if cell.action == "get_sms_information":
        inputs = {"sid": "SM" + 32 * "c"}
    options = {
        "connectTimeoutSeconds": cell.patience_to_connect,
        "timeoutSeconds": cell.patience,
        "maxAttempts": ATTEMPTS,
        "resolveSeconds": 0,
    }
    output = raised = None
    with faults.connected(twilio, url, variables, **options) as connection:
        started = time.perf_counter()
        try:
            output = connection.run(cell.action, inputs)
        except BaseException as error:  # noqa: BLE001 - the test says which may come
            raised = error
        seconds = time.perf_counter() - started
    return Seen(output, raised, [], seconds)


@pytest.fixture(scope="module")
def seen(twilio_folder, certificates):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        futures = {
            name: pool.submit(observe, twilio_folder, cell, certificates)
            for name, cell in CELLS.items()
        }
        return {name: future.result() for name, future in futures.items()}


def faults_of(cell, seen):
    """Everything that is wrong with what was seen in a cell."""
    error, stored = seen.raised, len(seen.stored)
    said = "returned" if error is None else getattr(error, "outcome", "no ConnectorError")
    is_send = cell.action == "send_sms"
    if error is not None and not isinstance(error, ConnectorError):
        yield f"raised {error!r}"
    attempts = ATTEMPTS if error is not None and getattr(error, "retryable", False) else 1
    longest = attempts * 2 * cell.patience + (attempts - 1) * PAUSES + SLACK
    longest = min(longest, 20)  # where nothing is waited for in vain, no time-out may pass
    if seen.seconds > longest:
        yield f"took {seen.seconds:.1f} s where {longest:.1f} s is the most"
    if error is None and cell.left not in ("answered", "maybe"):
        whole = cell.act in ("drip", "trickle")  # a drip may be fast enough
        if not whole:
            yield "returned a message that was never answered"
    if not is_send:
        if said == "unknown":
            yield "said that the outcome of a read is unknown"
        return
    if stored > 1:
        yield f"stored {stored} messages"
    if stored and said not in ("returned", "unknown"):
        yield f"said {said} of a message that was stored"
    if getattr(error, "retryable", False) and stored:
        yield "invited to repeat what was stored"
    if cell.left == "no" and not isinstance(error, errors.NeverConnected):
        yield f"said {said} ({type(error).__name__}) where nothing had left"
    if cell.left in ("yes", "answered") and said == "not_sent":
        yield "said not_sent where the request had left"
    if cell.left == "answered" and cell.act in ("close", "goodbye", "hang") and error is not None:
        yield f"said {said} of a whole answer"
    if error is None and (seen.output["to"], stored) != (TO, 1):
        yield "returned a message that is not the one stored"


def test_what_is_said_is_what_was_stored(seen):
    """All cells in one test, so that each is seen once, in one of pytest's processes."""
    wrong = {name: (list(faults_of(cell, seen[name])), seen[name]) for name, cell in CELLS.items()}
    assert {name: what for name, what in wrong.items() if what[0]} == {}
    # A server that refuses everything would pass until here
    for name, cell in CELLS.items():
        if cell.action == "send_sms" and cell.left == "no":
            assert not seen[name].stored, name
        if cell.phase in ("request read", "within the status line", "within the headers",
                          "within the body") and cell.action == "send_sms":  # fmt: skip
            assert seen[name].stored, name
    assert sum(bool(observed.stored) for observed in seen.values()) > 80
    assert ssl.HAS_TLSv1_3
