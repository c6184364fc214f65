import pytest

from twilio_sandbox import numbers
from twilio_sandbox.answers import MESSAGES

SENDER = "+15005550006"
TO = "+14155550123"
MAGIC = [
    pytest.param({"From": "+15005550001"}, 21212, id="From 0001: not valid"),
    pytest.param({"From": "+15005550007"}, 21606, id="From 0007: cannot send SMS"),
    pytest.param({"From": "+15005550008"}, 21611, id="From 0008: queue is full"),
    pytest.param({"To": "+15005550001"}, 21211, id="To 0001: not valid"),
    pytest.param({"To": "+15005550002"}, 21612, id="To 0002: no route"),
    pytest.param({"To": "+15005550003"}, 21408, id="To 0003: country not enabled"),
    pytest.param({"To": "+15005550004"}, 21610, id="To 0004: opted out"),
    pytest.param({"To": "+15005550009"}, 21614, id="To 0009: not a mobile"),
    pytest.param({"To": "+15005550010"}, 21608, id="To 0010: not verified"),
]


def assert_refused(answer, code, status=400):
    body = answer.json()
    assert answer.status_code == status
    assert answer.headers["Twilio-Request-Id"].startswith("RQ")
    assert set(body) == {"code", "message", "more_info", "status"}
    assert (body["code"], body["status"]) == (code, status)
    assert body["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
    assert body["message"] not in ("", "Error")


@pytest.mark.parametrize(("changed", "code"), MAGIC)
def test_magic_numbers_with_test_credentials(testing_api, changed, code):
    form = {"To": TO, "From": SENDER, "Body": "Hola", **changed}
    assert_refused(testing_api.post(**form), code)


@pytest.mark.parametrize(("changed", "code"), MAGIC)
def test_magic_numbers_with_live_credentials(api, sandbox, changed, code):
    form = {"To": TO, "From": SENDER, "Body": "Hola", **changed}
    assert_refused(api.post(**form), code)
    assert sandbox.messages == []


def test_magic_sender_is_accepted_with_test_credentials_and_nothing_is_kept(testing_api, sandbox):
    answer = testing_api.post(To=TO, From=SENDER, Body="Hola")
    message = answer.json()
    assert (answer.status_code, message["status"]) == (201, "queued")
    assert len(message) == 20
    assert message["account_sid"] == sandbox.account.test_sid
    assert sandbox.account.test_sid in message["uri"]
    assert sandbox.account.test_sid in message["subresource_uris"]["media"]
    assert sandbox.messages == []


@pytest.mark.parametrize("sender", ["+14155550100", "+573001234567", "Acme", "12345", "anything!"])
def test_test_credentials_refuse_any_other_sender(testing_api, sender):
    assert_refused(testing_api.post(To=TO, From=sender, Body="Hola"), 21606)


def test_test_credentials_have_no_messaging_service(testing_api):
    answer = testing_api.post(To=TO, MessagingServiceSid="MG" + 32 * "a", Body="Hola")
    assert_refused(answer, 21701, 404)


@pytest.mark.parametrize(
    ("status", "code", "date_sent"),
    [
        pytest.param("failed", 30001, False, id="30001"),
        pytest.param("failed", 30002, False, id="30002"),
        *(pytest.param("undelivered", code, True, id=str(code)) for code in range(30003, 30009)),
        *(
            pytest.param("failed", code, False, id=str(code))
            for code in (30032, 30034, 30044, 30450)
        ),
    ],
)
def test_delivery_failures_come_later(api, sandbox, status, code, date_sent):
    created = api.send(to=f"+1500555{code - 27000}").json()
    assert (created["status"], created["error_code"]) == ("queued", None)
    sandbox.advance(60)
    assert sandbox.messages[0]["error_code"] is None
    sandbox.advance(120)
    shown = api.get(f"/Messages/{created['sid']}.json").json()
    assert (shown["status"], shown["error_code"]) == (status, code)
    assert isinstance(shown["error_message"], str)
    assert (shown["date_sent"] is not None) == (shown["price"] is not None) == date_sent


@pytest.mark.parametrize(
    ("form", "code"),
    [
        pytest.param({"From": SENDER, "Body": "x"}, 21604, id="no To"),
        pytest.param({"To": " ", "From": SENDER, "Body": "x"}, 21604, id="blank To"),
        pytest.param({"To": TO, "Body": "x"}, 21603, id="no From"),
        pytest.param({"To": TO, "From": "", "Body": "x"}, 21603, id="empty From"),
        pytest.param({"To": TO, "From": SENDER}, 21602, id="no Body"),
        pytest.param({"To": TO, "From": SENDER, "Body": ""}, 21602, id="empty Body"),
        pytest.param({"To": TO, "From": SENDER, "Body": 1601 * "x"}, 21617, id="Body of 1601"),
        pytest.param({"To": "+1415555", "From": SENDER, "Body": "x"}, 21211, id="short To"),
        pytest.param({"To": TO + "\n", "From": SENDER, "Body": "x"}, 21211, id="To with newline"),
        pytest.param({"To": "+١٤١٥٥٥٥٠١٢٣", "From": SENDER, "Body": "x"}, 21211, id="Arabic To"),
        pytest.param({"To": "Maria", "From": SENDER, "Body": "x"}, 21211, id="name as To"),
        pytest.param({"To": TO, "From": "+1415555", "Body": "x"}, 21212, id="short From"),
        pytest.param({"To": TO, "From": "!", "Body": "x"}, 21212, id="From of no kind"),
        pytest.param({"To": TO, "From": "MG" + 32 * "a", "Body": "x"}, 21212, id="MG as From"),
        pytest.param({"To": TO, "From": "+573001234567", "Body": "x"}, 21659, id="foreign From"),
        pytest.param({"To": TO, "From": "+14155551234", "Body": "x"}, 21659, id="others' From"),
        pytest.param(
            {"To": TO, "MessagingServiceSid": "MG" + 32 * "0", "Body": "x"}, 21704, id="no senders"
        ),
        pytest.param(
            {"To": TO, "MessagingServiceSid": "MG" + 31 * "0" + "1", "Body": "x"},
            21703,
            id="no sender for this recipient",
        ),
        pytest.param({"To": SENDER, "From": SENDER, "Body": "x"}, 21266, id="To is From"),
        pytest.param({"To": TO, "From": "Acme 24", "Body": "x"}, 21657, id="name to the US"),
        pytest.param(
            {"To": "+573001234567", "From": "A+B_c&d-9", "Body": "x"}, 21657, id="name to Colombia"
        ),
        pytest.param({"To": "12345", "From": "Acme", "Body": "x"}, 21657, id="name to short code"),
        pytest.param({"To": TO, "From": "Acme.com", "Body": "x"}, 21212, id="name with a dot"),
        pytest.param({"To": TO, "From": "Acme twelve!", "Body": "x"}, 21212, id="name of 12"),
        pytest.param(
            {"To": f"whatsapp:{TO}", "From": SENDER, "Body": "x"}, 21910, id="two channels"
        ),
        pytest.param({"To": TO, "From": SENDER, "MediaUrl": "ftp://x"}, 21620, id="bad media"),
        pytest.param(
            {"To": TO, "From": SENDER, "MediaUrl": 11 * ["https://example.com/a"]},
            21620,
            id="too many media",
        ),
    ],
)
def test_bad_parameters_are_refused_with_twilios_code(api, sandbox, form, code):
    assert_refused(api.post(**form), code)
    assert sandbox.messages == []


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({"Body": 1600 * "é"}, id="Body of 1600"),
        pytest.param({"From": "+14155550199", "Body": "x"}, id="number of fiction"),
        pytest.param({"From": "12345", "Body": "x"}, id="short code"),
        pytest.param({"From": "Acme 24", "To": "+447700900123", "Body": "x"}, id="alphanumeric"),
        pytest.param({"From": "-A+b_c&d 9", "To": "+447700900123", "Body": "x"}, id="with -+_&"),
        pytest.param({"To": "12345", "Body": "x"}, id="To a short code"),
        pytest.param(
            {"From": f"whatsapp:{SENDER}", "To": "whatsapp:+573001234567", "Body": "x"},
            id="whatsapp",
        ),
        pytest.param({"To": "+573001234567", "Body": "x"}, id="To Colombia"),
        pytest.param({"MediaUrl": "https://example.com/a"}, id="media alone"),
        pytest.param({"ContentSid": "HX" + 32 * "a"}, id="content alone"),
    ],
)
def test_good_parameters_are_taken(api, sandbox, form):
    created = api.post(**{"To": TO, "From": SENDER, **form})
    assert created.status_code == 201
    assert created.json() == sandbox.messages[0]


@pytest.mark.parametrize("service", ["MG12", "MG" + 31 * "0" + "2"])
def test_a_messaging_service_that_is_not_there_is_not_found(api, service):
    assert_refused(api.post(To=TO, MessagingServiceSid=service, Body="x"), 21701, 404)


def test_every_code_of_the_rules_has_a_message():
    rules = numbers.FROM_ERRORS, numbers.TO_ERRORS, numbers.SERVICE_ERRORS
    assert {code for rule in rules for code in rule.values()} <= set(MESSAGES)
    assert set(numbers.DELIVERY_ERRORS.values()) == set(numbers.DELIVERY_MESSAGES)
