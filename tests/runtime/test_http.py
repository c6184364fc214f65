"""What crosses the wire, and what must not."""

import concurrent.futures
import http.server
import logging
import queue
import socket
import threading

import pytest

from connector_runtime import errors

INPUTS = {"to": "+14155550123", "body": "hush"}
GOOD = {"accountId": "AC" + 32 * "a", "authToken": "made-up", "from": "+15005550006",
        "resolveSeconds": 0}  # fmt: skip


def test_a_connection_that_was_never_made_is_repeated_and_not_sent(twilio, unused_url, caplog):
    caplog.set_level(logging.INFO, "connector_runtime")
    settings = {**GOOD, "apiBaseUrl": unused_url, "maxAttempts": 3}
    with pytest.raises(errors.NeverConnected) as caught:
        twilio.run("send_sms", INPUTS, settings)
    assert (caught.value.outcome, caught.value.retryable) == ("not_sent", True)
    assert "nothing was sent" in str(caught.value)
    assert len(caplog.records) == 3


def test_a_name_that_does_not_resolve_was_never_sent(twilio):
    settings = {**GOOD, "apiBaseUrl": "https://api.invalid", "maxAttempts": 1}
    with pytest.raises(errors.NeverConnected):
        twilio.run("send_sms", INPUTS, settings)


def test_a_server_that_does_not_accept_is_a_connect_timeout(twilio):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = []
        try:
            for _ in range(4):  # fill the queue of connections that nobody takes
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                fillers.append(filler)
            settings = {**GOOD, "apiBaseUrl": f"http://127.0.0.1:{port}", "maxAttempts": 1,
                        "timeoutSeconds": 0.3, "connectTimeoutSeconds": 0.3}  # fmt: skip
            with pytest.raises(errors.NeverConnected):
                twilio.run("send_sms", INPUTS, settings)
        finally:
            for filler in fillers:
                filler.close()


def test_an_unverified_certificate_gets_no_request(twilio, https_port):
    port, _, received = https_port
    with pytest.raises(errors.NeverConnected, match="certificate could not be verified") as caught:
        twilio.run("send_sms", INPUTS, {**GOOD, "apiBaseUrl": f"https://localhost:{port}"})
    assert not caught.value.retryable
    assert received == []


def test_a_certificate_of_ones_own_is_trusted_when_the_environment_names_it(
    twilio, https_port, monkeypatch
):
    port, certificate, received = https_port
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with pytest.raises(errors.Refused):
        twilio.run("send_sms", INPUTS, {**GOOD, "apiBaseUrl": f"https://localhost:{port}"})
    assert len(received) == 1


def test_a_redirect_is_not_followed(twilio, sandbox):
    sandbox.fail("redirect", times=None, location=f"{sandbox.url}/elsewhere")
    with pytest.raises(errors.InvalidAnswer, match="HTTP 302, which is not followed"):
        twilio.run("get_all_sms", {}, sandbox.settings)
    assert len(sandbox.requests) == 1


def test_a_netrc_file_never_replaces_the_credentials(twilio, sandbox, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login intruder password made-up\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    twilio.run("send_sms", INPUTS, sandbox.settings)
    assert sandbox.requests[-1]["user"] == sandbox.account_sid


@pytest.fixture
def proxy():
    """A proxy that records what it is asked for and refuses to connect."""
    asked = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self):
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_): ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f"http://proxy-user:hush@127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_proxy_from_the_environment_is_used_and_a_refusal_there_was_never_sent(
    twilio, proxy, monkeypatch
):
    import traceback

    url, asked = proxy
    monkeypatch.setenv("HTTPS_PROXY", url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(errors.NeverConnected) as caught:
        twilio.run("send_sms", INPUTS, {**GOOD, "apiBaseUrl": "https://api.invalid",
                                        "maxAttempts": 1})  # fmt: skip
    assert asked == ["api.invalid:443"]
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_a_loopback_address_is_never_asked_through_a_proxy(twilio, sandbox, proxy, monkeypatch):
    url, asked = proxy
    monkeypatch.setenv("HTTP_PROXY", url)
    monkeypatch.setenv("http_proxy", url)
    twilio.run("send_sms", INPUTS, sandbox.settings)
    assert asked == []


def test_a_connection_is_kept_alive_and_shared_by_threads(connection, sandbox):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        numbers = [f"+1415555{n:04}" for n in range(64)]
        sent = list(
            pool.map(lambda to: connection.run("send_sms", {"to": to, "body": to}), numbers)
        )
    assert [sms["to"] for sms in sent] == numbers
    assert all(sms["body"] == sms["to"] for sms in sent)
    assert len({request["peer"] for request in sandbox.requests}) <= 16
    assert len({sms["sid"] for sms in sent}) == 64


def test_a_closed_connection_refuses_to_run(connection, sandbox):
    connection.close()
    with pytest.raises(RuntimeError, match="closed"):
        connection.run("send_sms", INPUTS)
    assert sandbox.requests == []


def test_closing_ends_the_waiting_between_attempts(twilio, sandbox):
    sandbox.fail("throttle", times=None, retry_after=30)
    connection = twilio.connect({**sandbox.settings, "timeoutSeconds": 60})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(connection.run, "send_sms", INPUTS)
        while not (sandbox.requests and sandbox.requests[-1]["status"]):
            assert not waiting.done()
        connection.close()
        assert isinstance(waiting.exception(timeout=20), errors.Throttled)


@pytest.mark.parametrize("value", ["soon", "-1", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "٣"])
def test_a_retry_after_that_is_no_number_of_seconds_is_left_to_the_back_off(
    twilio, sandbox, sent, value
):
    if not value.isascii():
        value = value.encode().decode("latin-1")
    sandbox.fail("throttle", times=None, retry_after=value)
    with pytest.raises(errors.Throttled) as caught:
        twilio.run("send_sms", INPUTS, {**sandbox.settings, "maxAttempts": 2})
    assert caught.value.retry_after_seconds is None
    assert len(sent()) == 2


def test_the_log_names_action_attempt_status_duration_and_request(connection, sandbox, caplog):
    import re

    caplog.set_level(logging.INFO, "connector_runtime")
    sandbox.fail("throttle")
    connection.run("send_sms", INPUTS)
    lines = [record.getMessage() for record in caplog.records]
    pattern = r"send_sms attempt {}: HTTP {} in [0-9]+ ms, request RQ[0-9a-f]{{32}}"
    assert re.fullmatch(pattern.format(1, 429), lines[0])
    assert re.fullmatch(pattern.format(2, 201), lines[1])


def test_every_global_reaches_every_handler_and_no_secret_does(twilio, sandbox, monkeypatch):
    seen = []
    settings = {**sandbox.settings, "voice_url": "https://example.com/voice.xml"}
    with twilio.connect(settings) as connection:
        for action in twilio.actions.values():
            call = connection._call(action)
            seen.append(dict(call.globals))
            assert sandbox.auth_token not in repr(call)
            assert "authToken" not in call.settings
    assert seen == 3 * [{"from": "+15005550006", "voice_url": "https://example.com/voice.xml"}]


def test_the_credentials_show_in_no_repr(connection, sandbox):
    assert sandbox.auth_token not in repr(vars(connection)["_http"]._service)
    assert sandbox.auth_token not in repr(vars(vars(connection)["_http"]))


def test_closing_closes_the_connections_that_were_kept_alive(twilio):
    ended = queue.SimpleQueue()

    def serve(listener):
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(10)
            while not peer.recv(65536).endswith(b"\r\n\r\n"):
                pass
            peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
            ended.put(peer.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = {"accountId": "AC" + 32 * "a", "authToken": "made-up", "apiBaseUrl": url}
        connection = twilio.connect(settings)
        with pytest.raises(errors.NotFound):
            connection.run("get_sms_information", {"sid": "SM" + 32 * "a"})
        assert ended.empty()
        connection.close()
        assert ended.get(timeout=10) == b""
        thread.join()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_request_that_may_have_a_body_states_that_it_has_none(connection, method):
    request = connection._http.prepare(method, "/2010-04-01/Accounts")
    assert (request.body, request.headers["Content-Length"]) == (b"", "0")
