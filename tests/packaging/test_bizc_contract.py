"""What a change means for the processes that were drawn for a released .bizc."""

import functools
import json
import re

import pytest

from connector_build import bizc, bizc_contract, contract, package
from tests.conftest import ROOT
from tests.packaging.conftest import edit_json, edit_text, put, run

SEND_IN, SEND_OUT = "schemas/send_sms.input.json", "schemas/send_sms.output.json"


@pytest.fixture(scope="module")
def released():
    return bizc.contents(ROOT)


def levels(old, tree):
    """The changes but those that follow from the manifest: the bundled data and the README."""
    made = ("README.md", "node_modules/bizagi-connector/definition.json")
    changes = bizc_contract.compare(old, bizc.contents(tree))
    return {(change.level, change.place) for change in changes if change.place not in made}


def test_nothing_changed_is_no_change(released, tree):
    assert bizc_contract.compare(released, bizc.contents(tree)) == []


@pytest.mark.parametrize(
    ("file", "place", "value", "change"),
    [
        ("connector.json", "guid", "11111111-1111-4111-8111-111111111111", "globalguid"),
        ("connector.json", "displayName", "Twilio 2", "name"),
    ],
)
def test_another_identity_is_major(released, tree, file, place, value, change):
    edit_json(tree / file, lambda it: put(it, place, value))
    assert ("major", f"def/connector.json: {change}") in levels(released, tree)


@pytest.mark.parametrize(
    ("file", "place", "value", "expected"),
    [
        (SEND_OUT, "properties.price.type", ["string", "null"], ("major", "outputs.output.price")),
        (SEND_OUT, "properties.price", None, ("major", "outputs.output.price")),
        (SEND_IN, "properties.to", None, ("major", "inputs.input.to")),
        (SEND_IN, "required", ["to"], ("minor", "inputs.input.body")),
        ("connector.json", "parameters.0.required", True, ("major", "authentication from")),
        ("connector.json", "parameters.2.required", False, ("minor", "authentication accountId")),
        ("connector.json", "parameters.0.secret", True, ("minor", "authentication from")),
        ("connector.json", "options.1", None, ("major", "property apiKeySid")),
        ("connector.json", "actions.0.displayName", "Send", ("patch", "send-sms: displayName")),
        ("connector.json", "description", "Another.", ("patch", "connector.json: description")),
        ("connector.json", "actions.2", None, ("major", "action get-all-sms")),
    ],
)
def test_change_has_its_level(released, tree, file, place, value, expected):
    edit_json(tree / file, lambda it: put(it, place, *(() if value is None else (value,))))
    if file == "connector.json" and place == "actions.2":
        (tree / "marketplace" / "bizagi" / "actions" / "get-all-sms.js").unlink()
    level, end = expected
    matching = [change for change in levels(released, tree) if change[1].endswith(end)]
    assert [change[0] for change in matching] == [level], levels(released, tree)


@pytest.mark.parametrize(
    ("required", "level"), [(False, "minor"), (True, "major")], ids=["optional", "required"]
)
def test_input_that_was_added_is_as_grave_as_it_is_required(released, tree, required, level):
    field = {"type": "string", "description": "More.", "examples": ["a"]}

    def add(schema):
        schema["properties"]["more"] = field
        schema["required"] += ["more"] if required else []

    edit_json(tree / SEND_IN, add)
    assert levels(released, tree) == {(level, "action send-sms: xsdinput.inputs.input.more")}


def test_error_codes_are_part_of_it(released, tree):
    name = "node_modules/bizagi-connector/definition.json"
    data = json.loads(released[name])
    fewer = {**released, name: json.dumps({**data, "codes": data["codes"][1:]}).encode()}
    gone = data["codes"][0]
    assert bizc_contract.compare(released, fewer)[0][:2] == ("major", f"error code {gone}")
    assert bizc_contract.compare(fewer, released)[0][:2] == ("minor", f"error code {gone}")


def test_every_code_that_the_javascript_gives_is_declared(released):
    declared = set(bizc.codes())
    text = "".join(content.decode() for name, content in released.items() if name.endswith(".js"))
    given = set(re.findall(r"(?:Fault\(\s*|failed\(\s*|code = |\|\| |: )'([A-Z][A-Z_]{5,})'", text))
    assert len(given) > 8
    assert given - {"CONNECT"} <= declared  # that one is a method of HTTP


@pytest.fixture
def build(tree, tmp_path):
    """Release the tree as it is, and give a way to ask what was changed since."""
    path = tmp_path / "released" / "twilio-1.0.0.bizc"
    path.parent.mkdir()
    package.write(path, bizc.contents(tree))

    return functools.partial(run, tree), path


def test_handler_that_was_changed_needs_another_version(tree, build):
    ask, path = build
    assert ask("check", "--against", path).returncode == 0
    edit_text(
        tree / "marketplace" / "bizagi" / "actions" / "send-sms.js",
        "async function",
        "async  function",
    )
    done = ask("check", "--against", path)
    assert done.returncode == 1
    assert "patch changes since 1.0.0: make it 1.0.1" in done.stdout
    assert "patch  .bizc actions/send-sms.js: changed" in ask("diff", path).stdout


def test_package_beside_the_one_that_is_named_is_compared_too(tree, build, tmp_path):
    ask, path = build
    zipped = path.with_suffix(".zip")
    package.write(zipped, package.contents(tree))
    edit_text(
        tree / "marketplace" / "bizagi" / "auth" / "auth.js", "'use strict';", "'use strict'; "
    )
    assert "patch  .bizc auth/auth.js: changed" in ask("diff", zipped).stdout


def test_file_that_is_no_bizc_is_refused(tree, build):
    ask, path = build
    path.write_bytes(b"not a ZIP")
    done = ask("diff", path)
    assert (done.returncode, "it can't be read as a .bizc" in done.stderr) == (1, True)


def test_handler_that_does_something_else_is_found_by_the_cases(node, released):
    name = "actions/get-sms-information.js"
    other = released[name].replace(b"message.sid !== inputs.sid", b"false")
    assert other != released[name]
    changes = bizc_contract.behaviour(ROOT, released, {**released, name: other})
    assert changes == [
        contract.Change("major", "case answer-about-another-message", "another output"),
        contract.Change("major", "case answer-about-another-message", "another error"),
    ]
    assert bizc_contract.behaviour(ROOT, released, {**released, "README.md": b""}) == []
