"""A send whose answer was lost: found again, taken once, and never made worse."""

import concurrent.futures
import logging
import time
from datetime import datetime, timedelta, timezone

import pytest

from connector_runtime import errors

INPUTS = {"to": "+14155550123", "body": "Your table is ready."}


def now():
    return datetime.now(timezone.utc)


@pytest.fixture
def connect(twilio_folder, sandbox):
    opened = []

    def start(**changes):
        settings = {**sandbox.settings, "timeoutSeconds": 20, "resolveSeconds": 20, **changes}
        opened.append(twilio_folder.connect(settings))
        return opened[-1]

    yield start
    for connection in opened:
        connection.close()


def test_a_send_whose_answer_was_lost_is_found_and_returned(connect, sandbox, sent, caplog):
    caplog.set_level(logging.WARNING, "connector_runtime")
    sandbox.fail("reset_after", method="POST")
    sms = connect().run("send_sms", INPUTS)
    assert sms["sid"] == sandbox.messages[0]["sid"]
    assert sms["body"] == INPUTS["body"]
    assert len(sent()) == 1
    (record,) = caplog.records
    assert record.getMessage() == (
        f"send_sms: its answer was lost; it was looked up, and is {sms['sid']}"
    )


def test_a_message_that_is_listed_late_is_waited_for(connect, sandbox):
    sandbox.fail("late", seconds=1.2)
    sandbox.fail("reset_after", method="POST")
    assert connect().run("send_sms", INPUTS)["sid"] == sandbox.messages[0]["sid"]


def test_a_send_that_was_never_stored_stays_unknown_without_candidates(connect, sandbox, sent):
    sandbox.fail("reset_before", method="POST")
    before = now() - timedelta(seconds=1)
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connect(resolveSeconds=0.6).run("send_sms", INPUTS)
    assert caught.value.candidates == ()
    assert before < datetime.fromisoformat(caught.value.looked_until) < now()
    assert caught.value.to_dict()["candidates"] == []
    assert caught.value.to_dict()["looked_until"] == caught.value.looked_until
    assert len(sent()) == 1


def test_without_a_look_up_nothing_is_asked(connect, sandbox):
    sandbox.fail("reset_after", method="POST")
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connect(resolveSeconds=0).run("send_sms", INPUTS)
    assert caught.value.looked_until is None
    assert [request["method"] for request in sandbox.requests] == ["POST"]


def test_two_that_match_are_candidates_and_none_is_taken(connect, sandbox):
    sandbox.fail("twin")
    sandbox.fail("reset_after", method="POST")
    with pytest.raises(errors.OutcomeUnknown, match="It may be: SM") as caught:
        connect(resolveSeconds=0.6).run("send_sms", INPUTS)
    assert set(caught.value.candidates) == {sms["sid"] for sms in sandbox.messages}


NOT_IT = {
    "received": {"direction": "inbound"},
    "another recipient": {"to": "+14155550124"},
    "another sender": {"from": "+14155550100"},
    "an older one": {"date_created": "Tue, 15 May 2018 16:02:24 +0000"},
}


@pytest.mark.parametrize("changes", NOT_IT.values(), ids=NOT_IT)
def test_what_can_not_be_it_is_no_candidate(connect, sandbox, changes):
    sandbox.add(
        {**INPUTS, "from": sandbox.settings["from"], "direction": "outbound-api", **changes}
    )
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connect().run("send_sms", INPUTS, since=now() - timedelta(seconds=60))
    assert caught.value.candidates == ()


@pytest.mark.parametrize(
    "body",
    ["", "Your table is ready!", "We say: Your table is ready.", "Your table is ready. "],
)
def test_a_message_with_another_text_is_a_candidate_and_no_match(connect, sandbox, body):
    sid = sandbox.add({**INPUTS, "from": sandbox.settings["from"], "body": body})["sid"]
    with pytest.raises(errors.OutcomeUnknown, match="It may be: SM") as caught:
        connect().run("send_sms", INPUTS, since=now() - timedelta(seconds=60))
    assert caught.value.candidates == (sid,)


def test_the_sentence_of_trial_accounts_is_known(connect, sandbox):
    sandbox.behave(trial_prefix=True)
    sandbox.fail("reset_after", method="POST")
    sms = connect().run("send_sms", INPUTS)
    assert sms["body"] == "Sent from your Twilio trial account - " + INPUTS["body"]


def test_a_messaging_service_is_found_by_its_sid_while_it_has_no_sender(connect, sandbox):
    sandbox.fail("reset_after", method="POST")
    sms = connect().run("send_sms", {**INPUTS, "from": "MG" + 32 * "a"})
    assert sms["from"] is None
    assert sms["sid"] == sandbox.messages[0]["sid"]


def test_a_clock_that_is_wrong_by_minutes_does_not_matter(twilio_folder):
    from twilio_sandbox import Sandbox

    for offset in (-600, 600):
        with Sandbox(step_seconds=60, clock_offset_seconds=offset) as sandbox:
            sandbox.fail("reset_after", method="POST")
            settings = {**sandbox.settings, "timeoutSeconds": 20, "resolveSeconds": 20}
            assert twilio_folder.run("send_sms", INPUTS, settings)["sid"]


def test_an_order_that_is_nearly_right_is_read_on(connect, sandbox):
    sandbox.behave(order_jitter_seconds=100)
    for number in range(120):
        sandbox.add({"to": INPUTS["to"], "body": f"older {number}", "from": "+14155550100"})
    sandbox.fail("reset_after", method="POST")
    assert connect().run("send_sms", INPUTS)["sid"]


def test_identical_sends_at_once_never_take_the_same_message(connect, sandbox):
    connection = connect(resolveSeconds=3)
    sandbox.fail("reset_after", method="POST", times=2)
    sandbox.fail("reset_before", method="POST", times=2)

    def send(_):
        try:
            return connection.run("send_sms", INPUTS)["sid"]
        except errors.OutcomeUnknown:
            return None

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        sids = list(pool.map(send, range(6)))
    given = [sid for sid in sids if sid]
    assert len(set(given)) == len(given)
    assert set(given) <= {sms["sid"] for sms in sandbox.messages}
    assert sids.count(None) >= 2


def test_a_send_is_not_given_the_message_of_an_identical_one_that_still_waits(
    connect, sandbox, answer_now
):
    """The first was not stored. The second was, and is answered only after the first looked."""
    connection = connect(timeoutSeconds=20, resolveSeconds=1)
    sandbox.fail("reset_before", method="POST")
    sandbox.fail("slow", method="POST", seconds=60)

    def first():
        with pytest.raises(errors.OutcomeUnknown):
            connection.run("send_sms", INPUTS)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        lost = pool.submit(first)
        while not sandbox.requests:
            pass
        second = pool.submit(connection.run, "send_sms", INPUTS)
        lost.result()
        answer_now()
        assert second.result()["sid"] == sandbox.messages[0]["sid"]


def test_a_message_that_was_returned_to_somebody_is_not_taken(connect, sandbox):
    connection = connect(resolveSeconds=0.6)
    connection.run("send_sms", INPUTS)
    sandbox.fail("reset_before", method="POST")
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connection.run("send_sms", INPUTS)
    assert caught.value.candidates == ()


@pytest.mark.parametrize("fault", ["unavailable", "forbidden", "reset_before"])
def test_a_look_up_that_fails_makes_nothing_worse(connect, sandbox, fault, sent):
    sandbox.fail("reset_after", method="POST")
    kinds = {"unavailable": ("error", {"status": 503}), "forbidden": ("error", {"status": 403}),
             "reset_before": ("reset_before", {})}  # fmt: skip
    kind, options = kinds[fault]
    sandbox.fail(kind, method="GET", times=None, **options)
    with pytest.raises(errors.OutcomeUnknown):
        connect(resolveSeconds=0.6, maxAttempts=2).run("send_sms", INPUTS)
    assert len(sent()) == 1


def test_a_call_that_may_have_begun_is_looked_up_and_not_sent(connect, sandbox, sent):
    connection = connect()
    began = now()
    sid = connect().run("send_sms", INPUTS)["sid"]
    assert connection.run("send_sms", INPUTS, since=began)["sid"] == sid
    assert len(sent()) == 1


def test_a_call_that_may_have_begun_and_is_not_found_is_not_sent(connect, sandbox, sent):
    with pytest.raises(errors.OutcomeUnknown, match="its outcome was lost"):
        connect(resolveSeconds=0.5).run("send_sms", INPUTS, since=now() - timedelta(days=2))
    assert sent() == []


def test_it_is_sent_again_only_after_the_time_that_was_set(connect, sandbox, sent):
    connection = connect(resendAfterSeconds=120, resolveSeconds=3)
    with pytest.raises(errors.OutcomeUnknown):
        connection.run("send_sms", INPUTS, since=now() - timedelta(seconds=110))
    assert sent() == []
    assert connection.run("send_sms", INPUTS, since=now() - timedelta(seconds=121))["sid"]
    assert len(sent()) == 1


def test_it_is_not_sent_again_while_there_are_candidates_or_the_look_up_fails(
    connect, sandbox, sent
):
    connection = connect(resendAfterSeconds=120, resolveSeconds=0.5, maxAttempts=1)
    sandbox.fail("error", method="GET", status=503)
    with pytest.raises(errors.OutcomeUnknown):
        connection.run("send_sms", INPUTS, since=now() - timedelta(seconds=300))
    sandbox.add({**INPUTS, "from": sandbox.settings["from"], "body": ""})
    with pytest.raises(errors.OutcomeUnknown):
        connection.run("send_sms", INPUTS, since=now() - timedelta(seconds=300))
    assert sent() == []


def test_what_belongs_to_another_call_of_the_caller_is_not_taken(connect, sandbox):
    began = now()
    sid = connect().run("send_sms", INPUTS)["sid"]
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connect(resolveSeconds=0.5).run("send_sms", INPUTS, since=began, taken={sid}.__contains__)
    assert caught.value.candidates == ()


@pytest.mark.parametrize("since", ["2026-11-24", datetime(2026, 11, 24), 0], ids=str)
def test_a_moment_must_be_an_aware_datetime(connect, since):
    with pytest.raises(errors.InvalidInput, match="time zone"):
        connect().run("send_sms", INPUTS, since=since)
    with pytest.raises(errors.InvalidInput, match="time zone"):
        connect().find("send_sms", INPUTS, since=since)


def test_what_only_reads_takes_no_moment(connect):
    with pytest.raises(errors.InvalidInput, match="can be run again"):
        connect().run("get_all_sms", since=now())


def test_find_gives_matches_as_the_action_does_and_all_candidates(connect, sandbox):
    connection = connect()
    began = now()
    other = connection.run("send_sms", {**INPUTS, "body": "Something else."})
    sms = connection.run("send_sms", INPUTS)
    result = connection.find("send_sms", INPUTS, since=began)
    assert result.matches == [sms]
    assert set(result.candidates) == {sms["sid"], other["sid"]}
    assert connection.find("send_sms", INPUTS, since=now() + timedelta(minutes=5)).matches == []


def test_no_error_shows_numbers_texts_or_the_token_in_its_frames(connect, sandbox):
    import traceback

    sandbox.fail("reset_after", method="POST")
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connect(resolveSeconds=0).run("send_sms", dict(INPUTS))
    assert caught.value.__cause__ is caught.value.__context__ is None
    shown = "".join(
        "".join(map(str, frame.locals.items()))
        for frame in traceback.TracebackException.from_exception(
            caught.value, capture_locals=True
        ).stack
        if "connector_runtime" in frame.filename or "actions" in frame.filename
    )
    for secret in (INPUTS["to"], INPUTS["body"], sandbox.auth_token):
        assert secret not in shown


def test_a_look_up_does_not_wait_beyond_its_own_time(connect, sandbox):
    sandbox.fail("reset_after", method="POST")
    sandbox.fail("throttle", method="GET", retry_after=25, times=None)
    started = time.monotonic()
    with pytest.raises(errors.OutcomeUnknown):
        connect(timeoutSeconds=40, resolveSeconds=1).run("send_sms", INPUTS)
    assert time.monotonic() - started < 20


def test_a_look_up_that_the_service_refuses_is_not_tried_again(connect, sandbox):
    sandbox.fail("reset_after", method="POST")
    sandbox.fail("error", method="GET", times=None, status=403)
    with pytest.raises(errors.OutcomeUnknown):
        connect(resolveSeconds=3).run("send_sms", INPUTS)
    assert [request["method"] for request in sandbox.requests] == ["POST", "GET"]


def test_what_is_not_found_says_how_to_find_out(connect):
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connect(resolveSeconds=0.1).run("send_sms", INPUTS, since=now())
    assert caught.value.hint
    assert str(caught.value).endswith(caught.value.hint)
