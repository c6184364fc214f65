import json

import pytest

from connector_runtime import errors

CREDENTIALS = ("credentials", True, "Twilio accepts them.")


def test_a_good_environment_passes_every_check(connection):
    found = connection.check()
    assert found[0] == CREDENTIALS
    assert [(name, verdict) for name, verdict, _ in found] == [
        ("credentials", True), ("account", True), ("from", True),
    ]  # fmt: skip


def test_wrong_credentials_are_a_finding(twilio, sandbox):
    with twilio.connect({**sandbox.settings, "authToken": "wrong"}) as connection:
        ((name, verdict, detail),) = connection.check()
    assert (name, verdict) == ("credentials", False)
    assert "Live credentials" in detail


def test_test_credentials_are_a_finding_with_what_they_can_do(twilio, sandbox):
    with twilio.connect(sandbox.test_settings) as connection:
        ((_, verdict, detail),) = connection.check()
    assert not verdict
    assert "Test credentials can only send" in detail


@pytest.mark.parametrize(
    ("sender", "verdict", "expected"),
    [
        ("+15005550006", True, "can send SMS"),
        ("+15005550007", False, "It can't send SMS. Set 'from' to a number"),
        ("+14155559999", False, "Not a number of this account."),
        ("Clinic 24", True, "Not a phone number"),
        ("MG" + 32 * "a", True, "Not a phone number"),
        (None, True, "Not set"),
    ],
)
def test_the_sender_is_checked(twilio, sandbox, sender, verdict, expected):
    with twilio.connect({**sandbox.settings, "from": sender}) as connection:
        name, found, detail = connection.check()[-1]
    assert (name, found) == ("from", verdict)
    assert expected in detail
    assert "+1" not in detail


@pytest.mark.parametrize("after", [0, 1])
def test_an_answer_that_names_nothing_is_an_error(twilio, sandbox, after):
    sandbox.fail("body", value=[], after=after)
    with (
        twilio.connect(sandbox.settings) as connection,
        pytest.raises(errors.InvalidAnswer, match=r"(names no account|no list of phone numbers)"),
    ):
        connection.check()


def test_an_api_key_signs_in_with_its_secret(twilio, sandbox):
    twilio.run("get_all_sms", {}, sandbox.key_settings)
    assert sandbox.requests[-1]["user"] == sandbox.key_settings["apiKeySid"]
    assert sandbox.account_sid in sandbox.requests[-1]["path"]


def test_every_code_of_the_reference_has_a_meaning_and_a_hint(root):
    hints = json.loads((root / "auth" / "hints.json").read_text("utf-8"))
    needed = {"20003", "20404", "20429", "21211", "21212", "21408", "21602", "21603", "21604",
              "21606", "21608", "21610", "21611", "21612", "21614", "21617", "21620", "21659",
              "21701", "21702", "21703", "21704"}  # fmt: skip
    assert needed <= set(hints["codes"])
    for known in [*hints["codes"].values(), *hints["statuses"].values()]:
        assert set(known) == {"meaning", "hint"}
        assert known["hint"].endswith(".")
        assert not known["meaning"].endswith(".")


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
