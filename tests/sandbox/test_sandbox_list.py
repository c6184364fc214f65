import contextlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.conftest import free_port
from twilio_sandbox import Sandbox

ENVELOPE = {
    "end",
    "first_page_uri",
    "messages",
    "next_page_uri",
    "page",
    "page_size",
    "previous_page_uri",
    "start",
    "uri",
}


def pages(api, **query):
    page = api.get("/Messages.json", params=query).json()
    while True:
        yield page
        if page["next_page_uri"] is None:
            return
        page = api.follow(page["next_page_uri"]).json()


def sids(messages):
    return [message["sid"] for message in messages]


def test_empty_list_has_twilios_envelope(api, sandbox):
    page = api.get("/Messages.json").json()
    path = f"/2010-04-01/Accounts/{sandbox.account_sid}/Messages.json"
    assert page == {
        "end": 0,
        "first_page_uri": f"{path}?PageSize=50&Page=0",
        "messages": [],
        "next_page_uri": None,
        "page": 0,
        "page_size": 50,
        "previous_page_uri": None,
        "start": 0,
        "uri": f"{path}?PageSize=50&Page=0",
    }


def test_pages_hold_fifty_unless_told_and_are_followed_by_relative_uris(api, sandbox):
    sandbox.seed(120)
    read = list(pages(api))
    assert [len(page["messages"]) for page in read] == [50, 50, 20]
    assert all(set(page) == ENVELOPE for page in read)
    assert [(page["start"], page["end"], page["page"]) for page in read] == [
        (0, 49, 0),
        (50, 99, 1),
        (100, 119, 2),
    ]
    path = f"/2010-04-01/Accounts/{sandbox.account_sid}/Messages.json?"
    last = read[0]["messages"][-1]["sid"]
    assert read[0]["next_page_uri"] == f"{path}PageSize=50&Page=1&PageToken=PA{last}"
    assert sids(m for page in read for m in page["messages"]) == sids(sandbox.messages)


def test_page_that_is_just_full_has_no_next(api, sandbox):
    sandbox.seed(50)
    assert api.get("/Messages.json").json()["next_page_uri"] is None


def test_messages_come_newest_first(api, sandbox):
    created = [api.send(body=str(number)).json()["sid"] for number in range(5)]
    assert sids(api.get("/Messages.json").json()["messages"]) == created[::-1]


def test_new_arrivals_do_not_shift_the_pages_to_come(api, sandbox):
    sandbox.seed(20)
    before = sids(sandbox.messages)
    reading = pages(api, PageSize=10)
    first = next(reading)
    api.send()
    assert sids(first["messages"] + next(reading)["messages"]) == before


def test_previous_pages_lead_back(api, sandbox):
    sandbox.seed(25)
    first, second, third = pages(api, PageSize=10)
    assert first["previous_page_uri"] is None
    back = api.follow(third["previous_page_uri"]).json()
    assert sids(back["messages"]) == sids(second["messages"])
    again = api.follow(back["previous_page_uri"]).json()
    assert sids(again["messages"]) == sids(first["messages"])
    assert again["previous_page_uri"] is None
    assert api.follow(again["next_page_uri"]).json()["messages"] == second["messages"]


@pytest.mark.parametrize("size", [1, 1000])
def test_page_size_may_be_anything_to_a_thousand(api, sandbox, size):
    sandbox.seed(1001)
    page = api.get("/Messages.json", params={"PageSize": size}).json()
    assert (len(page["messages"]), page["page_size"]) == (size, size)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        pytest.param({"Page": "1"}, 20001, id="page without its token"),
        pytest.param({"Page": "1", "PageToken": "PA1"}, 20001, id="token of no message"),
        pytest.param({"PageToken": "PASM" + 32 * "0"}, 20001, id="token of unknown message"),
        pytest.param({"PageSize": "0"}, 20001, id="page size 0"),
        pytest.param({"PageSize": "-1"}, 20001, id="negative page size"),
        pytest.param({"PageSize": "ten"}, 20001, id="page size in words"),
        pytest.param({"PageSize": "\u0661\u0660"}, 20001, id="page size in Arabic digits"),
        pytest.param({"PageSize": "1001"}, 20007, id="page size too large"),
        pytest.param({"DateSent": "yesterday"}, 20001, id="date in words"),
        pytest.param({"DateSent": "2018-02-30"}, 20001, id="30 February"),
        pytest.param({"DateSent<": "2018-05-16T25:00:00Z"}, 20001, id="25 o'clock"),
        pytest.param({"DateSent>": "16/05/2018"}, 20001, id="date with slashes"),
    ],
)
def test_bad_queries_are_refused(api, sandbox, query, code):
    sandbox.seed(100)
    answer = api.get("/Messages.json", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_list_is_filtered_by_recipient_and_sender(api, sandbox):
    one = api.send(to="+14155550101").json()
    two = api.send(to="+14155550102", sender="+14155550100").json()
    unencoded = api.session.get(f"{api.url}/Messages.json?To=+14155550101", timeout=10).json()

    def listed(**query):
        return sids(api.get("/Messages.json", params=query).json()["messages"])

    assert listed(To="+14155550101") == [one["sid"]]
    assert listed(From="+14155550100") == [two["sid"]]
    assert listed(To="+14155550101", From="+14155550100") == []
    assert unencoded["messages"] == []  # a + that was not encoded is a space


def test_filters_stay_on_the_pages_that_follow(api, sandbox):
    sandbox.seed(200)
    expected = [message for message in sandbox.messages if message["from"] == "+15005550006"]
    read = list(pages(api, From="+15005550006", PageSize=30))
    assert len(read) > 2
    assert [m for page in read for m in page["messages"]] == expected
    assert "From=%2B15005550006" in read[0]["first_page_uri"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DateSent", "2018-05-16", ["16 noon", "16 first"]),
        ("DateSent<", "2018-05-16", ["16 noon", "16 first", "15 last"]),
        ("DateSent>", "2018-05-16", ["17", "16 noon", "16 first"]),
        ("DateSent", "2018-05-16T00:00:00Z", ["16 noon", "16 first"]),
        ("DateSent<", "2018-05-16T00:00:00Z", ["16 noon", "16 first", "15 last"]),
        ("DateSent>", "2018-05-16T00:00:00Z", ["17", "16 noon", "16 first"]),
        ("DateSent>", "2018-05-16T12:00:00Z", ["17", "16 noon"]),
        ("DateSent", "2018-05-16T12:00:00Z", ["16 noon"]),
        ("DateSent<", "2018-05-16T12:00Z", ["16 noon", "16 first", "15 last"]),
        ("DateSent>", "2018-05-16 12:00:00.000", ["17", "16 noon"]),
        ("DateSent>", "2018-05-16 00:00:00", ["17", "16 noon", "16 first"]),
        ("DateSent>", "2018-05-16T17:00:00+05:00", ["17", "16 noon"]),
        ("DateSent<", "2018-05-15T20:00:00-0400", ["16 first", "15 last"]),
        ("DateSent>", "Wed, 16 May 2018 12:00:00 +0000", ["17", "16 noon"]),
        ("DateSent<", "Wed, 16 May 2018 12:00:00 GMT", ["16 noon", "16 first", "15 last"]),
    ],
)
def test_list_is_filtered_by_date_sent(api, sandbox, name, value, expected):
    dates = {
        "15 last": "Tue, 15 May 2018 23:59:59 +0000",
        "16 first": "Wed, 16 May 2018 00:00:00 +0000",
        "16 noon": "Wed, 16 May 2018 12:00:00 +0000",
        "17": "Thu, 17 May 2018 00:00:00 +0000",
    }
    for body, date in dates.items():
        sandbox.add({"body": body, "date_created": date, "date_sent": date})
    api.send(body="not sent yet")
    listed = api.get("/Messages.json", params={name: value}).json()["messages"]
    assert [message["body"] for message in listed] == expected


def test_seeded_messages_are_the_same_for_the_same_seed(sandbox):
    with Sandbox(step_seconds=60) as other:
        sandbox.seed(1000, seed=7)
        other.seed(1000, seed=7)
        assert sandbox.messages == other.messages
        other.seed(1000, seed=7)
        assert len(other.messages) == 1000
        other.seed(10, seed=8)
        assert len(other.messages) == 1010


def test_seeded_messages_are_of_every_kind(sandbox):
    sandbox.seed(80)
    messages = sandbox.messages
    assert messages[0]["date_created"] == "Tue, 15 May 2018 16:02:24 +0000"
    assert sum(message["direction"] == "inbound" for message in messages) == 8
    assert {message["status"] for message in messages} == {"received", "delivered", "undelivered"}
    assert {message["messaging_service_sid"] for message in messages} == {None, "MG" + 32 * "c"}


def test_a_hundred_thousand_messages_are_read_to_the_end(api, sandbox):
    sandbox.seed(100_000)
    count, last = 0, None
    for page in pages(api, PageSize=1000):
        count += len(page["messages"])
        assert page["messages"][0]["sid"] != last
        last = page["messages"][-1]["sid"]
    assert count == 100_000


def test_keep_alive_requests_do_not_wait_for_delayed_acknowledgements(api, sandbox):
    sid = api.send().json()["sid"]
    quickest = min(api.get(f"/Messages/{sid}.json").elapsed.total_seconds() for _ in range(20))
    assert quickest < 0.03
    assert len({request["peer"] for request in sandbox.requests}) == 1


def test_sandbox_leaves_no_connection_open_when_it_stops():
    """Above all none that it accepts in the same moment."""
    for _ in range(10):
        clients = []

        def connect(port, clients=clients):
            with contextlib.suppress(OSError):
                while len(clients) < 60:
                    clients.append(socket.create_connection(("127.0.0.1", port), timeout=20))

        with ThreadPoolExecutor(3) as pool, Sandbox() as sandbox:
            for _ in range(3):
                pool.submit(connect, sandbox.port)
            while len(clients) < 9:
                time.sleep(0.001)
        for client in clients:
            with client, contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""


def test_sandbox_lets_its_port_go_when_it_stops():
    with Sandbox(port=free_port()) as sandbox:
        url = sandbox.url
        assert requests.get(url, timeout=10).status_code == 404
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)
    sandbox.stop()
    with sandbox:
        assert sandbox.url == url
        assert requests.get(url, timeout=10).status_code == 404
