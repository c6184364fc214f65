import pytest

from connector_build import checks
from tests.conftest import MANIFEST
from tests.packaging.checks.planting import (
    LISTED,
    LOOK_UP,
    find,
    manifest,
    move,
    remove,
    replace,
    rules,
    write,
)

OTHERS = "".join(  # a case for each action but send_sms
    f"- {{id: {action['name']}, action: {action['name']}}}\n"
    for action in MANIFEST["actions"]
    if action["name"] != "send_sms"
)
FAULTS = {
    "handler-missing: action": ("actions/send_sms.py", "", remove("actions/send_sms.py")),
    "handler-missing: auth": ("auth/__init__.py", "", remove("auth/__init__.py")),
    "handler-missing: other auth": ("login/__init__.py", "", manifest("auth", "login")),
    "handler-undeclared: module": ("actions/call.py", "", write("actions/call.py", "")),
    "handler-undeclared: in a folder of its own": (
        "actions/more/call.py", "", write("actions/more/call.py", ""),
    ),
    "handler-name: other than the action's": (
        "actions/text.py", "",
        move("actions/send_sms.py", "actions/text.py"),
        manifest("actions.0.handler", "actions/text.py"),
    ),
    "handler-run: other name": (
        "actions/send_sms.py", "run", replace("actions/send_sms.py", "def run(", "def send("),
    ),
    "handler-run: a coroutine": (
        "actions/send_sms.py", "run", replace("actions/send_sms.py", "def run(", "async def run("),
    ),
    "handler-run: auth without connect": (
        "auth/__init__.py", "connect", replace("auth/__init__.py", "def connect(", "def join("),
    ),
    "handler-run: auth without check": (
        "auth/__init__.py", "check", replace("auth/__init__.py", "def check(", "def probe("),
    ),
    "schema-missing: output": (LISTED, "", remove(LISTED)),
    "schema-missing: input": (LOOK_UP, "", remove(LOOK_UP)),
    "schema-undeclared: of no action": (
        "schemas/call.input.json", "", write("schemas/call.input.json", "{}"),
    ),
    "schema-name: other than the action's": (
        "schemas/look_up.input.json", "",
        move(LOOK_UP, "schemas/look_up.input.json"),
        manifest("actions.1.input", "schemas/look_up.input.json"),
    ),
    "test-missing: action": (
        "tests/actions/test_send_sms.py", "", remove("tests/actions/test_send_sms.py"),
    ),
    "test-empty: no function": (
        "tests/actions/test_send_sms.py", "", write("tests/actions/test_send_sms.py", "x = 1\n"),
    ),
    "test-empty: nothing that pytest runs": (
        "tests/actions/test_send_sms.py", "",
        write("tests/actions/test_send_sms.py", "def helper(): ...\n"),
    ),
    "case-missing: action": (
        "tests/conformance", "", write("tests/conformance/a.yaml", OTHERS),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


def test_a_handler_that_is_no_text_is_reported_by_both_rules(tree):
    write("actions/send_sms.py", b"x = '\xff'\n")(tree)
    assert rules(checks.check(tree)) == [
        ("text-encoding", "actions/send_sms.py"),
        ("handler-syntax", "actions/send_sms.py"),
    ]


def test_an_action_that_a_case_runs_and_a_test_in_a_class_are_enough(tree):
    write("tests/conformance/a.yaml", OTHERS)(tree)
    write("tests/conformance/b.yaml", "- {id: c, action: send_sms}\n")(tree)
    write("tests/actions/test_send_sms.py", "class TestIt:\n    def test_it(self): ...\n")(tree)
    assert checks.check(tree) == []
