import logging

import pytest

from connector_runtime import errors, settings
from connector_runtime.schema import Schema

AC = "AC" + 32 * "a"
GOOD = {"accountId": AC, "authToken": "made-up"}


def schema(**properties):
    return Schema({"type": "object", "properties": properties})


PRECEDENCE = {
    "input beats global": ({"a": "input"}, {"a": "global"}, "input"),
    "global where there is no input": ({}, {"a": "global"}, "global"),
    "global where the input is null": ({"a": None}, {"a": "global"}, "global"),
    "global where the input is empty": ({"a": ""}, {"a": "global"}, "global"),
    "global where the input is blank": ({"a": " \n\t"}, {"a": "global"}, "global"),
    "default where the global is blank": ({}, {"a": " "}, "default"),
    "default last": ({}, {}, "default"),
    "false is given": ({"a": False}, {"a": "global"}, False),
    "zero is given": ({"a": 0}, {"a": "global"}, 0),
}


@pytest.mark.parametrize(("inputs", "parameters", "expected"), PRECEDENCE.values(), ids=PRECEDENCE)
def test_precedence(inputs, parameters, expected):
    before = dict(inputs), dict(parameters)
    merged = settings.merge(inputs, parameters, ["a"], schema(a={"default": "default"}))
    assert merged == {"a": expected}
    assert (inputs, parameters) == before


def test_only_the_globals_that_an_action_takes_are_merged():
    assert settings.merge({}, {"a": 1, "b": 2}, ["a"], schema(a={}, b={})) == {"a": 1}


def test_a_default_is_copied():
    document = schema(a={"default": []})
    settings.merge({}, {}, [], document)["a"].append(1)
    assert settings.merge({}, {}, [], document) == {"a": []}


BAD_SETTINGS = {
    "nothing": (None, "'accountId' is required (set it for this environment)"),
    "blank token": ({**GOOD, "authToken": " "}, "'authToken' is required"),
    "unknown": ({**GOOD, "acountId": "x"}, "'acountId' is not known (did you mean 'accountId'?)"),
    "a list": ([], "must be a mapping of names"),
    "negative timeout": ({**GOOD, "timeoutSeconds": -1}, "'timeoutSeconds' must be a number"),
    "timeout as text": ({**GOOD, "timeoutSeconds": "nan"}, "'timeoutSeconds' must be a number"),
    "timeout infinite": ({**GOOD, "timeoutSeconds": float("inf")}, "must be a finite number"),
    "timeout true": ({**GOOD, "timeoutSeconds": True}, "'timeoutSeconds' must be a number"),
    "attempts broken": ({**GOOD, "maxAttempts": 1.5}, "'maxAttempts' must be a whole number"),
    "account with a slash": ({**GOOD, "accountId": AC[:-1] + "/"}, "'accountId' must be an Acc"),
    "account with line break": ({**GOOD, "accountId": AC + "\n"}, "'accountId' must be an Acc"),
    "token with line break": ({**GOOD, "authToken": "x\n"}, "'authToken' must be the token alone"),
    "sender as number": ({**GOOD, "from": 15005550006}, "'from' must be text: put it in quotes"),
    "sender malformed": ({**GOOD, "from": "+1415"}, "'from' must be an E.164 number"),
    "voice_url ftp": ({**GOOD, "voice_url": "ftp://example.com/"}, "'voice_url' must be an http"),
    "voice_url path": ({**GOOD, "voice_url": "/voice.xml"}, "'voice_url' must be an http"),
    "key": ({**GOOD, "apiKeySid": AC}, "'apiKeySid' must be an API key SID"),
    "plain http": ({**GOOD, "apiBaseUrl": "http://example.com"}, "only for loopback"),
    "loopback lookalike": ({**GOOD, "apiBaseUrl": "http://127.0.0.1.example.com"}, "loopback"),
    "other scheme": ({**GOOD, "apiBaseUrl": "ftp://127.0.0.1"}, "'apiBaseUrl' must be https"),
    "user in address": ({**GOOD, "apiBaseUrl": "https://a@example.com"}, "'apiBaseUrl' must be"),
    "path in address": ({**GOOD, "apiBaseUrl": "https://example.com/x"}, "'apiBaseUrl' must be"),
    "no host": ({**GOOD, "apiBaseUrl": "https://:443"}, "'apiBaseUrl' must be https"),
    "no port": ({**GOOD, "apiBaseUrl": "https://example.com:99999"}, "'apiBaseUrl' must be https"),
}


@pytest.mark.parametrize(("given", "expected"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_wrong_settings_are_refused_when_connecting(twilio, given, expected):
    with pytest.raises(errors.InvalidConfiguration) as caught:
        twilio.connect(given)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("configuration: ")


def test_every_fault_of_the_settings_is_reported_at_once_and_no_value_shown(twilio):
    with pytest.raises(errors.InvalidConfiguration) as caught:
        twilio.connect({"accountId": "AC-hush", "from": "+1-hush-hush", "timeoutSeconds": "hush"})
    assert len(caught.value.problems) == 4
    assert "hush" not in str(caught.value.to_dict())


@pytest.mark.parametrize(
    "url",
    [
        "https://api.dublin.ie1.twilio.com",
        "http://localhost:1",
        "http://127.9.9.9",
        "http://[::1]:8/",
    ],
)
def test_https_and_loopback_addresses_pass(twilio, url):
    twilio.connect({**GOOD, "apiBaseUrl": url}).close()


def test_numbers_may_come_as_text_and_blank_options_get_their_defaults(twilio):
    checked = settings.check(
        {**GOOD, "timeoutSeconds": " 2.5 ", "maxAttempts": "3", "apiBaseUrl": ""},
        Schema(settings.settings_schema(twilio.manifest)),
    )
    assert (checked["timeoutSeconds"], checked["maxAttempts"]) == (2.5, 3)
    assert checked["apiBaseUrl"] == "https://api.twilio.com"


def later(twilio, caplog, version, **unknown):
    """Connect with settings that a later version knows; return what is warned of."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "connector_runtime"):
        twilio.connect({**GOOD, "connectorVersion": version, **unknown}).close()
    return [record.getMessage() for record in caplog.records]


def test_after_a_rollback_what_only_the_later_version_knows_is_left_out_with_a_warning(
    twilio, caplog
):
    (warning,) = later(twilio, caplog, "99.1.0", laterOption="hush")
    assert warning == (
        "configuration: 'laterOption' is not known to twilio 1.0.0 and is left out; the settings "
        "were written for version 99.1.0."
    )
    assert later(twilio, caplog, "99.1.0") == []
    (hidden,) = later(twilio, caplog, "99.1.0", **{"authToken:hush": ""})
    assert "hush" not in hidden


@pytest.mark.parametrize("version", ["1.0.0", "0.9.0", "1.0.0-rc.1"])
def test_a_typing_error_in_settings_for_this_version_is_refused(twilio, version):
    with pytest.raises(errors.InvalidConfiguration, match="did you mean 'timeoutSeconds'"):
        twilio.connect({**GOOD, "connectorVersion": version, "timeoutSecond": 5})


def test_what_a_later_version_knows_too_is_still_checked(twilio):
    with pytest.raises(errors.InvalidConfiguration, match="'timeoutSeconds' must be"):
        twilio.connect({**GOOD, "connectorVersion": "99.0.0", "timeoutSeconds": -1})


@pytest.mark.parametrize("version", ["1", "newest", 2])
def test_a_version_that_is_none_is_refused(twilio, version):
    with pytest.raises(errors.InvalidConfiguration, match="'connectorVersion' must be"):
        twilio.connect({**GOOD, "connectorVersion": version, "laterOption": 1})


def test_the_version_is_not_a_setting_of_the_connector(twilio):
    schema = Schema(settings.settings_schema(twilio.manifest))
    assert "connectorVersion" not in settings.check({**GOOD, "connectorVersion": "1.0.0"}, schema)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("true", True), (" FALSE ", False), (True, True), ("yes", None), (1, None), ("1", None)],
)
def test_true_and_false_may_come_as_text(given, expected):
    document = schema(flag={"type": "boolean"})
    if expected is None:
        with pytest.raises(errors.InvalidConfiguration, match="'flag' must be true or false"):
            settings.check({"flag": given}, document)
    else:
        assert settings.check({"flag": given}, document) == {"flag": expected}
