"""The check of a set-up, against a sandbox that is set up in every way."""

import contextlib
import json
import logging
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from connector_runtime import check_report, errors
from twilio_sandbox import Sandbox

HINTS = json.loads((Path(__file__).parents[2] / "auth" / "hints.json").read_text("utf-8"))
SETUP = HINTS["setup"]
CO, US, CA, GB = "+573001234567", "+14155550123", "+14165550123", "+447700900123"
SERVICE = "MG" + 32 * "5"
TOLL_FREE = "+18445550100"
NUMBER = "+15005550006"


def outcome_of(finding):
    """The name of the text that a finding shows, once it was checked against its verdict."""
    name = finding.id.partition(".")[0]
    described = SETUP["checks"][name]
    texts = {**described["outcomes"], **{f"({k})": v for k, v in SETUP["reasons"].items()}}
    assert finding.step == described["step"]
    for outcome, entry in texts.items():
        pattern = re.sub(r"\\{[a-z]+\\}", "(.+)", re.escape(entry["en"]["detail"]))
        if re.fullmatch(pattern, finding.detail):
            assert finding.verdict == entry["verdict"]
            assert ("remedy" in entry["en"]) == (finding.remedy is not None)
            return outcome
    raise AssertionError(f"no text of {name} is {finding.detail!r}")


def outcomes(findings):
    return {finding.id: outcome_of(finding) for finding in findings}


class World:
    """A sandbox in some scenario, set up further, and the settings to check."""

    def __init__(self, expected, *, scenario="ready", to=(), settings=None, faults=(), **set_up):
        self.expected = expected
        self.scenario = scenario
        self.to = to
        self.settings = settings or {}
        self.faults = faults
        self.set_up = set_up


def service(**senders):
    return {SERVICE: {"numbers": [], "campaign": "VERIFIED", **senders}}


def unready(path, value=None, **options):
    """A fault for the requests whose path ends like this."""
    return {"kind": "body", "path": path, "value": value, **options}


WORLDS = {
    "ready, with two recipients": World(
        {
            "account": "active", "trial": "full", "credentials": "token", "region": "elsewhere",
            "number": "us", "registration": "campaign", "recipient.1": "valid",
            "country.1": "enabled_with_calls", "verified.1": "full", "recipient.2": "valid",
            "country.2": "enabled_with_calls", "verified.2": "full", "voice_url": "none",
            "balance": "positive",
        },
        to=(CO, US),
    ),
    "a voice_url": World({"voice_url": "formed"}, settings={"voice_url": "https://example.com/x"}),
    # Account, and whether it is a trial
    "suspended": World(
        {"account": "suspended", "credentials": "suspended", "trial": "full",
         "number": "(suspended)", "balance": "(suspended)", "country.1": "(suspended)"},
        scenario="suspended", to=(CO,),
    ),
    "suspended, with a standard key": World(
        {"account": "suspended_or_closed", "trial": "(suspended)"},
        scenario="standard-key", status="suspended",
    ),
    "closed, and it says so": World(
        {"account": "closed"},
        faults=[unready(".json", patch={"status": "closed"}, account=True)],
    ),
    "closed": World(
        {"account": "(refused)", "credentials": "wrong_token", "number": "(refused)",
         "trial": "(refused)", "balance": "(refused)", "registration": "(refused)",
         "recipient.1": "(refused)", "country.1": "(refused)", "verified.1": "(refused)"},
        scenario="closed", to=(CO,),
    ),
    "a status that is not known": World(
        {"account": "other"}, faults=[unready(".json", patch={"status": "asleep"}, account=True)]
    ),
    "a type that is not known": World(
        {"trial": "other"}, faults=[unready(".json", patch={"type": "Huge"}, account=True)]
    ),
    "an account without a status": World(
        {"account": "(unanswered)", "trial": "other"}, faults=[unready(".json", value=[],
                                                                       account=True)]
    ),
    "a subaccount": World({"account": "subaccount", "balance": "owner"}, scenario="subaccount"),
    "a trial account, set up": World(
        {"account": "active", "trial": "trial", "number": "us", "country.1": "enabled_with_calls",
         "verified.1": "verified", "registration": "not_needed_recipients"},
        scenario="trial", to=(CO,),
    ),
    "a trial account of the newer kind": World(
        {"trial": "trial", "verified.1": "verified"}, scenario="templates", to=(CO,)
    ),
    "a trial account just opened": World(
        {"number": "not_owned", "registration": "(sender)", "recipient.1": "valid",
         "country.1": "disabled", "verified.1": "unverified"},
        scenario="new", to=(CO,),
    ),
    # Credentials
    "a wrong token": World({"credentials": "wrong_token"}, settings={"authToken": "wrong"}),
    "a wrong key": World(
        {"credentials": "wrong_key"}, scenario="main-key", settings={"authToken": "wrong"}
    ),
    "a main key": World({"credentials": "main", "account": "active"}, scenario="main-key"),
    "a standard key": World(
        {"credentials": "standard", "account": "(not_allowed)", "trial": "(not_allowed)",
         "number": "us", "country.1": "(not_allowed)", "verified.1": "unverified_maybe",
         "verified.2": "verified_maybe"},
        scenario="standard-key", to=(CO, US), verified=(US,),
    ),
    "a key that may not ask for the account": World(
        {"credentials": "key"},
        scenario="standard-key",
        faults=[unready(".json", value={"code": 70051}, status=403, account=True)],
    ),
    "a restricted key": World(
        {"credentials": "restricted", "account": "(not_allowed)", "number": "(not_allowed)",
         "registration": "(not_allowed)", "recipient.1": "(not_allowed)",
         "country.1": "(not_allowed)", "verified.1": "(not_allowed)", "balance": "(not_allowed)"},
        scenario="restricted-key", to=(CO,),
    ),
    "credentials that may not read": World(
        {"credentials": "forbidden"},
        faults=[unready("/Messages.json", value={"code": 20009}, status=403)],
    ),
    "test credentials": World(
        {"credentials": "test", "account": "(test)", "number": "(test)", "balance": "(test)"},
        scenario="test-credentials",
    ),
    "an account that is elsewhere": World(
        {"credentials": "no_account", "number": "(refused)", "balance": "(refused)"},
        faults=[unready("", value={"code": 20404}, status=404)],
    ),
    "an account that is elsewhere, with a service": World(
        {"credentials": "no_account", "number": "(refused)"}, scenario="service",
        faults=[unready("", value={"code": 20404}, status=404)],
    ),
    # The sender
    "no sender": World({"number": "none", "registration": "not_needed_sender"},
                       settings={"from": ""}),
    "a number that is not from the US": World(
        {"number": "elsewhere", "registration": "not_needed_sender"},
        settings={"from": GB}, numbers={GB: {}},
    ),
    "a number whose country is not known": World(
        {"number": "somewhere", "registration": "campaign"},
        faults=[unready("/%2B15005550006", value={"code": 20500}, status=400)],
    ),
    "a Colombian number": World({"number": "no_sms", "registration": "(sender)"},
                                scenario="colombian-number"),
    "a number that can do nothing": World(
        {"number": "no_sms"}, numbers={NUMBER: {"sms": False, "voice": False, "mms": False}}
    ),
    "another's number": World({"number": "not_owned"}, scenario="foreign-number"),
    "a list of another number": World(
        {"number": "not_owned"},
        faults=[unready("/IncomingPhoneNumbers.json", value={"incoming_phone_numbers": [
            {"phone_number": US, "capabilities": {"sms": True, "voice": True, "mms": True}}]})],
    ),
    "a list without numbers": World(
        {"number": "(unanswered)"}, faults=[unready("/IncomingPhoneNumbers.json", value=[])]
    ),
    "a number without capabilities": World(
        {"number": "(unanswered)"},
        faults=[unready("/IncomingPhoneNumbers.json",
                        value={"incoming_phone_numbers": [{"phone_number": NUMBER}]})],
    ),
    "a service": World({"number": "service", "registration": "campaign"}, scenario="service"),
    "a service of every kind of sender": World(
        {"number": "service"}, scenario="service",
        services=service(numbers=[NUMBER], alpha=["Acme"], short_codes=["12345"]),
    ),
    "a service without senders": World(
        {"number": "service_empty", "registration": "(sender)"}, scenario="empty-service"
    ),
    "a service whose number can't send": World(
        {"number": "service_empty"}, scenario="service", services=service(numbers=["+15005550007"])
    ),
    "a service that is not there": World(
        {"number": "service_missing"}, scenario="service", services={}, any_service=False
    ),
    "a service that can't be read": World(
        {"number": "(unanswered)"}, scenario="service",
        faults=[unready("/PhoneNumbers", value={"phone_numbers": [{}]})],
    ),
    "a service of things that are no numbers": World(
        {"number": "(unanswered)", "registration": "(unanswered)"}, scenario="service", to=(US,),
        faults=[unready("/PhoneNumbers", value={"phone_numbers": [5]})],
    ),
    "a service whose numbers may not be asked for": World(
        {"number": "(not_allowed)", "registration": "(not_allowed)"}, scenario="service", to=(US,),
        faults=[unready("/PhoneNumbers", value={"code": 70051}, status=403)],
    ),
    "a service that may not be asked for": World(
        {"number": "(not_allowed)"}, scenario="service",
        faults=[unready("/ShortCodes", value={"code": 70051}, status=403)],
    ),
    "a list that Twilio has not": World(
        {"number": "(missing)"}, scenario="service",
        faults=[unready("/ShortCodes", value={"code": 20404}, status=404)],
    ),
    "a name": World({"number": "name", "registration": "not_needed_sender"},
                    scenario="alphanumeric", to=(GB,)),
    "a name and nobody to reach": World({"number": "name_no_recipients"}, scenario="alphanumeric"),
    "a name and somebody unknown": World(
        {"number": "name_no_recipients"}, scenario="alphanumeric", to=(GB, "nobody")
    ),
    "a name for Colombia": World(
        {"number": "name_refused"}, scenario="alphanumeric", to=(GB, CO)
    ),
    "a name on a trial account": World(
        {"number": "name_trial"}, scenario="alphanumeric", to=(GB,), type="Trial"
    ),
    "a short code": World({"number": "short_code", "registration": "not_needed_sender"},
                          settings={"from": "12345"}),
    "WhatsApp": World({"number": "whatsapp", "registration": "not_needed_sender"},
                      settings={"from": f"whatsapp:{NUMBER}"}),
    # Registration in the US
    "nobody in the US": World({"registration": "not_needed_recipients"}, scenario="unregistered",
                              to=(CO,)),
    "somebody in the US": World({"registration": "campaign_missing"}, scenario="unregistered",
                                to=(CO, US)),
    "perhaps somebody in the US": World({"registration": "campaign_maybe"},
                                        scenario="unregistered"),
    "a recipient that is none, perhaps in the US": World(
        {"registration": "campaign_maybe"}, scenario="unregistered", to=(CO, "x")
    ),
    "a campaign under way": World(
        {"registration": "campaign_pending"}, to=(US,),
        services=service(numbers=[NUMBER], campaign="IN_PROGRESS"),
    ),
    "a campaign that failed": World(
        {"registration": "campaign_missing"}, to=(US,),
        services=service(numbers=[NUMBER], campaign="FAILED"),
    ),
    "a campaign of this number and another": World(
        {"registration": "campaign"}, to=(US,),
        services=service(numbers=[NUMBER, "+14155550100"]),
    ),
    "a service with numbers from the US and elsewhere": World(
        {"registration": "campaign_missing"}, scenario="service", to=(US,), numbers={GB: {}},
        services=service(numbers=[GB, NUMBER], campaign=None),
    ),
    "a campaign of another number": World(
        {"registration": "campaign_missing"}, to=(US,), services=service(numbers=["+14155550100"])
    ),
    "a number from the Dominican Republic": World(
        {"number": "elsewhere", "registration": "not_needed_sender"}, to=(US,),
        settings={"from": "+18095550123"}, numbers={"+18095550123": {}},
    ),
    "a service with numbers from elsewhere": World(
        {"registration": "not_needed_sender"}, scenario="service", to=(US,), numbers={GB: {}},
        services=service(numbers=[GB], campaign=None),
    ),
    "a service without a campaign": World(
        {"registration": "campaign_missing"}, scenario="service", to=(US,),
        services=service(numbers=[NUMBER], campaign=None),
    ),
    "more services than are looked through": World(
        {"registration": "many_services"}, to=(US,),
        faults=[unready("/v1/Services", value={"services": [], "meta": {"next_page_url": "x"}})],
    ),
    "a service with more numbers than are looked through": World(
        {"registration": "many_services"}, to=(US,), services=service(),
        faults=[unready("/PhoneNumbers", value={"phone_numbers": [],
                                                "meta": {"next_page_url": "x"}})],
    ),
    "a campaign found although there are more services": World(
        {"registration": "campaign"}, to=(US,),
        faults=[unready("/v1/Services", patch={"meta": {"next_page_url": "x"}})],
    ),
    "services whose SIDs are none": World(
        {"registration": "(unanswered)"}, to=(US,),
        faults=[unready("/v1/Services", value={"services": [{"sid": "../../x"}],
                                               "meta": {"next_page_url": None}})],
    ),
    "services that can't be read": World(
        {"registration": "(unanswered)"}, to=(US,), faults=[unready("/v1/Services", value={})]
    ),
    "services that may not be asked for": World(
        {"registration": "(not_allowed)"}, to=(US,),
        faults=[unready("/v1/Services", value={"code": 70051}, status=403)],
    ),
    "campaigns that can't be read": World(
        {"registration": "(unanswered)"}, to=(US,),
        faults=[unready("/Compliance/Usa2p", value={})],
    ),
    "campaigns that may not be asked for": World(
        {"registration": "(not_allowed)"}, to=(US,),
        faults=[unready("/Compliance/Usa2p", value={"code": 70051}, status=403)],
    ),
    "a service's numbers that can't be read": World(
        {"registration": "(unanswered)"}, to=(US,), faults=[unready("/PhoneNumbers", value={})]
    ),
    "a toll-free number": World(
        {"number": "us", "registration": "toll_free"}, scenario="toll-free", to=(CA,),
        numbers={TOLL_FREE: {}},
    ),
    "a toll-free number, not verified": World(
        {"registration": "toll_free_missing"}, scenario="toll-free", to=(CA,)
    ),
    "a toll-free number, perhaps": World({"registration": "toll_free_maybe"},
                                         scenario="toll-free"),
    "a toll-free number for elsewhere": World(
        {"registration": "not_needed_recipients"}, scenario="toll-free", to=(CO,)
    ),
    "a toll-free number under way": World(
        {"registration": "toll_free_pending"}, scenario="toll-free", to=(US,),
        faults=[unready("/Verifications", value={"verifications": [{"status": "IN_REVIEW"}]})],
    ),
    "a toll-free number, refused": World(
        {"registration": "toll_free_missing"}, scenario="toll-free", to=(US,),
        faults=[unready("/Verifications", value={"verifications": [{"status":
                                                                    "TWILIO_REJECTED"}]})],
    ),
    "verifications that can't be read": World(
        {"registration": "(unanswered)"}, scenario="toll-free", to=(US,),
        faults=[unready("/Verifications", value=[])],
    ),
    "verifications that may not be asked for": World(
        {"registration": "(not_allowed)"}, scenario="toll-free", to=(US,),
        faults=[unready("/Verifications", value={"code": 70051}, status=403)],
    ),
    # Recipients
    "a number that is too short": World({"recipient.1": "invalid"}, to=("+57300",)),
    "no number": World({"recipient.1": "malformed"}, to=("Maria",)),
    "a number with spaces": World({"recipient.1": "malformed"}, to=("+57 300 1234567",)),
    "a short code as recipient": World({"recipient.1": "short_code"}, to=("12345",)),
    "a WhatsApp recipient": World({"recipient.1": "whatsapp"}, to=(f"whatsapp:{CO}",)),
    "a look-up without a country": World(
        {"recipient.1": "valid", "country.1": "no_country"}, to=(CO,),
        faults=[unready("/%2B573001234567", patch={"country_code": None})],
    ),
    "a look-up with a country that is none": World(
        {"recipient.1": "valid", "country.1": "no_country"}, to=(CO,),
        faults=[unready("/%2B573001234567", patch={"country_code": "C/O"})],
    ),
    "a look-up that says neither": World(
        {"recipient.1": "(unanswered)"}, to=(CO,),
        faults=[unready("/%2B573001234567", patch={"valid": "yes"})],
    ),
    "a look-up that can't be read": World(
        {"recipient.1": "(unanswered)", "country.1": "no_country"}, to=(CO,),
        faults=[unready("/%2B573001234567", value=[])],
    ),
    "a country without calls": World(
        {"country.1": "enabled_without_calls"}, to=(CO,), voice_countries=("US",)
    ),
    "a country for which it is not known whether calls are enabled": World(
        {"country.1": "enabled"}, to=(CO,),
        faults=[unready("/Countries/CO", value={"code": 20404}, status=404)],
    ),
    "a country that is not enabled": World({"country.1": "disabled"}, to=(CO,), countries=("US",)),
    "a country that can't be asked for": World(
        {"country.1": "(missing)"}, to=(CO,),
        faults=[unready("/GeoPermissions", value={"code": 20404}, status=404)],
    ),
    "permissions for another country": World(
        {"country.1": "(unanswered)"}, to=(CO,),
        faults=[unready("/GeoPermissions", value={"permissions": [
            {"country_code": "US", "type": "country", "enabled": True}]})],
    ),
    "permissions for a prefix": World(
        {"country.1": "(unanswered)"}, to=(CO,),
        faults=[unready("/GeoPermissions", value={"permissions": [
            {"country_code": "CO", "type": "prefix", "enabled": True}]})],
    ),
    "permissions that say neither": World(
        {"country.1": "(unanswered)"}, to=(CO,),
        faults=[unready("/GeoPermissions", value={"permissions": [
            {"country_code": "CO", "type": "country", "enabled": "yes"}]})],
    ),
    "permissions that can't be read": World(
        {"country.1": "(unanswered)"}, to=(CO,), faults=[unready("/GeoPermissions", value=[])]
    ),
    "callers that can't be read": World(
        {"verified.1": "(unanswered)"}, scenario="trial", to=(CO,),
        faults=[unready("/OutgoingCallerIds.json", value={})],
    ),
    "callers of another number": World(
        {"verified.1": "unverified"}, scenario="trial", to=(CO,),
        faults=[unready("/OutgoingCallerIds.json",
                        value={"outgoing_caller_ids": [{"phone_number": US}]})],
    ),
    # Balance
    "no credit": World({"balance": "empty"}, scenario="no-credit"),
    "a debt": World({"balance": "empty"}, balance="-1.5"),
    "a balance that can't be read": World(
        {"balance": "(unanswered)"}, faults=[unready("/Balance.json", value={"balance": "much"})]
    ),
    "a balance that is no number": World(
        {"balance": "(unanswered)"}, faults=[unready("/Balance.json", value={"balance": "nan"})]
    ),
    "a balance that is not given": World(
        {"balance": "(unanswered)"}, faults=[unready("/Balance.json", value={})]
    ),
}  # fmt: skip
# Only with addresses of Twilio's own: see test_doctor_hosts.py.
ELSEWHERE = {"region default", "region region", "region no_edge", "credentials unreached"}


class Kept(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def running(world):
    """The sandbox of a world, and the settings to check."""
    with Sandbox(scenario=world.scenario, step_seconds=60) as sandbox:
        sandbox.set_up(**world.set_up)
        for fault in world.faults:
            sandbox.fail(times=None, **arranged(fault, sandbox))
        yield sandbox, {**sandbox.settings, **world.settings}


@pytest.fixture
def examine(twilio_folder):
    """A function that makes a world, checks it and returns sandbox and findings."""

    def run(world, language="en"):
        with running(world) as (sandbox, settings), twilio_folder.connect(settings) as connection:
            return sandbox, connection.check(world.to, language)

    return run


@pytest.fixture(scope="module", params=WORLDS)
def examined(request, twilio_folder):
    """A world, with its findings in both languages, its requests and all that was logged."""
    world, kept = WORLDS[request.param], Kept()
    root = logging.getLogger()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    with running(world) as (sandbox, settings), twilio_folder.connect(settings) as connection:
        english = connection.check(world.to)
        spanish = connection.check(world.to, "es")
    root.removeHandler(kept)
    root.setLevel(level)
    return SimpleNamespace(
        world=world, sandbox=sandbox, english=english, spanish=spanish, logged=kept.texts
    )


def arranged(fault, sandbox):
    options = {name: value for name, value in fault.items() if name not in ("kind", "account")}
    if fault.get("account"):
        options["path"] = f"/{sandbox.account_sid}.json"
    return {"fault": fault["kind"], **options}


def test_each_set_up_gets_its_verdicts(examined):
    verdicts = outcomes(examined.english)
    expected = examined.world.expected
    assert {name: verdicts.get(name) for name in expected} == expected


def test_every_text_is_reached_by_a_test():
    reached = {
        f"{name.partition('.')[0]} {outcome}"
        for world in WORLDS.values()
        for name, outcome in world.expected.items()
    }
    declared = {
        f"{name} {outcome}"
        for name, check in SETUP["checks"].items()
        for outcome in check["outcomes"]
    }
    assert declared <= reached | ELSEWHERE
    reasons = {f"({name})" for name in SETUP["reasons"]}
    assert reasons == {
        outcome.split()[1] for outcome in reached if outcome.split()[1].startswith("(")
    }


@pytest.mark.parametrize("world", ["ready, with two recipients", "a trial account just opened"])
def test_findings_come_in_the_order_of_the_steps(examine, world):
    _, findings = examine(WORLDS[world])
    names = [finding.id.partition(".")[0] for finding in findings]
    assert names[:6] == ["account", "trial", "credentials", "region", "number", "registration"]
    assert names[6:9] == ["recipient", "country", "verified"]
    assert names[-2:] == ["voice_url", "balance"]
    steps = [finding.step for finding in findings if finding.step is not None]
    assert steps[:6] == [1, 1, 4, 4, 5, 5]
    assert steps[6:9] == [6, 6, 7]


def test_nothing_is_sent_changed_or_paid_for(examined):
    requests = examined.sandbox.requests
    assert {request["method"] for request in requests} == {"GET"}
    assert not [request for request in requests if "Fields" in request["query"]]


def test_no_secret_number_or_balance_is_shown_or_logged(examined):
    sandbox, world = examined.sandbox, examined.world
    shown = "\n".join(
        [*check_report.lines(examined.english, "en"), repr(examined.english), *examined.logged]
    )
    hidden = [sandbox.auth_token, sandbox.settings["authToken"], "25.00", "15.50"]
    hidden += [number.lstrip("+") for number in world.to if len(number) > 6]
    hidden += [sandbox.settings["from"].lstrip("+")] if "+" in sandbox.settings["from"] else []
    assert not [text for text in hidden if text in shown]
    assert not re.search(r"\+\d|%2B\d", shown)


def test_spanish_says_the_same(examined):
    assert [finding[:2] for finding in examined.english] == [
        finding[:2] for finding in examined.spanish
    ]
    for finding, other in zip(examined.english, examined.spanish, strict=True):
        assert finding.verdict == other.verdict
        assert finding.detail != other.detail
        assert (finding.remedy is None) == (other.remedy is None)
        assert finding.remedy is None or finding.remedy != other.remedy


def test_texts_have_the_same_places_in_both_languages():
    entries = [*SETUP["reasons"].values()]
    entries += [entry for check in SETUP["checks"].values() for entry in check["outcomes"].values()]
    for entry in entries:
        for name in ("detail", "remedy"):
            places = [sorted(re.findall(r"\{\w+\}", entry[x].get(name, ""))) for x in ("en", "es")]
            assert places[0] == places[1]


@pytest.mark.parametrize("name", ["Clínica\x1b[2J\u202eX", "a" * 500, 5, "", None])
def test_the_accounts_name_is_shown_harmlessly(examine, name):
    changed = unready(".json", patch={"friendly_name": name}, account=True)
    _, findings = examine(World({}, faults=[changed]))
    detail = findings[0].detail
    assert outcome_of(findings[0]) == "active"
    assert len(detail) < 100
    assert detail.isprintable()


def detail_of(findings, name):
    return next(finding.detail for finding in findings if finding.id == name)


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({}, "from the US. It can do: SMS, calls, MMS."),
        ({"mms": False}, "from the US. It can do: SMS, calls."),
        ({"sms": False}, "that can't send SMS. It can do: calls, MMS."),
        ({"sms": False, "voice": False, "mms": False}, "that can't send SMS. It can do: nothing."),
    ],
)
def test_a_number_shows_what_it_can_do(examine, able, expected):
    _, findings = examine(World({}, numbers={NUMBER: able}))
    assert detail_of(findings, "number").endswith(expected)


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        (["TOO_SHORT"], "(TOO_SHORT)"),
        (["TOO_SHORT", "NOT_A_NUMBER"], "(TOO_SHORT, NOT_A_NUMBER)"),
        (["\x1b[2J"], "(?)"),
        ([], "(INVALID)"),
        (None, "(INVALID)"),
        ("TOO_SHORT", "(INVALID)"),
    ],
)
def test_an_invalid_number_shows_why(examine, problems, expected):
    changed = unready("/%2B573001234567", patch={"valid": False, "validation_errors": problems})
    _, findings = examine(World({}, to=(CO,), faults=[changed]))
    assert expected in detail_of(findings, "recipient.1")


@pytest.mark.parametrize(("status", "shown"), [("asleep", "'asleep'"), ("a\x1b[2J", "'?'")])
def test_words_from_outside_are_shown_harmlessly(examine, status, shown):
    changed = unready(".json", patch={"status": status}, account=True)
    _, findings = examine(World({}, faults=[changed]))
    assert shown in detail_of(findings, "account")


@pytest.mark.parametrize("sender", [GB, TOLL_FREE, "Acme"])
def test_services_are_asked_for_only_where_they_matter(examine, sender):
    world = World({}, settings={"from": sender}, numbers={GB: {}, TOLL_FREE: {}})
    sandbox, _ = examine(world)
    assert "/v1/Services" not in [request["path"] for request in sandbox.requests]


def test_a_name_of_usual_letters_is_shown_as_it_is(examine):
    changed = unready(".json", patch={"friendly_name": "Clínica Ñandú 24"}, account=True)
    _, findings = examine(World({}, faults=[changed]))
    assert detail_of(findings, "account") == "The account is active: Clínica Ñandú 24."


def test_credentials_are_tried_with_one_message(examine):
    sandbox, _ = examine(World({}))
    asked = [r["query"] for r in sandbox.requests if r["path"].endswith("/Messages.json")]
    assert asked == [{"PageSize": "1"}]


def test_no_country_is_asked_for_where_none_is_known(examine):
    changed = unready("/%2B573001234567", patch={"country_code": None})
    sandbox, _ = examine(World({}, to=(CO,), faults=[changed]))
    asked = [request["path"] for request in sandbox.requests]
    assert not [path for path in asked if "Permissions" in path]


def test_a_step_at_a_time_until_all_holds(twilio_folder):
    def failing(connection):
        return {f.id for f in connection.check([CO]) if f.verdict != "holds"}

    with Sandbox(scenario="new") as sandbox, twilio_folder.connect(sandbox.settings) as connection:
        assert failing(connection) == {"number", "registration", "country.1", "verified.1"}
        sandbox.do_step(5)
        assert failing(connection) == {"country.1", "verified.1"}
        sandbox.do_step(6)
        assert failing(connection) == {"verified.1"}
        sandbox.do_step(7)
        assert failing(connection) == set()
        sms = connection.run("send_sms", {"to": CO, "body": "Hola"})
        assert sms["status"] == "queued"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": CO}, "'to' must be a list of phone numbers, as text"),
        ({"to": [573001234567]}, "'to' must be a list of phone numbers, as text"),
        ({"language": "fr"}, "'language' must be one of en, es"),
    ],
)
def test_what_can_not_be_asked_is_refused_before_anything_is(
    twilio_folder, sandbox, arguments, message
):
    with twilio_folder.connect(sandbox.settings) as connection:
        with pytest.raises(errors.InvalidInput, match=message):
            connection.check(**arguments)
        assert sandbox.requests == []
    with pytest.raises(errors.InvalidInput, match="'language'"):
        twilio_folder.explain("30003", "fr")


# Twilio can't be asked, or not in time


@pytest.mark.parametrize("value", [[], {}, {"messages": {}}, "", 5])
def test_an_answer_that_is_not_twilios_is_an_error(examine, value):
    with pytest.raises(errors.InvalidAnswer, match="no list of messages"):
        examine(World({}, faults=[unready("/Messages.json", value=value)]))


def test_a_service_that_fails_is_an_error(examine):
    fault = {"kind": "error", "path": "/Messages.json", "status": 503}
    with pytest.raises(errors.Unavailable):
        examine(World({}, faults=[fault]))


def test_an_address_where_nobody_is_is_an_error(twilio_folder, sandbox, unused_url):
    settings = {**sandbox.settings, "apiBaseUrl": unused_url, "maxAttempts": 1}
    with twilio_folder.connect(settings) as connection, pytest.raises(errors.NeverConnected):
        connection.check()


def test_what_is_not_answered_in_time_is_not_known(examine, monkeypatch):
    import connector_runtime.checking

    monkeypatch.setattr(connector_runtime.checking, "SECONDS", 3.0)
    started = time.monotonic()
    fault = {"kind": "withhold", "path": "/GeoPermissions"}
    _, findings = examine(World({}, to=(CO,), faults=[fault]))
    assert time.monotonic() - started < 20
    verdicts = outcomes(findings)
    assert verdicts["country.1"] == "(unanswered)"
    assert {verdicts["account"], verdicts["balance"]} == {"active", "positive"}


def test_credentials_that_are_not_answered_in_time_are_an_error(examine, monkeypatch):
    import connector_runtime.checking

    monkeypatch.setattr(connector_runtime.checking, "SECONDS", 0.5)
    fault = {"kind": "withhold", "path": "/Messages.json"}
    with pytest.raises(errors.NoAnswer, match=r"No answer within the 0\.5 s that a check"):
        examine(World({}, faults=[fault]))


def test_it_asks_at_once(examine):
    recipients = [f"+1415555{number:04d}" for number in range(100, 110)]
    started = time.monotonic()
    sandbox, findings = examine(
        World({}, to=recipients, faults=[{"kind": "slow", "seconds": 1, "path": None}])
    )
    took = time.monotonic() - started
    assert len(sandbox.requests) > 20
    assert took < len(sandbox.requests) / 2  # one after another they take 1 s each
    assert outcomes(findings)["verified.10"] == "full"
    assert not [thread for thread in threading.enumerate() if thread.name == "connector-check"]
