"""A look-up that goes wrong in every way: the outcome stays unknown, in time, and nothing worse."""

import concurrent.futures
import json
import time

import pytest

from connector_runtime import errors
from tests.faults import server as faults
from tests.faults.test_hostile_answers import ANSWERS, owing, repeated, send, whole

# TIMEOUT is longer than a whole look-up may take, so only the look-up's own limit can end one.
TIMEOUT, RESOLVE, LAST_LOOK, SLACK = 25, 1, 5, 14
INPUTS = {"to": "+14155550123", "body": "looked for"}
FORM = {"To": INPUTS["to"], "Body": INPUTS["body"], "From": faults.SENDER}
PATH = f"/2010-04-01/Accounts/{faults.ACCOUNT}/Messages.json"


def page(*messages, following=None):
    return whole(json.dumps({"messages": messages, "next_page_uri": following}).encode())


def listed(**changes):
    """Answer with a page that holds the message, changed."""
    return send(lambda form: page({**faults.message(FORM), **changes}))


def without(name):
    def make(form):
        message = faults.message(FORM)
        del message[name]
        return page(message)

    return send(make)


def endless(wire, form):
    """Every page has a next one that is new."""
    wire.send(page(following=f"{PATH}?Page={len(wire.server.arrived)}"))


LISTS = {
    **{name: respond for name, (respond, _) in ANSWERS.items() if "the next one" not in name},
    "a date that is none": listed(date_created="soon"),
    "a date in another form": listed(date_created="2026-11-24T10:00:00Z"),
    "a date as a number": listed(date_created=1764000000),
    "a date of the year 99999": listed(date_created="Tue, 15 May 99999 16:02:24 +0000"),
    "a date of the year 0": listed(date_created="Tue, 15 May 0000 16:02:24 +0000"),
    "a date in a zone beyond reason": listed(date_created="Tue, 15 May 2018 16:02:24 +999999999"),
    "a date in a zone of 30 digits": listed(date_created="Tue, 15 May 2018 16:02:24 +" + 30 * "9"),
    "a date in no zone": listed(date_created="Tue, 15 May 2018 16:02:24 -0000"),
    "a date with huge numbers": listed(
        date_created="Tue, " + 30 * "9" + " May 2018 16:02:24 +0000"
    ),
    "a date of 100,000 letters": listed(date_created=100_000 * "("),
    "no date": without("date_created"),
    "no sid": without("sid"),
    "a sid that is a list": listed(sid=["SM"]),
    "a sid that is no sid": listed(sid="SM1"),
    "a to that is an object": listed(to={}),
    "a body that is a number": listed(body=5),
    "a direction that is a list": listed(direction=[]),
    "a price that is none": listed(price="n/a"),
    "a status that is null": listed(status=None),
    "messages that are texts": send(lambda form: page("a", "b")),
    "messages that are lists": send(lambda form: page([], [[]])),
    "messages that are null": send(lambda form: page(None)),
    "messages that are an object": send(lambda form: whole(b'{"messages": {"a": 1}}')),
    "no messages": send(lambda form: whole(b"{}")),
    "a page without an end": endless,
    "the same page again": send(lambda form: page(following=PATH)),
    "a page elsewhere": send(lambda form: page(following="https://other.example.test/")),
    "a page of another account": send(
        lambda form: page(following=PATH.replace(faults.ACCOUNT, "AC" + 32 * "b"))
    ),
    "a next page that is a number": send(lambda form: page(following=5)),
    "a next page that is no address": send(lambda form: page(following="http://[::1")),
    "wrong credentials": send(lambda form: whole(b"{}", status=b"401 Unauthorized")),
    "forbidden": send(lambda form: whole(b"{}", status=b"403 Forbidden")),
    "not there": send(lambda form: whole(b"{}", status=b"404 Not Found")),
    "too many requests": send(lambda form: whole(b"{}", status=b"429 Too Many Requests")),
    "come back in an hour": send(
        lambda form: whole(b"{}", b"Retry-After: 3600", status=b"429 Too Many Requests")
    ),
    "failing": send(lambda form: whole(b"{}", status=b"503 Service Unavailable")),
    "the moment in a header is none": send(
        lambda form: page(faults.message(FORM)).replace(b"\r\n", b"\r\nDate: soon\r\n", 1)
    ),
    "the moment in a header is long ago": send(
        lambda form: page(faults.message(FORM)).replace(
            b"\r\n", b"\r\nDate: Mon, 01 Jan 0001 00:00:00 GMT\r\n", 1
        )
    ),
    "the moment in a header is far off": send(
        lambda form: page(faults.message(FORM)).replace(
            b"\r\n", b"\r\nDate: Fri, 31 Dec 9999 23:59:59 GMT\r\n", 1
        )
    ),
    "reset": lambda wire, form: faults.reset(wire),
    "closed": lambda wire, form: faults.close(wire),
    "silence": lambda wire, form: faults.hang(wire),
    "endless and slow": repeated(lambda form: (b"HTTP/1.1 200 OK\r\nX: ", b"y"), 0.05),
}
assert owing  # the answers with a debt are about two sends


def observe(twilio, certificates, respond, requests=None):
    """Make a send whose answer is lost, and answer each look-up so."""

    def lost_or_listed(wire, form):
        if server.arrived[-1].startswith("POST"):
            faults.close(wire)
        respond(wire, {**FORM, **form})

    with faults.Server("plain", certificates, respond=lost_or_listed) as server:
        server.late = concurrent.futures.Future()
        server.late.set = lambda: None
        options = {"timeoutSeconds": TIMEOUT, "maxAttempts": 2, "resolveSeconds": RESOLVE}
        with faults.connected(twilio, server.base_url, {}, **options) as connection:
            started = time.perf_counter()
            try:
                said = connection.run("send_sms", INPUTS)
            except BaseException as error:  # noqa: BLE001 - the test says which may come
                said = error
            seconds = time.perf_counter() - started
        if requests is not None:
            requests += server.arrived
        return said, seconds, len(server.stored)


@pytest.fixture(scope="module")
def seen(twilio_folder, certificates):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        futures = {
            name: pool.submit(observe, twilio_folder, certificates, respond)
            for name, respond in LISTS.items()
        }
        return {name: future.result() for name, future in futures.items()}


def test_what_goes_wrong_in_the_look_up_leaves_the_outcome_unknown(seen):
    """All lists in one test, so that they are all given once, in one of pytest's processes."""
    for name, (said, seconds, stored) in seen.items():
        assert isinstance(said, dict | errors.OutcomeUnknown), (name, said)
        assert stored == 1, name
        if isinstance(said, dict):
            assert (said["to"], said["body"]) == (INPUTS["to"], INPUTS["body"]), name
        else:
            assert said.looked_until, name
            assert not said.retryable, name
        assert seconds < RESOLVE + LAST_LOOK + SLACK, name


def test_the_look_up_itself_works_here(twilio_folder, certificates):
    """Without this, the tests above would pass if nothing were ever looked up."""
    said, _, _ = observe(twilio_folder, certificates, listed(sid="SM" + 32 * "7"))
    assert said["sid"] == "SM" + 32 * "7"


def test_a_message_that_two_pages_show_is_one_match(twilio_folder, certificates):
    message = faults.message(FORM)

    def overlapping(wire, form):
        first = "Page=1" not in wire.server.arrived[-1]
        wire.send(page(message, following=f"{PATH}?Page=1" if first else None))

    said, _, _ = observe(twilio_folder, certificates, overlapping)
    assert isinstance(said, dict), said
    assert said["sid"] == message["sid"]


def test_the_look_up_asks_for_the_recipient_alone(twilio_folder, certificates):
    requests = []
    observe(twilio_folder, certificates, listed(), requests)
    assert requests[0].startswith(f"POST {PATH} ")
    assert requests[1].startswith(f"GET {PATH}?To=%2B14155550123&")
    assert all(request.startswith("GET ") for request in requests[1:])
