import json

import pytest

from connector_runtime import errors

LANGUAGES = ("en", "es")


@pytest.fixture(scope="module")
def hints(root):
    return json.loads((root / "auth" / "hints.json").read_text("utf-8"))


def test_an_api_key_signs_in_with_its_secret(twilio, sandbox):
    twilio.run("get_all_sms", {}, sandbox.key_settings)
    assert sandbox.requests[-1]["user"] == sandbox.key_settings["apiKeySid"]
    assert sandbox.account_sid in sandbox.requests[-1]["path"]


# Of Twilio's error dictionary: what a send, a look-up or a delivery can meet.
REFUSALS = (
    "10001 10002 20001 20003 20008 20403 20404 20429 20500 20503 21211 21212 21266 21408 21601 "
    "21602 21603 21604 21606 21607 21608 21610 21611 21612 21614 21616 21617 21620 21635 21657 "
    "21659 21660 21661 21701 21702 21703 21704 21705 21709 21910 30409 572002 572005 572006 575001 "
    "63007 63015 70051"
)
DELIVERIES = (
    "30001 30002 30003 30004 30005 30006 30007 30008 30032 30034 30044 30450 63016"
)  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", [*REFUSALS.split(), *DELIVERIES.split()])
def test_every_code_has_a_meaning_and_a_hint(twilio_folder, code, language):
    described = twilio_folder.explain(code, language)
    assert set(described) == {"code", "meaning", "hint", "step", "delivery"}
    assert described["code"] == code
    assert described["hint"][-1] == "."
    assert described["meaning"][-1] not in ".:"
    assert described["delivery"] == (code in DELIVERIES.split())
    assert described["step"] in (None, 1, 4, 5, 6, 7)


def test_a_code_may_be_a_number_and_unknown_ones_are_none(twilio_folder):
    assert twilio_folder.explain(30003) == twilio_folder.explain("30003")
    for unknown in (None, "99999", 1, "", "GET 20404", "30003 ", "meaning"):
        assert twilio_folder.explain(unknown) is None


def test_no_text_is_the_same_in_both_languages(hints):
    entries = [
        *hints["codes"].values(),
        *hints["statuses"].values(),
        *hints["credentials"].values(),
    ]
    for entry in entries:
        assert set(entry) <= {"meaning", "hint", "step", "delivery", "es"}
        assert set(entry["es"]) == {"meaning", "hint"}
        assert entry["meaning"] != entry["es"]["meaning"]
        assert entry["hint"] != entry["es"]["hint"]


@pytest.mark.parametrize(
    ("code", "step"),
    [("20003", 4), ("20403", 1), ("70051", 4), ("21659", 5), ("21704", 5), ("21408", 6),
     ("21608", 7), ("572005", 7), ("30034", 5), ("30003", None), ("21610", None)],
)  # fmt: skip
def test_codes_that_the_set_up_is_to_blame_for_name_its_step(twilio_folder, code, step):
    assert twilio_folder.explain(code)["step"] == step


@pytest.mark.parametrize(
    "code", ["10002", "21608", "572002", "572005", "572006", "575001", "30044"]
)
def test_codes_of_trial_accounts_name_both_kinds(twilio_folder, code):
    hint = twilio_folder.explain(code)["hint"]
    assert "Verified Caller IDs" in hint
    assert "predefined texts" in hint
    hint = twilio_folder.explain(code, "es")["hint"]
    assert "Verified Caller IDs" in hint
    assert "textos predefinidos" in hint


@pytest.mark.parametrize("name", ["hint", "meaning"])
def test_services_without_senders_and_without_fitting_ones_are_told_apart(twilio_folder, name):
    assert "can reach this recipient" in twilio_folder.explain("21703")[name]
    assert "can reach this recipient" not in twilio_folder.explain("21704")[name]


@pytest.mark.parametrize(
    ("method", "status", "code", "kind", "expected"),
    [
        ("GET", 403, 20008, errors.Forbidden, "Test credentials can only send"),
        ("GET", 403, 20403, errors.Forbidden, "the account is suspended or closed"),
        ("GET", 403, 70051, errors.Forbidden, "the restricted API key lacks the permission"),
        ("GET", 403, 99999, errors.Forbidden, "the credentials do not allow it"),
        ("GET", 404, 20404, errors.NotFound, "there is no such message in this account"),
        ("GET", 404, 99999, errors.NotFound, "there is no such message in this account"),
        ("POST", 403, 20403, errors.Forbidden, "the account is suspended or closed"),
        ("POST", 403, 70051, errors.Forbidden, "'/twilio/messaging/messages/create' to send"),
        ("POST", 404, 20404, errors.NotFound, "there is no such account at this address"),
        ("POST", 404, 21701, errors.NotFound, "there is no such Messaging Service"),
        ("POST", 404, 99999, errors.NotFound, "there is no such resource"),
        ("GET", 401, 20003, errors.CredentialsRefused, "'authToken' against Live credentials"),
        ("GET", 401, 99999, errors.CredentialsRefused, "'authToken' against Live credentials"),
        ("GET", 401, 10001, errors.CredentialsRefused, "why the account is not active"),
    ],
)
def test_refusals_are_explained_by_code_and_method(
    twilio_folder, sandbox, method, status, code, kind, expected
):
    sandbox.fail("body", status=status, value={"code": code, "message": "+14155550123 hush"})
    action, inputs = {
        "GET": ("get_sms_information", {"sid": "SM" + 32 * "a"}),
        "POST": ("send_sms", {"to": "+14155550123", "body": "Hola"}),
    }[method]
    with pytest.raises(kind) as caught:
        twilio_folder.run(action, inputs, sandbox.settings)
    assert expected in str(caught.value)
    if method == "POST":
        assert "no such message" not in str(caught.value)


def test_a_refused_key_names_the_key_the_region_and_the_subaccount(twilio_folder, sandbox):
    settings = {**sandbox.key_settings, "authToken": "wrong"}
    with pytest.raises(errors.CredentialsRefused) as caught:
        twilio_folder.run("get_all_sms", {}, settings)
    for word in ("'apiKeySid'", "region", "subaccount"):
        assert word in caught.value.hint


def test_a_code_that_is_not_known_leaves_the_status_to_decide(connection, sandbox):
    sandbox.fail("body", status=402, value={"code": 99999, "message": "+14155550123 hush"})
    with pytest.raises(errors.Refused) as caught:
        connection.run("get_all_sms")
    assert str(caught.value) == "Twilio refused get_all_sms (HTTP 402, code 99999)."
    assert (caught.value.provider_code, caught.value.hint) == ("99999", None)


def test_an_error_page_leaves_the_status_to_decide(connection, sandbox):
    sandbox.fail("html", status=404)
    with pytest.raises(errors.NotFound) as caught:
        connection.run("get_all_sms")
    assert (caught.value.status, caught.value.provider_code) == (404, None)
