"""What the environment can get wrong: known before anything is sent."""

import concurrent.futures
import json
import socket
import time

import pytest

from connector_runtime import errors
from tests.faults import server as faults

INPUTS = {"to": "+14155550123", "body": "x"}
OPTIONS = {"connectTimeoutSeconds": 20, "timeoutSeconds": 20, "maxAttempts": 1}

BUNDLES = {
    "not there": lambda path: None,
    "empty": lambda path: path.write_text(""),
    "no certificate": lambda path: path.write_text("hush"),
    "a broken certificate": lambda path: path.write_text(
        "-----BEGIN CERTIFICATE-----\nMIIhush\n-----END CERTIFICATE-----\n"
    ),
    "a folder without any": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("kind", ["TLS", "CONNECT tunnel"])
def test_a_bundle_of_certificates_that_can_not_be_used_is_a_wrong_configuration(
    twilio_folder, certificates, tmp_path, kind, name
):
    BUNDLES[name](tmp_path / "bundle.pem")
    with faults.Server(kind, certificates) as server:
        variables = {**server.environment, "REQUESTS_CA_BUNDLE": str(tmp_path / "bundle.pem")}
        expected = errors.InvalidConfiguration
        if name == "a folder without any":  # it is a folder of certificates with none in it
            expected = (errors.InvalidConfiguration, errors.NeverConnected)
        with (
            pytest.raises(expected) as caught,
            faults.connected(twilio_folder, server.base_url, variables, **OPTIONS) as connection,
        ):
            connection.run("send_sms", INPUTS)
        assert server.stored == []
    assert caught.value.outcome == "not_sent"
    assert not caught.value.retryable
    assert "hush" not in str(caught.value)


ADDRESSES = [
    "https://..",
    "https://a..b",
    "https://" + 64 * "a" + ".example",
    "https://[::1",
    "https://[::1]x",
    "https://[x]",
    "https://a:b:c",
    "https://[::1]:99999",
    "https://.example",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_can_not_be_parsed_is_a_wrong_configuration(twilio_folder, address):
    with (
        pytest.raises(errors.InvalidConfiguration),
        faults.connected(twilio_folder, address, {}, **OPTIONS) as connection,
    ):
        connection.run("send_sms", INPUTS)


PROXIES = [
    "http://[::1",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:port",
    "ftp://127.0.0.1:1",
    "http://",
    "://",
    "http://a..b:1",
    "socks5://127.0.0.1:1",
    "socks5h://user:hush@127.0.0.1:1",
    "http://user:hush@127.0.0.1:1",
    "127.0.0.1:1",
    "http://us\ner:hush@127.0.0.1:1",
]


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_can_not_be_used_gets_nothing_and_says_so(twilio_folder, variable, proxy):
    with (
        pytest.raises((errors.InvalidConfiguration, errors.NeverConnected)) as caught,
        faults.connected(
            twilio_folder, f"https://{faults.NAME}", {variable: proxy}, **OPTIONS
        ) as connection,
    ):
        connection.run("send_sms", INPUTS)
    assert caught.value.outcome == "not_sent"
    assert "hush" not in str(caught.value)


def test_nobody_listens_and_many_addresses_take_no_longer_than_one(twilio_folder, monkeypatch):
    """The time for connecting is for all addresses of a name together."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        look_up = socket.getaddrinfo

        def many(host, *arguments, **more):
            return (40 if host == "localhost" else 1) * look_up("127.0.0.1", *arguments, **more)

        monkeypatch.setattr(socket, "getaddrinfo", many)
        started = time.perf_counter()
        with (
            pytest.raises(errors.NeverConnected),
            faults.connected(
                twilio_folder,
                f"http://localhost:{port}",
                {},
                **OPTIONS | {"connectTimeoutSeconds": 0.5},
            ) as connection,
        ):
            connection.run("send_sms", INPUTS)
        assert time.perf_counter() - started < 0.5 + 10  # each address for itself: 20 s
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("act", ["close", "reset", "garbage", "goodbye", "noise"])
def test_a_connection_that_ended_between_two_sends_costs_neither(
    twilio_folder, certificates, kind, act
):
    acts = {**faults.ACTS, "goodbye": faults.goodbye, "noise": faults.noise}
    with (
        faults.Server(kind, certificates, {"answered": acts[act]}) as server,
        faults.connected(
            twilio_folder, server.base_url, server.environment, resolveSeconds=0
        ) as connection,
    ):
        for number, text in enumerate(("one", "two", "three"), 1):
            assert connection.run("send_sms", {**INPUTS, "body": text})["body"] == text
            with server.changed:
                assert server.changed.wait_for(lambda: server.ended == number, 10)  # noqa: B023
        assert [form["Body"] for form in server.stored] == ["one", "two", "three"]


@pytest.mark.parametrize("kind", faults.KINDS)
def test_a_connection_is_used_again_after_an_answer_that_was_understood(
    twilio_folder, certificates, kind
):
    with (
        faults.Server(kind, certificates) as server,
        faults.connected(twilio_folder, server.base_url, server.environment) as connection,
    ):
        for number in range(5):
            connection.run("send_sms", {**INPUTS, "body": str(number)})
    assert server.connections == 1
    assert len(server.stored) == 5


@pytest.mark.parametrize("kind", faults.KINDS)
def test_many_threads_get_their_own_answers(twilio_folder, certificates, kind):
    texts = [str(number) for number in range(120)]
    with (
        faults.Server(kind, certificates) as server,
        faults.connected(twilio_folder, server.base_url, server.environment) as connection,
        concurrent.futures.ThreadPoolExecutor(12) as pool,
    ):
        sent = list(
            pool.map(lambda text: connection.run("send_sms", {**INPUTS, "body": text}), texts)
        )
    assert [output["body"] for output in sent] == texts
    assert sorted(form["Body"] for form in server.stored) == sorted(texts)
    assert server.connections <= 12


@pytest.mark.parametrize("kind", faults.KINDS)
def test_closing_closes_the_connections_that_were_kept(twilio_folder, certificates, kind):
    with (
        faults.Server(kind, certificates) as server,
        faults.connected(twilio_folder, server.base_url, server.environment) as connection,
    ):
        connection.run("send_sms", INPUTS)
        assert server.ended == 0
        connection.close()
        with server.changed:
            assert server.changed.wait_for(lambda: server.ended == 1, 10)


@pytest.mark.parametrize("kind", faults.KINDS)
def test_what_lies_behind_an_answer_is_never_the_next_ones_answer(
    twilio_folder, certificates, kind
):
    """In one TLS record, where no socket shows that there is more to read."""

    def respond(wire, form):
        if len(wire.server.stored) > 1:
            return faults.answer(wire, form)
        first = json.dumps(faults.message(form)).encode()
        first += b" " * (9000 - len(first))  # more than is read at once
        second = json.dumps(faults.message({**form, "Body": "somebody else's"})).encode()
        head = (
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        return wire.send(head % len(first) + first + head % len(second) + second)

    with (
        faults.Server(kind, certificates, respond=respond) as server,
        faults.connected(
            twilio_folder, server.base_url, server.environment, resolveSeconds=0
        ) as connection,
    ):
        for text in ("one", "two", "three"):
            assert connection.run("send_sms", {**INPUTS, "body": text})["body"] == text
        assert server.connections == 2  # the first was not used again
