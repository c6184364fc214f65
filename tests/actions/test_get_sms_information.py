import pytest

from connector_runtime import errors

TO = "+14155550123"


def test_a_message_is_followed_until_it_is_delivered(connection, sandbox):
    sid = connection.run("send_sms", {"to": TO, "body": "Hola"})["sid"]
    seen = []
    for _ in range(4):
        seen.append(connection.run("get_sms_information", {"sid": sid}))
        sandbox.advance(60)
    assert [sms["status"] for sms in seen] == ["queued", "sending", "sent", "delivered"]
    assert seen[0]["date_sent"] is None
    assert seen[-1]["date_sent"].endswith("+0000")
    assert seen[-1]["price"] == -0.0075
    assert seen[-1]["price_unit"] == "USD"


def test_a_delivery_failure_is_a_result_with_the_code_as_text(connection, sandbox):
    sid = connection.run("send_sms", {"to": "+15005553003", "body": "Hola"})["sid"]
    sandbox.advance(600)
    sms = connection.run("get_sms_information", {"sid": sid})
    assert (sms["status"], sms["error_code"]) == ("undelivered", "30003")


@pytest.mark.parametrize(
    "sid",
    ["../Accounts", "sm" + 32 * "a", "SM" + 32 * "a" + "\n", "SM" + 31 * "a", "SM" + 32 * "g"],
    ids=["path", "lower case", "line break", "short", "no hex"],
)
def test_what_is_no_sid_is_refused_and_nothing_sent(connection, sandbox, sid):
    with pytest.raises(errors.InvalidInput, match="'sid' must be a message SID"):
        connection.run("get_sms_information", {"sid": sid})
    assert sandbox.requests == []


def test_a_message_that_is_not_there(connection, sandbox):
    with pytest.raises(errors.NotFound) as caught:
        connection.run("get_sms_information", {"sid": "SM" + 32 * "0"})
    assert (caught.value.status, caught.value.provider_code) == (404, "20404")
    assert "Check the SID" in str(caught.value)
    assert len(sandbox.requests) == 1


def test_test_credentials_may_not_read_and_the_hint_says_so(twilio, sandbox):
    with pytest.raises(errors.Forbidden) as caught:
        twilio.run("get_sms_information", {"sid": "SM" + 32 * "0"}, sandbox.test_settings)
    assert "Test credentials can only send" in caught.value.hint
    assert (caught.value.status, caught.value.provider_code) == (403, "20008")


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("throttle", {}),
        ("error", {"status": 500}),
        ("error", {"status": 503}),
        ("reset_before", {}),
    ],
)
def test_a_read_is_repeated(connection, sandbox, fault, options):
    sid = connection.run("send_sms", {"to": TO, "body": "Hola"})["sid"]
    sandbox.fail(fault, times=2, **options)
    assert connection.run("get_sms_information", {"sid": sid})["sid"] == sid
    assert len(sandbox.requests) == 1 + 3


@pytest.mark.parametrize(("fault", "options"), [("withhold", {}), ("slow", {"seconds": 60})])
def test_a_read_that_is_not_answered_in_time_is_repeated(twilio, sandbox, fault, options):
    with twilio.connect({**sandbox.settings, "timeoutSeconds": 3}) as connection:
        sid = connection.run("send_sms", {"to": TO, "body": "Hola"})["sid"]
        sandbox.fail(fault, times=1, **options)
        assert connection.run("get_sms_information", {"sid": sid})["sid"] == sid
    assert len(sandbox.requests) == 1 + 2


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        ("error", {"status": 503}, errors.Unavailable),
        ("reset_before", {}, errors.NoAnswer),
        ("throttle", {}, errors.Throttled),
    ],
)
def test_a_read_that_never_succeeds_may_be_repeated_later(twilio, sandbox, fault, options, kind):
    sandbox.fail(fault, times=None, **options)
    with pytest.raises(kind) as caught:
        twilio.run(
            "get_sms_information", {"sid": "SM" + 32 * "0"},
            {**sandbox.settings, "maxAttempts": "2", "timeoutSeconds": "1.5"},
        )  # fmt: skip
    assert caught.value.retryable
    assert caught.value.outcome == "not_sent"
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize(
    ("fault", "options", "expected"),
    [
        ("html", {}, "is not valid JSON"),
        ("truncated", {}, "is not valid JSON"),
        ("body", {"value": []}, "holds no message"),
        ("body", {"patch": {"price": "n/a"}}, "'price' must be a number or null"),
        ("body", {"patch": {"price": "1_0"}}, "'price' must be a number or null"),
        ("body", {"patch": {"date_sent": "2018-05-15"}}, "'date_sent' must be a date such as"),
        ("body", {"patch": {"status": None}}, "'status' must be text or a whole number"),
        ("redirect", {}, "is HTTP 302, which is not followed"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_of_its_own(
    connection, sandbox, fault, options, expected
):
    sid = sandbox.add()["sid"]
    sandbox.fail(fault, **options)
    with pytest.raises(errors.InvalidAnswer, match=expected) as caught:
        connection.run("get_sms_information", {"sid": sid})
    assert not caught.value.retryable
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("status", ["partially_delivered", "a-status-of-tomorrow", 7])
def test_unknown_statuses_pass(connection, sandbox, status):
    sid = sandbox.add()["sid"]
    sandbox.fail("body", patch={"status": status})
    assert connection.run("get_sms_information", {"sid": sid})["status"] == status
