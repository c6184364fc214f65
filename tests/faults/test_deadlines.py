"""The time to connect and the time to answer are two, and each call keeps its own."""

import concurrent.futures
import socket
import subprocess
import sys
import threading
import time

import pytest

from connector_runtime import errors
from tests.conftest import ROOT
from tests.faults import server as faults

INPUTS = {"to": "+14155550123", "body": "x"}
SLACK = 10  # a busy machine is late


def slow(seconds):
    """Wait, and go on."""
    return lambda wire: wire.server.stopping.wait(seconds) and None


def timed(connection):
    started = time.perf_counter()
    try:
        said = connection.run("send_sms", INPUTS)
    except errors.ConnectorError as error:
        said = error
    return said, time.perf_counter() - started


@pytest.mark.parametrize(
    ("phase", "act", "connect", "answer", "expected", "longest"),
    [
        ("request read", slow(4), 3, 20, dict, 20),
        ("within the body", slow(4), 3, 20, dict, 20),
        ("within the body", faults.drip, 20, 0.5, errors.OutcomeUnknown, 0.5),
        ("request read", faults.hang, 20, 0.5, errors.OutcomeUnknown, 0.5),
        ("within the origin's handshake", slow(4), 20, 3, dict, 20),
        ("within the origin's handshake", faults.trickle, 0.5, 20, errors.NeverConnected, 0.5),
        ("accepted", faults.hang, 0.5, 20, errors.NeverConnected, 0.5),
    ],
)
@pytest.mark.parametrize("kind", ["TLS", "https proxy"])
def test_each_phase_has_its_own_time(
    twilio_folder, certificates, kind, phase, act, connect, answer, expected, longest
):
    options = {"connectTimeoutSeconds": connect, "timeoutSeconds": answer, "maxAttempts": 1,
               "resolveSeconds": 0}  # fmt: skip
    with (
        faults.Server(kind, certificates, {phase: act}) as server,
        faults.connected(
            twilio_folder, server.base_url, server.environment, **options
        ) as connection,
    ):
        said, seconds = timed(connection)
    assert isinstance(said, expected), repr(said)
    assert seconds < longest + SLACK


def test_a_call_that_ends_early_does_not_wait_for_one_that_ends_late(twilio_folder, certificates):
    arrived = threading.Event()

    def first_hangs(wire):
        if wire.server.connections == 1:
            arrived.set()
            faults.hang(wire)

    acts = {"accepted": first_hangs, "within the body": faults.drip}
    options = {"connectTimeoutSeconds": 8, "timeoutSeconds": 0.5, "maxAttempts": 1,
               "resolveSeconds": 0}  # fmt: skip
    with (
        faults.Server("TLS", certificates, acts) as server,
        faults.connected(
            twilio_folder, server.base_url, server.environment, **options
        ) as connection,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        late = pool.submit(timed, connection)
        assert arrived.wait(10)
        said, seconds = timed(connection)
        assert isinstance(said, errors.OutcomeUnknown)
        assert seconds < 0.5 + SLACK
        assert not late.done()
        server.__exit__()
        assert isinstance(late.result(10)[0], errors.NeverConnected)


def watching(before=()):
    threads = {thread for thread in threading.enumerate() if thread.name == "connector-watch"}
    return threads.difference(before)


def test_one_thread_watches_all_calls_and_ends_when_there_are_none(twilio_folder, certificates):
    before = watching()  # of connections that other tests have closed
    with (
        faults.Server("plain", certificates) as server,
        faults.connected(
            twilio_folder,
            server.base_url,
            {},
            timeoutSeconds=5,
            resolveSeconds=0,
        ) as connection,
    ):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(connection.run, "send_sms", INPUTS) for _ in range(40)]:
                future.result()
                assert len(watching(before)) <= 1
        ends = time.monotonic() + 10
        while watching(before):
            assert time.monotonic() < ends
            time.sleep(0.01)
        server.acts = {"within the body": faults.drip}
        said, seconds = timed(connection)  # and begins again
        assert isinstance(said, errors.OutcomeUnknown)
        assert seconds < 5 + SLACK


def test_a_program_ends_without_waiting_for_what_could_have_taken_long(certificates):
    program = (
        "import sys; from connector_runtime import load\n"
        f"twilio = load({str(ROOT)!r})\n"
        "print(twilio.run('send_sms', {'to': '+14155550123', 'body': 'x'}, {\n"
        f"    'accountId': {faults.ACCOUNT!r}, 'authToken': 'x', 'from': '+15005550006',\n"
        "    'apiBaseUrl': sys.argv[1], 'connectTimeoutSeconds': 30})['body'], flush=True)\n"
    )
    with faults.Server("plain", certificates) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", program, server.base_url],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == "x\n"
        assert process.wait(15) == 0
        process.stdout.close()


@pytest.mark.parametrize("kind", faults.KINDS)
def test_a_kept_connection_keeps_to_its_time_too(twilio_folder, certificates, kind):
    options = {"connectTimeoutSeconds": 9, "timeoutSeconds": 4, "resolveSeconds": 0}
    with (
        faults.Server(kind, certificates) as server,
        faults.connected(
            twilio_folder, server.base_url, server.environment, **options
        ) as connection,
    ):
        connection.run("send_sms", INPUTS)
        server.acts = {"within the body": faults.drip}
        said, seconds = timed(connection)
        assert server.connections == 1
    assert isinstance(said, errors.OutcomeUnknown)
    assert seconds < 4 + SLACK


@pytest.mark.parametrize("kind", ["CONNECT tunnel", "https proxy"])
def test_what_fails_while_connecting_again_has_not_left(twilio_folder, certificates, kind):
    options = {"timeoutSeconds": 5, "maxAttempts": 1, "resolveSeconds": 0}
    with (
        faults.Server(kind, certificates, {"answered": faults.close}) as server,
        faults.connected(
            twilio_folder, server.base_url, server.environment, **options
        ) as connection,
    ):
        connection.run("send_sms", INPUTS)
        with server.changed:
            assert server.changed.wait_for(lambda: server.ended == 1, 10)
        server.acts = {"CONNECT read": faults.close}
        said, _ = timed(connection)
        assert isinstance(said, errors.NeverConnected)
        assert len(server.stored) == 1


def test_a_name_that_is_not_found_in_time_was_never_connected(twilio_folder, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(20) and [])
    options = {"connectTimeoutSeconds": 0.5, "maxAttempts": 1}
    with faults.connected(twilio_folder, "https://api.invalid", {}, **options) as connection:
        said, seconds = timed(connection)
    ended.set()
    assert isinstance(said, errors.NeverConnected)
    assert seconds < 0.5 + SLACK


def test_a_name_that_nobody_knows_is_told_at_once(twilio_folder, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    options = {"connectTimeoutSeconds": 20, "maxAttempts": 1}
    with faults.connected(twilio_folder, "https://api.invalid", {}, **options) as connection:
        said, seconds = timed(connection)
    assert isinstance(said, errors.NeverConnected)
    assert seconds < SLACK
