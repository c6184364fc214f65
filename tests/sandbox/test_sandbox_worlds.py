"""What the sandbox can be told to do: Twilio's own habits, and faults on the wire."""

import gzip
import http.client
import json
import socket
import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
import requests

from twilio_sandbox import Sandbox

SERVICE = "MG" + 32 * "a"
TRIAL = "Sent from your Twilio trial account - "


def listed(api, **query):
    return api.get("/Messages.json", params=query).json()["messages"]


class Wire:
    """One connection, for the bytes that every library hides."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.socket = socket.create_connection(("127.0.0.1", sandbox.port), timeout=10)
        self.file = self.socket.makefile("rb")

    def ask(self, method="GET", path="/Messages.json", form="", **headers):
        sandbox = self.sandbox
        auth = requests.auth._basic_auth_str(sandbox.account_sid, sandbox.auth_token)
        lines = [
            f"{method} /2010-04-01/Accounts/{sandbox.account_sid}{path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: {auth}",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(form)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n" + form).encode())

    def send(self, body, **headers):
        self.ask("POST", form=f"To=%2B14155550123&From=%2B15005550006&Body={body}", **headers)

    def answer(self):
        """The next answer's status, headers and content, whatever came before it."""
        status = int(self.file.readline().split()[1])
        headers = http.client.parse_headers(self.file)
        return status, headers, self.file.read(int(headers.get("Content-Length", 0)))

    def rest(self):
        return self.file.read()

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def wire(sandbox):
    opened = Wire(sandbox)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("identity", False),
        ("deflate, gzip;q=0", False),
        ("gzip;q=0.0, br", False),
        ("x-gzip-not", False),
    ],
)
@pytest.mark.parametrize("path", ["/Messages.json", "/Messages/none.json"])
def test_answers_are_compressed_for_whoever_takes_gzip(wire, accepted, compressed, path):
    wire.ask(path=path, **{"Accept-Encoding": accepted})
    _, headers, content = wire.answer()
    assert headers["Content-Encoding"] == ("gzip" if compressed else None)
    assert headers["Vary"] == "Accept-Encoding"
    assert (gzip.decompress(content) if compressed else content).startswith(b"{")


def test_without_accept_encoding_an_answer_is_plain(wire):
    wire.ask()
    _, headers, content = wire.answer()
    assert "Content-Encoding" not in headers
    assert content.startswith(b'{"end"')


def test_spoilt_answers_are_compressed_too(api, sandbox):
    sandbox.fail("html")
    answer = api.get("/Messages.json")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.text.startswith("<!DOCTYPE html>")
    sandbox.fail("drip", seconds=0)
    answer = api.get("/Messages.json")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.json()["messages"] == []


def test_a_message_may_appear_in_lists_late_and_can_be_fetched_at_once(api, sandbox):
    sandbox.behave(list_lag_seconds=20)
    created = api.send().json()
    assert listed(api) == []
    assert api.get(f"/Messages/{created['sid']}.json").json() == created
    sandbox.advance(19)
    assert listed(api) == []
    sandbox.advance(1)
    assert [message["sid"] for message in listed(api)] == [created["sid"]]


def test_one_message_may_appear_late(api, sandbox):
    sandbox.fail("late", seconds=30)
    late, early = api.send(body="late").json(), api.send(body="early").json()
    assert [message["sid"] for message in listed(api)] == [early["sid"]]
    sandbox.advance(30)
    assert [message["sid"] for message in listed(api)] == [early["sid"], late["sid"]]


def test_late_and_twin_act_on_a_message_together_with_another_fault(api, sandbox):
    sandbox.fail("late", seconds=30)
    sandbox.fail("twin", copies=2)
    sandbox.fail("reset_after", method="POST")
    assert listed(api) == []  # a look-up takes none of them up
    with pytest.raises(requests.ConnectionError):
        api.send(body="Hola")
    assert len(sandbox.messages) == 3
    assert len(listed(api)) == 2  # the twins were not late
    api.send(body="Hola")
    assert len(sandbox.messages) == 4


def test_twins_differ_in_their_sids_alone(api, sandbox):
    sandbox.fail("twin", copies=3)
    created = api.send().json()
    messages = sandbox.messages
    assert len({message["sid"] for message in messages}) == 4
    assert created["sid"] == messages[-1]["sid"]
    for message in messages:
        same = {**message, "sid": created["sid"]}
        assert {**same, "uri": "", "subresource_uris": ""} == {
            **created, "uri": "", "subresource_uris": ""
        }  # fmt: skip


def test_what_test_credentials_create_has_no_twin(testing_api, sandbox):
    sandbox.fail("twin")
    assert testing_api.send().status_code == 201
    assert sandbox.messages == []


def test_lists_may_be_out_of_order_a_little(api, sandbox):
    sandbox.behave(order_jitter_seconds=5)
    for _ in range(30):
        api.send()
        sandbox.advance(2)
    created = [parsedate_to_datetime(message["date_created"]) for message in listed(api)]
    assert created != sorted(created, reverse=True)
    for place, date in enumerate(created):
        assert all(later <= date + timedelta(seconds=11) for later in created[place:])


def test_trial_accounts_texts_have_a_prefix(api, testing_api, sandbox):
    sandbox.behave(trial_prefix=True)
    assert api.send(body="Hola").json()["body"] == TRIAL + "Hola"
    assert listed(api)[0]["body"] == TRIAL + "Hola"
    assert testing_api.send(body="Hola").json()["body"] == "Hola"


def test_newer_accounts_show_a_default_service(api, sandbox):
    sandbox.behave(default_service=SERVICE)
    created = api.send().json()
    assert (created["messaging_service_sid"], created["from"]) == (SERVICE, "+15005550006")
    assert created["status"] == "queued"


def test_accepted_messages_have_no_sender_in_filters_either(api, sandbox):
    api.post(To="+14155550123", MessagingServiceSid=SERVICE, Body="Hola")
    assert listed(api)[0]["from"] is None
    assert listed(api, From="+15005550006") == []
    assert listed(api, To="+14155550123")[0]["num_segments"] == "0"
    sandbox.advance(60)
    assert listed(api, From="+15005550006")[0]["num_segments"] == "1"


@pytest.mark.parametrize("ahead", [-90, 90])
def test_the_clock_may_be_ahead_or_behind_and_the_date_header_tells(ahead):
    with Sandbox(clock_offset_seconds=ahead, step_seconds=60) as sandbox:
        auth = (sandbox.account_sid, sandbox.auth_token)
        url = f"{sandbox.url}/2010-04-01/Accounts/{sandbox.account_sid}/Messages.json"
        form = {"To": "+14155550123", "From": "+15005550006", "Body": "Hola"}
        answer = requests.post(url, form, auth=auth, timeout=10)
    expected = datetime.now(timezone.utc) + timedelta(seconds=ahead)
    for text in (answer.headers["Date"], answer.json()["date_created"]):
        assert abs(parsedate_to_datetime(text) - expected) < timedelta(seconds=15)


@pytest.mark.parametrize(
    "behaviour",
    [{"list_lag_seconds": -1}, {"order_jitter_seconds": True}, {"trial_prefix": 1}, {"mood": 1},
     {"default_service": 5}, {"list_lag_seconds": float("nan")}],
)  # fmt: skip
def test_behaviour_that_cannot_be_is_refused_and_nothing_is_changed(api, sandbox, behaviour):
    with pytest.raises(ValueError, match=r"must be|no behaviour 'mood'"):
        sandbox.behave(**{"trial_prefix": True, **behaviour})
    with pytest.raises(ValueError, match=r"must be|no behaviour 'mood'"):
        Sandbox(**behaviour)
    assert api.send(body="Hola").json()["body"] == "Hola"


def test_reset_forgets_behaviour_to_what_it_was_at_first():
    with Sandbox(trial_prefix=True) as sandbox:
        sandbox.behave(trial_prefix=False, list_lag_seconds=9)
        sandbox.reset()
        auth = (sandbox.account_sid, sandbox.auth_token)
        url = f"{sandbox.url}/2010-04-01/Accounts/{sandbox.account_sid}/Messages.json"
        form = {"To": "+14155550123", "From": "+15005550006", "Body": "Hola"}
        requests.post(url, form, auth=auth, timeout=10)
        (message,) = requests.get(url, auth=auth, timeout=10).json()["messages"]
        assert message["body"] == TRIAL + "Hola"


def test_another_process_may_change_behaviour(api, sandbox):
    url = f"{sandbox.url}/_sandbox/behaviour"
    assert requests.post(url, json={"trial_prefix": True}, timeout=10).status_code == 201
    assert api.send(body="Hola").json()["body"] == TRIAL + "Hola"
    assert requests.post(url, json={"mood": 1}, timeout=10).status_code == 400


@pytest.mark.parametrize("status", [100, 102, 103, 204, 304])
def test_early_answers_come_before_the_real_one_on_the_same_connection(wire, sandbox, status):
    sandbox.fail("early", status=status, seconds=0.05)
    wire.send("one")
    wire.send("two")
    answers = [wire.answer() for _ in range(3)]
    assert [answer[0] for answer in answers] == [status, 201, 201]
    assert answers[0][2] == b""
    assert [json.loads(answer[2])["body"] for answer in answers[1:]] == ["one", "two"]
    assert len({request["peer"] for request in sandbox.requests}) == 1


def test_early_answers_may_come_for_ever():
    with Sandbox() as endless:
        wire = Wire(endless)
        endless.fail("early", status=100, count=None, seconds=0.01)
        wire.send("one")
        assert [wire.answer()[0] for _ in range(5)] == 5 * [100]
        assert len(endless.messages) == 1
    wire.close()


def test_a_whole_answer_may_drip_its_head_too(wire, sandbox):
    sandbox.fail("drip", part="head", seconds=0.001)
    started = time.monotonic()
    wire.ask()
    response = wire.rest()
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in response
    assert response.partition(b"\r\n\r\n")[2].startswith(b'{"end": 0')
    assert time.monotonic() - started > 0.3


def test_raw_bytes_come_in_place_of_an_answer(wire, sandbox):
    sandbox.fail("raw", text="HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n\xff")
    wire.send("one")
    assert wire.rest() == b"HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n\xff"
    assert len(sandbox.messages) == 1


def test_an_answer_may_be_for_another_recipient(api, sandbox):
    sandbox.fail("body", method="POST", patch={"to": "+14155550198"})
    assert api.send(to="+14155550123").json()["to"] == "+14155550198"
    assert sandbox.messages[0]["to"] == "+14155550123"


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("early", {"status": 101}),
        ("early", {"status": 200}),
        ("early", {"count": "1"}),
        ("drip", {"part": "tail"}),
        ("twin", {"copies": 1.5}),
        ("late", {"seconds": "1"}),
        ("raw", {"text": b""}),
    ],
)
def test_faults_that_cannot_be_are_refused(sandbox, fault, options):
    with pytest.raises(ValueError, match="must be"):
        sandbox.fail(fault, **options)
