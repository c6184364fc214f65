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
        twilio.connect({"accountId": "AC-hush", "from": "+1-hush", "timeoutSeconds": "hush"})
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


def write(tmp_path, text):
    path = tmp_path / "connector.yaml"
    path.write_text(text, "utf-8")
    return path


TWO = "environments:\n  test: {a: '1'}\n  production: {a: '2'}\n"
BAD_FILES = {
    "no mapping": ("- a\n", None, "must be a mapping with 'environments:'"),
    "empty": ("", None, "must be a mapping with 'environments:'"),
    "environments is a list": ("environments: [a]", None, "must be a mapping with"),
    "environment is text": ("environments: {test: hush}", None, "'test' must be a mapping"),
    "several and none named": (TWO, None, "name one of: test, production"),
    "not there": (TWO, "development", "has no environment 'development'. It has: test, production"),
    "not YAML": ("a: 'hush\n", None, "is not valid YAML at line"),
    "object tag": ("environments: !!python/object:os.system hush", None, "is not valid YAML"),
}


@pytest.mark.parametrize(("text", "environment", "expected"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_wrong_file_is_refused_without_showing_it(tmp_path, text, environment, expected):
    with pytest.raises(errors.InvalidConfiguration) as caught:
        settings.read(write(tmp_path, text), environment)
    assert expected in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(errors.InvalidConfiguration, match="No such file"):
        settings.read(tmp_path / "missing.yaml")


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "connector.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(errors.InvalidConfiguration, match="is not valid YAML"):
        settings.read(path)


def test_the_only_environment_need_not_be_named(tmp_path):
    assert settings.read(write(tmp_path, "environments: {test: {a: '1'}}")) == {"a": "1"}


def test_variables_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MADE_UP", "x: ${NOT_AGAIN}")
    path = write(tmp_path, "environments: {test: {a: 'b ${MADE_UP}', n: 5}}")
    assert settings.read(path, "test") == {"a": "b x: ${NOT_AGAIN}", "n": 5}


def test_variables_that_are_not_set_are_all_named(tmp_path, monkeypatch):
    monkeypatch.delenv("MADE_UP", raising=False)
    path = write(tmp_path, "environments: {test: {a: '${MADE_UP}', b: '${MADE_UP_2}'}}")
    with pytest.raises(errors.InvalidConfiguration) as caught:
        settings.read(path)
    assert caught.value.problems == (
        "the variable 'MADE_UP' is not set", "the variable 'MADE_UP_2' is not set",
    )  # fmt: skip


def test_the_example_file_has_bizagis_environments(root, monkeypatch):
    for name in ("ACCOUNT_SID", "AUTH_TOKEN", "SANDBOX_URL", "FROM", "VOICE_URL"):
        monkeypatch.setenv(f"TWILIO_{name}", "x")
        monkeypatch.setenv(f"TWILIO_TEST_{name}", "x")
    for environment in ("development", "test", "production"):
        assert settings.read(root / "examples/connector.yaml", environment)["authToken"] == "x"
