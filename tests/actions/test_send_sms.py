import itertools

import pytest
import responses

from connector_runtime import ConnectorError, errors

TO = "+14155550123"
ACCOUNT = "AC" + 32 * "a"
SETTINGS = {"accountId": ACCOUNT, "authToken": "made-up-token", "from": "+15005550006",
            "resolveSeconds": 0}  # fmt: skip
URL = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"


def test_a_message_is_created_and_returned_with_the_documents_fields(connection, sandbox):
    sms = connection.run("send_sms", {"to": TO, "body": "Hola, ¿qué tal? 👋"})
    assert sms["status"] == "queued"
    assert sms["sid"] == sandbox.messages[0]["sid"]
    assert sms["from"] == "+15005550006"
    assert sms["to"] == TO
    assert sms["body"] == "Hola, ¿qué tal? 👋"
    assert sms["price"] is None
    assert sms["error_code"] is None
    assert sms["date_sent"] is None
    assert set(sms) == {
        "sid", "date_created", "date_updated", "date_sent", "account_sid", "to", "from", "body",
        "status", "api_version", "price", "price_unit", "error_code", "error_message", "uri",
    }  # fmt: skip


def test_the_inputs_sender_beats_the_global_one(connection, sandbox):
    connection.run("send_sms", {"from": "+14155550100", "to": TO, "body": "Hola"})
    assert sandbox.requests[-1]["form"]["From"] == "+14155550100"


@pytest.mark.parametrize("blank", [None, "", " \t"])
def test_a_blank_sender_counts_as_not_given(connection, sandbox, blank):
    connection.run("send_sms", {"from": blank, "to": TO, "body": "Hola"})
    assert sandbox.requests[-1]["form"]["From"] == "+15005550006"


@pytest.mark.parametrize(
    "sender",
    ["+14155550100", "12345", "Clinic 24", "MG Motors", "-A+b_c&d 9", "whatsapp:+14155550100"],
    ids=["e164", "short code", "alphanumeric", "alphanumeric with MG", "with -+_&", "whatsapp"],
)
def test_every_kind_of_sender_travels_as_from(connection, sandbox, sender):
    to = {"w": "whatsapp:" + TO, "+": TO, "1": TO}.get(sender[0], "+447700900123")
    connection.run("send_sms", {"from": sender, "to": to, "body": "Hola"})
    assert sandbox.requests[-1]["form"] == {"From": sender, "To": to, "Body": "Hola"}


def test_a_messaging_service_travels_as_such_and_may_have_no_sender_yet(connection, sandbox):
    service = "MG" + 32 * "a"
    sms = connection.run("send_sms", {"from": service, "to": TO, "body": "Hola"})
    assert sandbox.requests[-1]["form"] == {
        "MessagingServiceSid": service, "To": TO, "Body": "Hola",
    }  # fmt: skip
    assert sms["from"] is None
    assert sms["status"] == "accepted"


def test_the_exact_request_for_an_api_key(twilio):
    settings = {**SETTINGS, "apiKeySid": "SK" + 32 * "b"}
    with responses.RequestsMock() as twilio_api:
        twilio_api.post(URL, status=201, body=b"[]")
        with pytest.raises(errors.OutcomeUnknown):
            twilio.run("send_sms", {"to": TO, "body": "a+b ñ"}, settings)
        request = twilio_api.calls[0].request
    assert request.body == b"To=%2B14155550123&From=%2B15005550006&Body=a%2Bb+%C3%B1"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    # base64 of "SKbbb…:made-up-token"
    assert request.headers["Authorization"] == (
        "Basic U0tiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYjptYWRlLXVwLXRva2Vu"
    )


BAD_INPUTS = {
    "to missing": ({"body": "x"}, "'to' is required"),
    "to blank": ({"to": "  ", "body": "x"}, "'to' is required"),
    "to too short": ({"to": "+1415555", "body": "x"}, "'to' must be an E.164 number"),
    "to with line break": ({"to": "+14155550001\n", "body": "x"}, "'to' must be an E.164 number"),
    "to in Arabic digits": ({"to": "+١٤١٥٥٥٥٠٠٠١", "body": "x"}, "'to' must be an E.164 number"),
    "to a number": ({"to": 14155550123, "body": "x"}, "'to' must be text: put it in quotes"),
    "to alphanumeric": ({"to": "Clinic 24", "body": "x"}, "'to' must be an E.164 number"),
    "body empty": ({"to": TO, "body": ""}, "'body' is required"),
    "body too long": ({"to": TO, "body": 1601 * "x"}, "'body' must be text of 1 to 1600"),
    "body with half a character": (
        {"to": TO, "body": "\ud83d"},
        "'body' contains half a character",
    ),
    "body bytes": ({"to": TO, "body": b"x"}, "'body' must be text, a number"),
    "from digits of a letterless sender": (
        {"from": "123456789", "to": TO, "body": "x"}, "'from' must be an E.164 number",
    ),
    "from too long": ({"from": 12 * "a", "to": TO, "body": "x"}, "'from' must be an E.164"),
    "unknown field": ({"to": TO, "body": "x", "boddy": "y"}, "did you mean 'body'?"),
    "name that is no text": ({"to": TO, "body": "x", 7: "y"}, "must be text"),
    "not an object": ([("to", TO)], "it must be an object"),
    "text": ("to", "it must be an object"),
}  # fmt: skip


@pytest.mark.parametrize(("inputs", "expected"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_input_is_refused_and_nothing_sent(connection, sandbox, inputs, expected):
    with pytest.raises(errors.InvalidInput) as caught:
        connection.run("send_sms", inputs)
    assert expected in str(caught.value)
    assert caught.value.outcome == "not_sent"
    assert sandbox.requests == []


def test_a_body_of_1600_characters_passes_however_many_bytes(connection, sandbox):
    assert len(connection.run("send_sms", {"to": TO, "body": 1600 * "👋"})["body"]) == 1600


def test_every_problem_of_an_input_is_reported_at_once(connection):
    with pytest.raises(errors.InvalidInput) as caught:
        connection.run("send_sms", {"to": "+1415555"})
    assert str(caught.value) == (
        "send_sms input: 'to' must be an E.164 number such as +14155550123, a short code, or "
        "'whatsapp:' and a number; 'body' is required."
    )
    assert len(caught.value.problems) == 2


def test_no_input_at_all_is_an_empty_object_and_says_both_places_of_the_sender(twilio, sandbox):
    settings = {k: v for k, v in sandbox.settings.items() if k != "from"}
    with pytest.raises(errors.InvalidInput) as caught:
        twilio.run("send_sms", None, settings)
    assert "'from' is required (as input, or as the global parameter 'from')" in str(caught.value)
    assert sandbox.requests == []


def test_the_callers_dictionaries_stay_as_they_are(twilio, sandbox):
    inputs, settings = {"from": "", "to": TO, "body": "x"}, dict(sandbox.settings)
    twilio.run("send_sms", inputs, settings)
    assert inputs == {"from": "", "to": TO, "body": "x"}
    assert settings == sandbox.settings


REFUSALS = {
    "21211": ({"to": "+15005550001"}, "+ country code"),
    "21612": ({"to": "+15005550002"}, "another sender"),
    "21408": ({"to": "+15005550003"}, "Geo Permissions"),
    "21610": ({"to": "+15005550004"}, "START"),
    "21614": ({"to": "+15005550009"}, "can receive SMS"),
    "21608": ({"to": "+15005550010"}, "Verified Caller IDs"),
    "21212": ({"from": "+15005550001"}, "assigned to you"),
    "21606": ({"from": "+15005550007"}, "can send SMS"),
    "21611": ({"from": "+15005550008"}, "another number"),
    "21659": ({"from": "+14155559999"}, "assigned to this account"),
    "21703": ({"from": "MG" + 31 * "0" + "1"}, "can reach this recipient"),
    "21704": ({"from": "MG" + 32 * "0"}, "sender pool"),
}


@pytest.mark.parametrize(("code", "inputs", "hint"), [(c, *v) for c, v in REFUSALS.items()])
def test_a_refusal_names_the_code_and_the_step_that_is_missing(
    connection, sent, code, inputs, hint
):
    with pytest.raises(errors.Refused) as caught:
        connection.run("send_sms", {"to": TO, "body": "secret words", **inputs})
    error = caught.value
    assert (error.status, error.provider_code, error.outcome) == (400, code, "refused")
    assert not error.retryable
    assert hint in error.hint
    assert error.hint in str(error)
    assert f"Twilio refused send_sms (HTTP 400, code {code})" in str(error)
    assert error.request_id.startswith("RQ")
    assert len(sent()) == 1


def test_wrong_credentials_lead_to_live_credentials(twilio, sandbox):
    with pytest.raises(errors.CredentialsRefused) as caught:
        twilio.run("send_sms", {"to": TO, "body": "x"}, {**sandbox.settings, "authToken": "no"})
    assert str(caught.value).startswith(
        "Twilio rejected the credentials (HTTP 401, code 20003). Check 'accountId' and "
        "'authToken' against Live credentials in the Twilio console"
    )


UNKNOWN_OUTCOMES = {
    "reset after": ("reset_after", {}, "broke before its answer came", 1),
    "reset before": ("reset_before", {}, "broke before its answer came", 0),
    "500, sent": ("error", {"status": 500, "stored": True}, "(HTTP 500, code 20500)", 1),
    "503, not sent": ("error", {"status": 503}, "(HTTP 503, code 20503)", 0),
    "html": ("html", {}, "is not valid JSON", 1),
    "truncated": ("truncated", {}, "is not valid JSON", 1),
    "list": ("body", {"value": []}, "holds no message", 1),
    "lone surrogate": ("body", {"text": '{"body": "\\ud83d"}'}, "is not valid JSON", 1),
    "NaN": ("body", {"text": '{"price": NaN}'}, "is not valid JSON", 1),
    "too deep": ("body", {"text": 100_000 * "["}, "is not valid JSON", 1),
    "price n/a": ("body", {"patch": {"price": "n/a"}}, "'price' must be a number or null", 1),
    "price huge": ("body", {"patch": {"price": "9" * 400}}, "'price' must be a finite", 1),
    "redirect": ("redirect", {}, "is HTTP 302, which is not followed", 0),
}


@pytest.mark.parametrize(
    ("fault", "options", "expected", "stored"), UNKNOWN_OUTCOMES.values(), ids=UNKNOWN_OUTCOMES
)
def test_an_unknown_outcome_is_never_repeated_and_says_so(
    connection, sandbox, sent, fault, options, expected, stored
):
    sandbox.fail(fault, times=None, **options)
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connection.run("send_sms", {"to": TO, "body": "secret words"})
    error = caught.value
    assert expected in str(error)
    assert "may have been sent, so it was not repeated" in str(error)
    assert (error.outcome, error.retryable) == ("unknown", False)
    assert len(sent()) == 1
    assert len(sandbox.messages) == stored


def test_a_withheld_answer_is_an_unknown_outcome_too(impatient, sandbox):
    sandbox.fail("withhold", times=None)
    with pytest.raises(
        errors.OutcomeUnknown, match=r"No answer from Twilio within 0\.5 s\."
    ) as caught:
        impatient.run("send_sms", {"to": TO, "body": "secret words"})
    assert "may have been sent, so it was not repeated" in str(caught.value)
    assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
    # On a busy machine the connection may give up before the sandbox has read the request
    assert len(sandbox.messages) <= 1


def test_an_answer_that_breaks_the_schema_still_names_the_message_that_was_sent(
    connection, sandbox
):
    sandbox.fail("body", patch={"price": "n/a"})
    with pytest.raises(errors.OutcomeUnknown) as caught:
        connection.run("send_sms", {"to": TO, "body": "x"})
    assert f"'sid' {sandbox.messages[0]['sid']}" in str(caught.value)


def test_a_throttled_send_is_repeated_and_sent_once(connection, sandbox, sent):
    sandbox.fail("throttle", times=2)
    assert connection.run("send_sms", {"to": TO, "body": "x"})["status"] == "queued"
    assert len(sent()) == 3
    assert len(sandbox.messages) == 1


def test_throttling_gives_up_after_max_attempts(twilio, sandbox, sent):
    sandbox.fail("throttle", times=None)
    with pytest.raises(errors.Throttled) as caught:
        twilio.run("send_sms", {"to": TO, "body": "x"}, {**sandbox.settings, "maxAttempts": 3})
    assert len(sent()) == 3
    assert caught.value.retryable
    assert caught.value.outcome == "not_sent"


def test_a_retry_after_beyond_the_budget_gives_up_at_once(connection, sandbox, sent):
    sandbox.fail("throttle", times=None, retry_after=60)
    with pytest.raises(errors.Throttled) as caught:
        connection.run("send_sms", {"to": TO, "body": "x"})
    assert caught.value.retry_after_seconds == 60
    assert len(sent()) == 1


def test_a_retry_after_within_the_budget_is_waited_for(twilio, sandbox, sent):
    import time

    sandbox.fail("throttle", retry_after=1)
    started = time.monotonic()
    twilio.run("send_sms", {"to": TO, "body": "x"}, sandbox.settings)
    assert time.monotonic() - started >= 1
    assert len(sent()) == 2


def test_two_messages_just_alike_are_two_messages(connection, sandbox):
    sids = {connection.run("send_sms", {"to": TO, "body": "x"})["sid"] for _ in range(2)}
    assert len(sids) == 2


def test_the_official_library_sees_the_values_that_the_connector_returned(connection, sandbox):
    from twilio.rest import Client

    ours = connection.run("send_sms", {"to": TO, "body": "Hola"})
    sandbox.advance(600)
    ours = connection.run("get_sms_information", {"sid": ours["sid"]})
    client = Client(sandbox.account_sid, sandbox.auth_token)
    client.api.base_url = sandbox.url
    theirs = client.messages(ours["sid"]).fetch()
    for field in ("sid", "account_sid", "to", "body", "status", "api_version", "price_unit", "uri"):
        assert ours[field] == getattr(theirs, field)
    assert ours["from"] == theirs.from_
    assert ours["price"] == float(theirs.price) == -0.0075
    assert ours["date_sent"] == theirs.date_sent.strftime("%a, %d %b %Y %H:%M:%S +0000")


RECIPIENT = "+14155550177"  # not the one that messages give as an example
SECRETS = ("secret words", "14155550177", "15005550006", "15005550004", "auth-token-not-a-secret")


@pytest.mark.parametrize(
    "fault", [None, "throttle", "withhold", "reset_after", "html", "truncated", "redirect"]
)
def test_no_secret_number_or_body_in_any_message_log_repr_or_traceback(
    impatient, sandbox, caplog, fault
):
    import traceback

    caplog.set_level("DEBUG")
    if fault:
        sandbox.fail(fault, times=None)
    shown = [repr(impatient), repr(impatient.connector), repr(vars(impatient)["_http"])]
    bodies = [
        {"to": "+15005550004" if not fault else RECIPIENT, "body": "secret words"},
        {"to": RECIPIENT + "x", "body": 200 * "secret words"},
    ]
    for inputs, action in itertools.product(bodies, ["send_sms", "get_sms_information"]):
        try:
            impatient.run(action, inputs)
        except ConnectorError as error:
            shown += ["".join(traceback.format_exception(error)), str(error.to_dict())]
        else:
            raise AssertionError
    shown.append(caplog.text)
    for secret in SECRETS:
        assert secret not in "\n".join(shown)
    assert "connector_runtime" in caplog.text
    assert "send_sms attempt 1: HTTP" in caplog.text
