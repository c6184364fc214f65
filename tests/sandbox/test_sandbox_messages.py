import re
import threading

import pytest
import requests

from twilio_sandbox import Sandbox

FIELDS = {
    "account_sid",
    "api_version",
    "body",
    "date_created",
    "date_sent",
    "date_updated",
    "direction",
    "error_code",
    "error_message",
    "from",
    "messaging_service_sid",
    "num_media",
    "num_segments",
    "price",
    "price_unit",
    "sid",
    "status",
    "subresource_uris",
    "to",
    "uri",
}
DATE = (
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"\d{4} \d\d:\d\d:\d\d \+0000"
)
SERVICE = "MG" + 32 * "a"


def test_created_message_has_twilios_twenty_fields_and_nothing_else(api, sandbox):
    answer = api.send(body="Hola, mañana")
    message = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(message) == FIELDS
    assert len(FIELDS) == 20
    base = f"/2010-04-01/Accounts/{sandbox.account_sid}/Messages/{message['sid']}"
    dates = {name: message.pop(name) for name in ("date_created", "date_updated")}
    assert all(re.fullmatch(DATE, date) for date in dates.values())
    assert re.fullmatch("SM[0-9a-f]{32}", message.pop("sid"))
    assert message == {
        "account_sid": sandbox.account_sid,
        "api_version": "2010-04-01",
        "body": "Hola, mañana",
        "date_sent": None,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": "+15005550006",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "status": "queued",
        "subresource_uris": {"media": f"{base}/Media.json"},
        "to": "+14155550123",
        "uri": f"{base}.json",
    }


def test_status_price_and_dates_move_with_the_clock(api, sandbox):
    created = api.send().json()
    path = f"/Messages/{created['sid']}.json"
    assert api.get(path).json() == created
    seen = []
    for _ in range(4):
        sandbox.advance(60)
        seen.append(api.get(path).json())
    assert [view["status"] for view in seen] == ["sending", "sent", "delivered", "delivered"]
    assert [view["price"] for view in seen] == [None, "-0.00750", "-0.00750", "-0.00750"]
    sending, sent, delivered, later = seen
    assert sending["date_sent"] is None
    assert re.fullmatch(DATE, sent["date_sent"])
    assert sent["date_sent"] == sent["date_updated"] == delivered["date_sent"]
    assert delivered["date_updated"] != sent["date_updated"]
    assert later == delivered
    assert {view["date_created"] for view in seen} == {created["date_created"]}


def test_list_shows_the_same_as_fetch(api, sandbox):
    sid = api.send().json()["sid"]
    sandbox.advance(125)
    (listed,) = api.get("/Messages.json").json()["messages"]
    assert listed == api.get(f"/Messages/{sid}.json").json() == sandbox.messages[0]
    assert listed["status"] == "sent"


def test_message_through_a_messaging_service_has_no_sender_at_first(api, sandbox):
    created = api.post(To="+14155550123", MessagingServiceSid=SERVICE, Body="Hola").json()
    assert (created["status"], created["from"]) == ("accepted", None)
    assert created["messaging_service_sid"] == SERVICE
    assert set(created) == FIELDS
    sandbox.advance(60)
    queued = api.get(f"/Messages/{created['sid']}.json").json()
    assert (queued["status"], queued["from"]) == ("queued", "+15005550006")
    sandbox.advance(180)
    assert api.get(f"/Messages/{created['sid']}.json").json()["status"] == "delivered"


def test_message_with_media_is_an_mms(api):
    media = ["https://example.com/1.png", "https://example.com/2.png"]
    created = api.post(To="+14155550123", From="+15005550006", MediaUrl=media).json()
    assert re.fullmatch("MM[0-9a-f]{32}", created["sid"])
    assert (created["num_media"], created["body"]) == ("2", "")


@pytest.mark.parametrize(
    ("body", "segments"),
    [
        pytest.param("a" * 160, "1", id="160 plain characters"),
        pytest.param("a" * 161, "2", id="161 plain characters"),
        pytest.param("€" * 80, "1", id="80 extended characters"),
        pytest.param("€" * 81, "2", id="81 extended characters"),
        pytest.param("ж" * 70, "1", id="70 Unicode characters"),
        pytest.param("ж" * 71, "2", id="71 Unicode characters"),
        pytest.param("😀" * 36, "2", id="36 emoji"),
        pytest.param("a" * 1600, "11", id="1600 plain characters"),
    ],
)
def test_segments_are_counted_and_charged(api, sandbox, body, segments):
    created = api.send(body=body).json()
    assert created["num_segments"] == segments
    sandbox.advance(600)
    price = api.get(f"/Messages/{created['sid']}.json").json()["price"]
    assert price == f"{-0.0075 * int(segments):.5f}"


def test_plus_must_travel_encoded(api):
    form = "To=+14155550123&From=%2B15005550006&Body=1%2B1"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{api.url}/Messages.json"
    raw = api.session.post(url, data=form, headers=headers, timeout=10)
    assert (raw.status_code, raw.json()["code"]) == (400, 21211)
    encoded = form.replace("=+", "=%2B")
    right = api.session.post(url, data=encoded, headers=headers, timeout=10).json()
    assert (right["to"], right["body"]) == ("+14155550123", "1+1")


def test_without_steps_a_message_is_delivered_at_once_after_it_was_queued():
    with Sandbox(step_seconds=0) as sandbox:
        url = f"{sandbox.url}/2010-04-01/Accounts/{sandbox.account_sid}/Messages.json"
        form = {"To": "+14155550123", "From": "+15005550006", "Body": "Hola"}
        auth = (sandbox.account_sid, sandbox.auth_token)
        created = requests.post(url, data=form, auth=auth, timeout=10).json()
        assert created["status"] == "queued"
        assert sandbox.messages[0]["status"] == "delivered"


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_clock_never_goes_back(sandbox, seconds):
    with pytest.raises(ValueError, match="only goes forward"):
        sandbox.advance(seconds)


def test_added_message_keeps_the_fields_that_it_was_given(api, sandbox):
    added = sandbox.add(
        {"status": "read", "body": None, "price": "-0.01000", "to": "+573001234567"}
    )
    sandbox.advance(600)
    shown = api.get(f"/Messages/{added['sid']}.json").json()
    assert shown == added
    assert set(shown) == FIELDS
    assert (shown["status"], shown["body"], shown["price"]) == ("read", None, "-0.01000")


def test_added_message_that_waits_was_not_sent(sandbox):
    added = sandbox.add({"status": "queued"})
    assert (added["date_sent"], added["price"]) == (None, None)


def test_received_message_is_inbound(api, sandbox):
    added = sandbox.add({"direction": "inbound"})
    assert added["status"] == "received"
    assert added["to"] == "+15005550006"
    assert added["date_sent"] == added["date_created"]
    assert api.get("/Messages.json").json()["messages"] == [added]


@pytest.mark.parametrize("fields", [{"colour": "red"}, {"sid": "SM" + 32 * "1"}])
def test_message_that_cannot_be_is_not_added(sandbox, fields):
    sandbox.add({"sid": "SM" + 32 * "1"})
    with pytest.raises(ValueError, match=r"no field 'colour'|'sid' already"):
        sandbox.add(fields)
    assert len(sandbox.messages) == 1


def test_parallel_creates_are_all_kept_once(sandbox):
    answers = []

    def create():
        url = f"{sandbox.url}/2010-04-01/Accounts/{sandbox.account_sid}/Messages.json"
        with requests.Session() as session:
            session.auth = (sandbox.account_sid, sandbox.auth_token)
            for _ in range(25):
                form = {"To": "+14155550123", "From": "+15005550006", "Body": "Hola"}
                answers.append(session.post(url, data=form, timeout=30).json()["sid"])
                assert sandbox.requests

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 200
    assert {message["sid"] for message in sandbox.messages} == set(answers)
    posts = [request for request in sandbox.requests if request["method"] == "POST"]
    assert [request["status"] for request in posts] == [201] * 200
    assert len({request["peer"] for request in posts}) == 8
