"""Which of Twilio's hosts are asked, over TLS and through a proxy: every connection ends here."""

import contextlib
import select
import socket
import ssl
import threading

import pytest
import trustme
from test_doctor import CO, outcomes

from connector_runtime import errors

HOSTS = ("accounts", "api", "lookups", "messaging", "voice")


class Proxy:
    """A proxy that answers CONNECT itself, for any name, with what the sandbox answers."""

    def __init__(self, sandbox, refuses=False):
        self.sandbox, self.refuses, self.asked = sandbox, refuses, []
        self.authority = trustme.CA()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.open = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self.listener.accept()
                self.open.append(client)
                threading.Thread(target=self.tunnel, args=(client,), daemon=True).start()

    def tunnel(self, client):
        with contextlib.suppress(OSError, ssl.SSLError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(4096)
                if not piece:
                    return
                head += piece
            name, _, port = head.split()[1].decode().rpartition(":")
            self.asked.append((name, port))
            if self.refuses:
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                client.close()
                return
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.authority.issue_cert(name).configure_cert(context)
            with (
                context.wrap_socket(client, server_side=True) as secure,
                socket.create_connection(("127.0.0.1", self.sandbox.port)) as server,
            ):
                self.open += [secure, server]
                self.copy(secure, server)

    def copy(self, secure, server):
        """Copy both ways, in one thread: two must not use a TLS connection at the same time."""
        targets = {secure: server, server: secure}
        while True:
            sources = [secure] if secure.pending() else select.select(list(targets), [], [])[0]
            for source in sources:
                data = source.recv(65536)
                if not data:
                    return
                targets[source].sendall(data)

    def close(self):
        self.listener.close()
        for opened in self.open:
            opened.close()


@pytest.fixture
def proxy(sandbox, monkeypatch, tmp_path):
    """A function that puts a proxy between the connector and the sandbox."""
    started = []

    def start(refuses=False):
        running = Proxy(sandbox, refuses)
        started.append(running)
        running.authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("HTTPS_PROXY", running.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        for name in ("NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        return running

    yield start
    for running in started:
        running.close()


@pytest.mark.parametrize(
    ("base", "suffix", "region"),
    [
        ("https://api.twilio.com", "twilio.com", "default"),
        ("https://api.dublin.ie1.twilio.com", "dublin.ie1.twilio.com", "region"),
        ("https://api.us1.twilio.com", "us1.twilio.com", "default"),
    ],
)
def test_each_question_goes_to_the_host_that_answers_it(
    twilio_folder, sandbox, proxy, base, suffix, region
):
    running = proxy()
    settings = {**sandbox.settings, "apiBaseUrl": base}
    with twilio_folder.connect(settings) as connection:
        findings = connection.check([CO])
    assert {name for name, _ in running.asked} == {f"{host}.{suffix}" for host in HOSTS}
    assert {port for _, port in running.asked} == {"443"}
    assert outcomes(findings)["region"] == region
    assert [finding for finding in findings if finding.verdict != "holds"] == []
    by_host = {
        request["headers"]["Host"].partition(".")[0]: request["path"]
        for request in sandbox.requests
    }
    assert by_host["lookups"].startswith("/v2/PhoneNumbers/")
    assert by_host["accounts"] == "/v1/Messaging/GeoPermissions"
    assert by_host["voice"] == "/v1/DialingPermissions/Countries/CO"
    assert by_host["messaging"].startswith("/v1/Services")
    assert by_host["api"].startswith("/2010-04-01/Accounts/")


def test_a_region_without_an_edge_is_named_where_nobody_answers(twilio_folder, sandbox, proxy):
    proxy(refuses=True)
    settings = {**sandbox.settings, "apiBaseUrl": "https://api.ie1.twilio.com", "maxAttempts": 1}
    with twilio_folder.connect(settings) as connection:
        findings = connection.check([CO])
    assert outcomes(findings) == {"credentials": "unreached", "region": "no_edge"}
    assert {f.id: f.verdict for f in findings} == {"credentials": "unknown", "region": "fails"}


def test_a_region_without_an_edge_fails_even_where_something_answers(twilio_folder, sandbox, proxy):
    proxy()
    settings = {**sandbox.settings, "apiBaseUrl": "https://api.ie1.twilio.com"}
    with twilio_folder.connect(settings) as connection:
        assert outcomes(connection.check())["region"] == "no_edge"


def test_an_address_with_an_edge_where_nobody_answers_is_an_error(twilio_folder, sandbox, proxy):
    proxy(refuses=True)
    base = "https://api.dublin.ie1.twilio.com"
    settings = {**sandbox.settings, "apiBaseUrl": base, "maxAttempts": 1}
    with twilio_folder.connect(settings) as connection, pytest.raises(errors.NeverConnected):
        connection.check()


@pytest.mark.parametrize(
    ("base", "warned"),
    [
        ("https://api.ie1.twilio.com", True),
        ("https://api.us1.twilio.com", False),
        ("https://api.twilio.com", False),
        ("https://api.dublin.ie1.twilio.com", False),
        ("http://127.0.0.1:1", False),
    ],
)
def test_connecting_to_a_region_without_an_edge_warns(twilio_folder, sandbox, caplog, base, warned):
    twilio_folder.connect({**sandbox.settings, "apiBaseUrl": base}).close()
    texts = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [("without an edge" in text) for text in texts] == [True] * warned
