import re

import pytest
import yaml

from connector_runtime import environments, errors
from connector_runtime.settings import is_given
from twilio_sandbox.numbers import SENDER
from twilio_sandbox.server import ACCOUNT_SID, AUTH_TOKEN


def write(tmp_path, text):
    path = tmp_path / "connector.yaml"
    path.write_text(text, "utf-8")
    return path


TWO = "environments:\n  test: {a: '1'}\n  production: {a: '2'}\n"
BAD_FILES = {
    "no mapping": ("- a\n", None, "must be a mapping with 'environments:'"),
    "empty": ("", None, "must be a mapping with 'environments:'"),
    "environments is a list": ("environments: [a]", None, "must be a mapping with"),
    "environment is text": (
        "environments: {test: hush}",
        None,
        "environment 'test': it must be a mapping",
    ),
    "several and none named": (TWO, None, "name one of: test, production"),
    "not there": (TWO, "development", "has no environment 'development'. It has: test, production"),
    "not YAML": ("a: 'hush\n", None, "is not valid YAML at line"),
    "key twice": (
        "environments:\n  test:\n    a: hush\n    a: hush\n",
        None,
        "declares 'a' twice, again at line 4, column 5: keep one",
    ),
    "environment twice": (
        "environments:\n  test: {}\n  test: {}\n",
        None,
        "declares 'test' twice, again at line 3, column 3: keep one",
    ),
    "tab": (
        "environments:\n  test:\n\t  a: hush\n",
        None,
        "is not valid YAML at line 3, column 1: indent with spaces, not with a tab",
    ),
    "environment is a number": (
        "environments: {2024: {a: hush}}",
        "2024",
        "an environment's name must be text: put 2024 in quotes",
    ),
    "environment is a truth": ("environments: {on: {}}", None, "must be text: put True in quotes"),
    "no space": (
        "environments:\n  test:\n    a: hush\n    authToken:hush\n    b: hush\n",
        None,
        "line 4: put a space after 'authToken:'",
    ),
    "no space and nothing else": (
        "environments:\n  test:\n    authToken:hush\n",
        None,
        "environment 'test': it must be a mapping of settings, with a space after each colon",
    ),
    "a date that is none": ("environments: {test: {a: 2024-99-99}}", None, "and dates, in quotes"),
    "a character that YAML forbids": ("a: \x00hush", None, "put texts with special characters"),
    "object tag": ("environments: !!python/object:os.system hush", None, "is not valid YAML"),
}


@pytest.mark.parametrize(("text", "environment", "expected"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_wrong_file_is_refused_without_showing_it(tmp_path, text, environment, expected):
    with pytest.raises(errors.InvalidConfiguration) as caught:
        environments.read(write(tmp_path, text), environment)
    assert expected in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None  # it would keep the text


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\nb: 2\nc: [hush\n", 4, 1),
        ("environments:\n  test:\n    authToken: 'hush\n    from: x\n", 5, 1),
        ("a: b: hush", 1, 5),
        ("a: 1\n\n\n  %hush\n- x", 5, 1),
    ],
)
def test_the_place_of_a_fault_in_a_file_is_told(tmp_path, text, line, column):
    with pytest.raises(errors.InvalidConfiguration) as caught:
        environments.read(write(tmp_path, text))
    assert str(caught.value).endswith(f"is not valid YAML at line {line}, column {column}.")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(errors.InvalidConfiguration, match="No such file"):
        environments.read(tmp_path / "missing.yaml")


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "connector.yaml"
    path.write_bytes(b"a: b\n\xff\xfe: hush")
    with pytest.raises(
        errors.InvalidConfiguration, match=r"is not UTF-8 text \(line 2\): save it"
    ) as caught:
        environments.read(path)
    assert caught.value.__cause__ is caught.value.__context__ is None  # it would keep the text


def test_the_only_environment_need_not_be_named(tmp_path):
    assert environments.read(write(tmp_path, "environments: {test: {a: '1'}}")) == {"a": "1"}


def test_variables_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MADE_UP", "x: ${NOT_AGAIN}")
    path = write(tmp_path, "environments: {test: {a: 'b ${MADE_UP}', n: 5}}")
    assert environments.read(path, "test") == {"a": "b x: ${NOT_AGAIN}", "n": 5}


def test_variables_are_filled_in_at_any_depth_and_where_there_are_several(tmp_path, monkeypatch):
    monkeypatch.setenv("MADE_UP", "x")
    monkeypatch.setenv("MADE_UP_2", "${MADE_UP}")
    path = write(tmp_path, """
        environments:
          test:
            twilio: {a: "${MADE_UP}", deeper: {b: "-${MADE_UP}${MADE_UP_2}-", n: 1}}
            other: {c: "$MADE_UP {MADE_UP} ${}"}
    """)  # fmt: skip
    assert environments.read(path) == {
        "twilio": {"a": "x", "deeper": {"b": "-x${MADE_UP}-", "n": 1}},
        "other": {"c": "$MADE_UP {MADE_UP} ${}"},
    }


def test_a_value_whose_variable_is_not_set_is_not_given(tmp_path, monkeypatch):
    monkeypatch.delenv("MADE_UP", raising=False)
    path = write(tmp_path, "environments: {test: {a: 'x${MADE_UP}', b: {c: '${MADE_UP}'}}}")
    read = environments.read(path)
    assert not is_given(read["a"])
    assert (read["a"].variable, read["b"]["c"].variable) == ("MADE_UP", "MADE_UP")


GOOD = "accountId: AC" + 32 * "a" + "\n    authToken: made-up"


def connect(twilio, tmp_path, settings):
    path = write(tmp_path, f"environments:\n  test:\n    {settings}\n")
    return twilio.connect(environments.read(path, "test"))


def test_an_optional_parameter_may_take_a_variable_that_is_not_set(twilio_folder, tmp_path):
    connection = connect(twilio_folder, tmp_path, GOOD + "\n    from: ${NOT_SET_FROM}")
    with connection, pytest.raises(errors.InvalidInput, match="'from' is required"):
        connection.run("send_sms", {"to": "+14155550123", "body": "x"})


def test_a_required_parameter_names_file_environment_and_variable(twilio_folder, tmp_path):
    with pytest.raises(errors.InvalidConfiguration) as caught:
        connect(twilio_folder, tmp_path, GOOD.replace("made-up", "${NOT_SET_TOKEN}"))
    assert str(caught.value) == (
        f"configuration file '{tmp_path / 'connector.yaml'}', environment 'test': "
        "'authToken' is required (the variable 'NOT_SET_TOKEN' is not set)."
    )


def test_an_option_whose_variable_is_not_set_is_no_default_in_silence(twilio_folder, tmp_path):
    """Or what is meant for a sandbox would go to the real service."""
    with pytest.raises(errors.InvalidConfiguration) as caught:
        connect(twilio_folder, tmp_path, GOOD + "\n    apiBaseUrl: ${NOT_SET_URL}")
    assert "'apiBaseUrl': the variable 'NOT_SET_URL' is not set" in str(caught.value)


def test_a_token_without_a_space_before_it_is_not_shown(twilio_folder, tmp_path):
    with pytest.raises(errors.InvalidConfiguration) as caught:
        twilio_folder.connect({"accountId": "AC" + 32 * "a", "authToken:hush": None})
    assert "'authToken: (a space is missing)' is not known" in str(caught.value)
    assert "hush" not in str(caught.value.to_dict())


def test_an_environment_may_hold_one_mapping_for_each_connector(tmp_path):
    path = write(tmp_path, "environments: {test: {a: {x: 1}, b: {x: 2}}}")
    assert environments.of_each(path, None, ["a", "b", "c"]) == {
        "a": {"x": 1}, "b": {"x": 2}, "c": {},
    }  # fmt: skip
    assert environments.of_each(path, None, ["b"]) == {"b": {"x": 2}}
    path = write(tmp_path, "environments: {test: {x: 1}}")
    assert environments.of_each(path, None, ["a"]) == {"a": {"x": 1}}
    with pytest.raises(errors.InvalidConfiguration, match="one mapping for each: a, b"):
        environments.of_each(path, None, ["a", "b"])
    path = write(tmp_path, "environments: {test: {a: text}}")
    with pytest.raises(errors.InvalidConfiguration, match="'a' must be a mapping"):
        environments.of_each(path, None, ["a"])


def test_a_home_is_found_where_the_shell_did_not_look(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path, "environments: {test: {a: '1'}}")
    assert environments.read("~/connector.yaml") == {"a": "1"}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "connector.yaml").write_text("environments: {test: {a: '1'}}", "utf-8-sig")
    assert environments.read(tmp_path / "connector.yaml") == {"a": "1"}


def test_the_example_works_as_it_is_with_the_sandbox(root):
    read = environments.read(root / "examples/connector.yaml", "development")
    assert (read["accountId"], read["authToken"], read["from"]) == (ACCOUNT_SID, AUTH_TOKEN, SENDER)
    assert read["apiBaseUrl"] == "http://127.0.0.1:8010"  # as `python -m twilio_sandbox` has it


def test_the_example_file_has_bizagis_environments(root):
    text = (root / "examples/connector.yaml").read_text("utf-8")
    assert list(yaml.safe_load(text)["environments"]) == ["development", "test", "production"]
    assert set(re.findall(r"\${(TW\w+)}", text)) == {
        *("TWILIO_TEST_ACCOUNT_SID", "TWILIO_TEST_AUTH_TOKEN"),
        *("TWILIO_FROM", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"),
    }
