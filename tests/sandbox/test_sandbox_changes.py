"""Messages that are redacted, canceled, scheduled and deleted."""

import pytest
from plain_api import SERVICE, refused

LATER = "2126-11-24T12:00:00Z"


def schedule(api, sandbox, **form):
    from datetime import datetime, timezone

    moment = datetime.fromtimestamp(sandbox.now() + 3600, timezone.utc).isoformat()
    form = {"SendAt": moment, "ScheduleType": "fixed", **form}
    return api.post(To="+14155550123", MessagingServiceSid=SERVICE, Body="Hola", **form)


def test_a_delivered_message_is_redacted_and_keeps_the_rest(api, sandbox):
    sid = api.send(body="a" * 161).json()["sid"]
    sandbox.advance(180)
    before = api.get(f"/Messages/{sid}.json").json()
    sandbox.advance(60)
    redacted = api.post(f"/Messages/{sid}.json", Body="").json()
    assert redacted["body"] == ""
    changed = {name for name, value in redacted.items() if value != before[name]}
    assert changed == {"body", "date_updated"}
    assert api.get("/Messages.json").json()["messages"] == [redacted]


def test_an_added_message_is_redacted_too(api, sandbox):
    added = sandbox.add({"body": "Hola"})
    assert api.post(f"/Messages/{added['sid']}.json", Body="").json()["body"] == ""
    assert sandbox.messages[0]["body"] == ""


def test_a_message_that_is_under_way_is_neither_redacted_nor_deleted(api, sandbox):
    sid = api.send(body="Hola").json()["sid"]
    refused(api.post(f"/Messages/{sid}.json", Body=""), 20009, 409)
    refused(api.delete(f"/Messages/{sid}.json"), 20009, 409)
    assert sandbox.messages[0]["body"] == "Hola"


def test_a_text_can_be_taken_out_and_not_replaced(api, sandbox):
    sid = sandbox.add({"body": "Hola"})["sid"]
    refused(api.post(f"/Messages/{sid}.json", Body="Adiós"), 20001)
    refused(api.post(f"/Messages/{sid}.json", Status="delivered"), 20001)
    assert sandbox.messages[0]["body"] == "Hola"


def test_a_message_is_deleted_with_no_content(api, sandbox):
    kept, sid = sandbox.add()["sid"], sandbox.add()["sid"]
    answer = api.delete(f"/Messages/{sid}.json")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Encoding" not in answer.headers
    assert [message["sid"] for message in sandbox.messages] == [kept]
    refused(api.get(f"/Messages/{sid}.json"), 20404, 404)
    refused(api.delete(f"/Messages/{sid}.json"), 20404, 404)
    refused(api.post(f"/Messages/{sid}.json", Body=""), 20404, 404)


def test_a_message_that_waits_is_canceled_and_stays_so(api, sandbox):
    sid = api.send().json()["sid"]
    canceled = api.post(f"/Messages/{sid}.json", Status="canceled").json()
    assert (canceled["status"], canceled["date_sent"], canceled["price"]) == (
        "canceled",
        None,
        None,
    )
    sandbox.advance(600)
    assert api.get(f"/Messages/{sid}.json").json() == canceled


def test_a_message_that_was_sent_is_not_canceled(api, sandbox):
    sid = api.send().json()["sid"]
    sandbox.advance(60)
    refused(api.post(f"/Messages/{sid}.json", Status="canceled"), 30409, 409)
    assert sandbox.messages[0]["status"] == "sending"


def test_a_scheduled_message_is_sent_when_its_time_has_come(api, sandbox):
    created = schedule(api, sandbox).json()
    assert (created["status"], created["from"], created["num_segments"]) == ("scheduled", None, "0")
    sandbox.advance(3500)
    assert sandbox.messages[0]["status"] == "scheduled"
    sandbox.advance(110)
    accepted = sandbox.messages[0]
    assert (accepted["status"], accepted["from"]) == ("accepted", None)
    sandbox.advance(240)
    delivered = sandbox.messages[0]
    assert (delivered["status"], delivered["from"]) == ("delivered", "+15005550006")


def test_a_scheduled_message_is_canceled(api, sandbox):
    sid = schedule(api, sandbox).json()["sid"]
    canceled = api.post(f"/Messages/{sid}.json", Status="canceled").json()
    assert (canceled["status"], canceled["from"]) == ("canceled", None)
    sandbox.advance(4000)
    assert sandbox.messages[0]["status"] == "canceled"


@pytest.mark.parametrize(
    ("form", "code"),
    [({"SendAt": LATER}, 35114), ({"SendAt": "soon"}, 35111), ({"SendAt": "2018-05-15"}, 35114)],
)
def test_schedules_that_cannot_be_are_refused(api, sandbox, form, code):
    refused(schedule(api, sandbox, **form), code)
    assert sandbox.messages == []


def test_a_schedule_needs_a_messaging_service(api):
    form = {"To": "+14155550123", "From": "+15005550006", "Body": "x"}
    refused(api.post(**form, SendAt=LATER, ScheduleType="fixed"), 35118)
