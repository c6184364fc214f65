"""The account's set-up, as a client can ask for it, and what it leads to."""

import pytest
import requests
from plain_api import SERVICE, Api, refused

from twilio_sandbox import Sandbox
from twilio_sandbox.countries import calling_code_of, country_of
from twilio_sandbox.setup import SCENARIOS

COLOMBIA = "+573001234567"
US = "+14155550123"
CREDENTIALS = ("token", "main", "standard", "restricted", "test")


def api_of(sandbox, credentials="token"):
    settings = sandbox.settings_with(credentials)
    user = settings.get("apiKeySid", settings["accountId"])
    return Api(sandbox, settings["accountId"], user, settings["authToken"])


@pytest.fixture
def world():
    """A function that starts the sandbox of a scenario and opens it."""
    running = []

    def start(scenario, credentials=None):
        sandbox = Sandbox(scenario=scenario, step_seconds=60)
        sandbox.start()
        api = api_of(sandbox, credentials or sandbox.scenario.credentials)
        running.append((sandbox, api.session))
        return sandbox, api

    yield start
    for sandbox, session in running:
        session.close()
        sandbox.stop()


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("ready", {"type": "Full", "status": "active"}),
        ("trial", {"type": "Trial", "status": "active"}),
        ("suspended", {"type": "Full", "status": "suspended"}),
        ("subaccount", {"owner_account_sid": "AC5a4db0c0000000000000000000000009"}),
    ],
)
def test_the_account_shows_its_type_and_status(world, scenario, expected):
    sandbox, api = world(scenario)
    account = api.get(".json").json()
    assert {name: account[name] for name in expected} == expected
    assert account["sid"] == sandbox.account_sid
    assert account["auth_token"] == sandbox.auth_token  # as Twilio's does


def test_balance_is_text_and_a_subaccount_has_none(world):
    assert world("ready")[1].get("/Balance.json").json()["balance"] == "25.00000"
    refused(world("subaccount")[1].get("/Balance.json"), 20404, 404)


RESOURCES = {
    "account": "/2010-04-01/Accounts/{sid}.json",
    "balance": "/2010-04-01/Accounts/{sid}/Balance.json",
    "messages": "/2010-04-01/Accounts/{sid}/Messages.json",
    "numbers": "/2010-04-01/Accounts/{sid}/IncomingPhoneNumbers.json",
    "callers": "/2010-04-01/Accounts/{sid}/OutgoingCallerIds.json",
    "services": "/v1/Services",
    "service": f"/v1/Services/{SERVICE}",
    "toll-free": "/v1/Tollfree/Verifications",
    "geo": "/v1/Messaging/GeoPermissions?CountryCode=CO",
    "dialing": "/v1/DialingPermissions/Countries/CO",
    "lookup": "/v2/PhoneNumbers/%2B573001234567",
}


@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_each_kind_of_credentials_may_ask_what_twilio_lets_it_ask(world, credentials):
    _, api = world("ready", credentials)
    answers = {
        name: api.follow(path.format(sid=api.account_sid)) for name, path in RESOURCES.items()
    }
    refusals = {
        name: (answer.status_code, answer.json()["code"])
        for name, answer in answers.items()
        if answer.status_code != 200
    }
    assert (
        refusals
        == {
            "token": {},
            "main": {},
            "standard": {"account": (401, 20003), "geo": (401, 20003)},
            "restricted": dict.fromkeys(RESOURCES, (403, 70051)),
            "test": dict.fromkeys(RESOURCES, (403, 20008)),
        }[credentials]
    )
    assert api.send().status_code == 201


@pytest.mark.parametrize("path", RESOURCES.values(), ids=RESOURCES)
def test_wrong_credentials_may_ask_nothing(sandbox, path):
    api = Api(sandbox, sandbox.account_sid, sandbox.account_sid, "wrong")
    with api.session:
        answer = api.follow(path.format(sid=sandbox.account_sid))
        refused(answer, 20003, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_nobody_may_change_what_can_only_be_asked(api):
    for name in ("account", "services", "lookup"):
        path = RESOURCES[name].format(sid=api.account_sid)
        refused(api.session.post(api.origin + path, timeout=10), 20004, 405)


def test_a_suspended_account_says_so_and_does_nothing(world):
    _, api = world("suspended")
    refused(api.get("/Messages.json"), 20403, 403)
    refused(api.send(), 20403, 403)


def test_a_closed_account_lets_nobody_in(world):
    _, api = world("closed")
    refused(api.get(".json"), 20003, 401)
    refused(api.send(), 20003, 401)


@pytest.mark.parametrize(
    ("scenario", "sender", "expected"),
    [
        ("ready", "+15005550006", {"sms": True, "voice": True, "mms": True, "fax": False}),
        ("ready", "+15005550007", {"sms": False, "voice": True, "mms": False, "fax": False}),
        ("ready", "+14155550100", {"sms": True, "voice": True, "mms": True, "fax": False}),
        ("ready", "+14155551234", None),
        ("new", "+15005550006", None),
        ("trial", "+14155550100", None),
        ("colombian-number", "+576015550100", {"sms": False, "voice": True, "mms": False,
                                               "fax": False}),
    ],
)  # fmt: skip
def test_numbers_show_what_they_can_do(world, scenario, sender, expected):
    _, api = world(scenario)
    page = api.get("/IncomingPhoneNumbers.json", params={"PhoneNumber": sender}).json()
    assert [number["capabilities"] for number in page["incoming_phone_numbers"]] == (
        [] if expected is None else [expected]
    )


def test_a_messaging_service_shows_its_senders(world):
    sandbox, api = world("ready")
    sandbox.set_up(services={SERVICE: {
        "numbers": ["+15005550006"], "alpha": ["Acme"], "short_codes": ["12345"],
        "campaign": "IN_PROGRESS",
    }})  # fmt: skip
    path = f"/v1/Services/{SERVICE}"
    assert api.follow(path).json()["sid"] == SERVICE
    (number,) = api.follow(f"{path}/PhoneNumbers").json()["phone_numbers"]
    assert (number["phone_number"], number["country_code"]) == ("+15005550006", "US")
    assert number["capabilities"] == ["MMS", "SMS", "VOICE"]
    assert api.follow(f"{path}/AlphaSenders").json()["alpha_senders"][0]["alpha_sender"] == "Acme"
    assert api.follow(f"{path}/ShortCodes").json()["short_codes"][0]["short_code"] == "12345"
    campaigns = api.follow(f"{path}/Compliance/Usa2p").json()["compliance"]
    assert [campaign["campaign_status"] for campaign in campaigns] == ["IN_PROGRESS"]
    assert [service["sid"] for service in api.follow("/v1/Services").json()["services"]] == [
        SERVICE
    ]
    sandbox.set_up(any_service=False)
    refused(api.follow("/v1/Services/MG" + 32 * "b"), 20404, 404)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (COLOMBIA, (True, "CO", [])),
        (US, (True, "US", [])),
        ("+14165550123", (True, "CA", [])),
        ("+18095550123", (True, "DO", [])),
        ("+447700900123", (True, "GB", [])),
        ("+57300", (False, None, ["TOO_SHORT"])),
        ("+9995550123456", (False, None, ["INVALID_BUT_POSSIBLE"])),
        ("+57x", (False, None, ["NOT_A_NUMBER"])),
    ],
)
def test_lookup_tells_form_and_country(api, number, expected):
    looked_up = api.follow(f"/v2/PhoneNumbers/%2B{number[1:]}").json()
    assert (
        looked_up["valid"],
        looked_up["country_code"],
        looked_up["validation_errors"],
    ) == expected
    assert looked_up["phone_number"] == number


@pytest.mark.parametrize(
    ("country", "code"), [("CO", "57"), ("US", "1"), ("CA", "1"), ("XX", None)]
)
def test_calling_codes(country, code):
    assert calling_code_of(country) == code


def test_no_number_without_a_country():
    assert country_of("+57 300 1234567") is None


def test_countries_are_enabled_for_sms_and_for_calls(world):
    sandbox, api = world("ready")
    sandbox.set_up(countries=["US"], voice_countries=["CO"])

    def sms(country):
        answer = api.follow(f"/v1/Messaging/GeoPermissions?CountryCode={country}").json()
        (permission,) = answer["permissions"]
        assert (permission["country_code"], permission["type"]) == (country, "country")
        return permission["prefix"], permission["enabled"]

    def voice(country):
        answer = api.follow(f"/v1/DialingPermissions/Countries/{country}").json()
        return answer["iso_code"], answer["low_risk_numbers_enabled"]

    assert (sms("CO"), sms("US")) == (("+57", False), ("+1", True))
    assert (voice("CO"), voice("US")) == (("CO", True), ("US", False))
    refused(api.send(to=COLOMBIA), 21408)
    assert api.send(to=US).status_code == 201
    for path in ("/v1/Messaging/GeoPermissions?CountryCode=ZZ", "/v1/Messaging/GeoPermissions"):
        refused(api.follow(path), 20404, 404)
    refused(api.follow("/v1/DialingPermissions/Countries/ZZ"), 20404, 404)


def test_verified_callers_are_listed(world):
    _, api = world("trial")

    def verified(**query):
        page = api.get("/OutgoingCallerIds.json", params=query).json()
        return [entry["phone_number"] for entry in page["outgoing_caller_ids"]]

    assert verified() == verified(PhoneNumber=COLOMBIA) == [COLOMBIA]
    assert verified(PhoneNumber=US) == []


def test_the_older_trial_sends_any_text_with_a_prefix_to_verified_numbers(world):
    _, api = world("trial")
    sent = api.send(to=COLOMBIA, body="Hola").json()
    assert sent["body"] == "Sent from your Twilio trial account - Hola"
    refused(api.send(to=US), 21608)


def test_the_newer_trial_sends_predefined_texts_only(world):
    sandbox, api = world("templates")
    text = sandbox.setup.templates[0]
    assert api.send(to=COLOMBIA, body=text).json()["body"] == text
    refused(api.send(to=COLOMBIA, body="Hola"), 572006)
    refused(api.send(to=US, body=text), 572002)
    sandbox.set_up(assigned={COLOMBIA: "+14155550100"})
    refused(api.send(to=COLOMBIA, body=text), 572002)
    sandbox.set_up(pending=[COLOMBIA])
    refused(api.send(to=COLOMBIA, body=text), 572005)
    sandbox.set_up(expired=True)
    refused(api.send(to=COLOMBIA, body=text), 575001)


def test_a_long_predefined_text_fails_later(world):
    sandbox, api = world("templates")
    sandbox.set_up(templates=["x" * 400])
    api.send(to=COLOMBIA, body="x" * 400)
    sandbox.advance(600)
    assert (sandbox.messages[0]["status"], sandbox.messages[0]["error_code"]) == ("failed", 30044)


@pytest.mark.parametrize(
    ("scenario", "to", "code"),
    [
        ("unregistered", US, 30034),
        ("unregistered", COLOMBIA, None),
        ("unregistered", "+14165550123", None),
        ("toll-free", US, 30032),
        ("toll-free", "+14165550123", 30032),
        ("toll-free", COLOMBIA, None),
        ("ready", US, None),
    ],
)
def test_unregistered_numbers_reach_nobody_in_the_us(world, scenario, to, code):
    sandbox, api = world(scenario)
    assert api.send(to=to, sender=sandbox.settings["from"]).status_code == 201
    sandbox.advance(600)
    assert sandbox.messages[0]["error_code"] == code


def test_a_toll_free_verification_is_found_by_the_numbers_sid(world):
    sandbox, api = world("toll-free")
    number = sandbox.settings["from"]
    page = api.get("/IncomingPhoneNumbers.json", params={"PhoneNumber": number}).json()
    sid = page["incoming_phone_numbers"][0]["sid"]

    def verifications(asked):
        path = f"/v1/Tollfree/Verifications?TollfreePhoneNumberSid={asked}"
        return [entry["status"] for entry in api.follow(path).json()["verifications"]]

    assert verifications(sid) == []
    sandbox.set_up(numbers={number: {}})
    assert verifications(sid) == ["TWILIO_APPROVED"]
    assert verifications("PN" + 32 * "0") == []


def test_a_service_sends_from_its_own_number(world):
    sandbox, api = world("ready")
    sandbox.set_up(services={SERVICE: {"numbers": ["+14155550101"]}})
    api.post(To=US, MessagingServiceSid=SERVICE, Body="Hola")
    sandbox.advance(60)
    assert sandbox.messages[0]["from"] == "+14155550101"


def test_a_service_that_has_names_alone_cannot_reach_everybody(world):
    sandbox, api = world("ready")
    sandbox.set_up(services={SERVICE: {"alpha": ["Acme"]}})
    refused(api.post(To=US, MessagingServiceSid=SERVICE, Body="Hola"), 21703)
    api.post(To="+447700900123", MessagingServiceSid=SERVICE, Body="Hola")
    sandbox.advance(60)
    assert sandbox.messages[0]["from"] == "Acme"


def test_the_new_account_is_set_up_step_by_step(world):
    sandbox, api = world("new")
    refused(api.send(to=COLOMBIA), 21659)
    sandbox.do_step(5)
    refused(api.send(to=COLOMBIA), 21408)
    answer = requests.post(f"{sandbox.url}/_sandbox/steps/6", timeout=10)
    assert (answer.status_code, answer.json()["countries"]) == (201, ["US", "CO"])
    refused(api.send(to=COLOMBIA), 21608)
    sandbox.do_step(7)
    assert api.send(to=COLOMBIA).status_code == 201
    sandbox.reset()
    refused(api.send(to=COLOMBIA), 21659)


def test_steps_one_and_two_open_the_account_and_three_and_four_change_nothing(world):
    sandbox, api = world("suspended")
    sandbox.set_up(balance="0.00000")
    before = sandbox.setup
    sandbox.do_step(3)
    sandbox.do_step(4)
    assert sandbox.setup == before
    sandbox.do_step(1)
    assert api.send().status_code == 201
    assert api.get("/Balance.json").json()["balance"] == "15.50000"


@pytest.mark.parametrize("step", [0, 8])
def test_there_are_seven_steps(sandbox, step):
    with pytest.raises(ValueError, match="1 to 7"):
        sandbox.do_step(step)
    assert requests.post(f"{sandbox.url}/_sandbox/steps/{step}", timeout=10).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [{"colour": "red"}, {"status": "asleep"}, {"type": "Half"}, {"countries": ["Colombia"]},
     {"countries": "CO"}, {"verified": COLOMBIA}, {"numbers": {"+15005550006": {"fly": True}}},
     {"services": {SERVICE: ["+15005550006"]}}, {"balance": 5}, {"any_number": 1},
     {"trial_regime": "older"}, {"assigned": {COLOMBIA: None}}, {"friendly_name": ""},
     {"expired": "no"}, {"owner": 1}],
)  # fmt: skip
def test_set_ups_that_cannot_be_are_refused(sandbox, changes):
    with pytest.raises(ValueError, match=r"set-up"):
        sandbox.set_up(**changes)
    url = f"{sandbox.url}/_sandbox/setup"
    assert requests.post(url, json=changes, timeout=10).status_code == 400
    assert requests.get(url, timeout=10).json()["status"] == "active"
    assert sandbox.setup == SCENARIOS["ready"].setup


def test_there_is_no_other_scenario():
    with pytest.raises(ValueError, match="no scenario 'calm'; there are ready, new, trial"):
        Sandbox(scenario="calm")
