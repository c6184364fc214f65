"""The list of all checks: every rule is tried, the worst comes first, and JSON has it all."""

import importlib
import json
from pathlib import Path

import pytest

from connector_build import checks
from connector_build.findings import Finding
from tests.conftest import ROOT
from tests.packaging.checks.planting import RULES, code, remove
from tests.packaging.checks.test_secrets import NUMBERS

MODULES = [path.stem for path in Path(__file__).parent.glob("checks/test_*.py")]
FAULTS = {
    case: fault
    for name in MODULES
    for case, fault in importlib.import_module(f"tests.packaging.checks.{name}").FAULTS.items()
}


def test_the_real_tree_has_no_fault():
    assert checks.check(ROOT) == []


def test_a_copy_of_the_tree_has_no_fault(tree):
    assert checks.check(tree) == []


def test_every_rule_has_a_planted_fault():
    assert {case.partition(":")[0] for case in FAULTS} == set(RULES) - {
        "version-step"
    }  # tried in test_build


def test_only_these_rules_let_a_build_pass():
    harmless = {rule: tier for rule, tier in RULES.items() if tier != "error"}
    assert harmless == {
        "file-stray": "warning",
        "phone-number": "warning",
        "pattern-newline": "warning",
        "requirement-range": "warning",
        "test-missing": "warning",
        "field-words": "advice",
        "test-empty": "warning",
        "case-missing": "warning",
        "description-long": "advice",
    }


def test_faults_are_reported_all_at_once_and_the_worst_first(tree):
    for case in (
        "field-words: missing",
        "description-long: by a letter",
        "file-stray: no code",
        "test-missing: action",
        "icon: no SVG",
        "streams: unknown field in the summary",
        "secret-plain: not kept secret",
        "credential: account SID",
        "text-encoding: CHANGELOG",
    ):
        for plant in FAULTS[case][2:]:
            plant(tree)
    findings = checks.check(tree)
    assert [(finding.tier, finding.rule) for finding in findings] == [
        ("error", "text-encoding"),
        ("error", "credential"),
        ("error", "secret-plain"),
        ("error", "icon"),
        ("error", "streams"),
        ("warning", "file-stray"),
        ("warning", "test-missing"),
        ("advice", "description-long"),
        ("advice", "field-words"),
    ]


def test_as_json_is_what_was_found_with_names(tree):
    remove("icon.svg")(tree)
    code("# " + NUMBERS["in Germany"])(tree)
    findings = checks.check(tree)
    listed = json.loads(checks.as_json(findings))
    assert [Finding(**entry) for entry in listed] == findings
    assert [entry["tier"] for entry in listed] == ["error", "warning"]
    assert json.loads(checks.as_json([])) == []


def test_json_keeps_letters_as_they_are():
    assert "é" in checks.as_json([Finding("error", "icon", "é.png", "", "make it square")])


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (
            Finding("error", "icon", "icon.png", "", "make it square"),
            "error    icon.png: make it square. [icon]",
        ),
        (
            Finding("warning", "pattern-newline", "a.json", "sid", "end it"),
            "warning  a.json: sid: end it. [pattern-newline]",
        ),
    ],
    ids=["without a place", "with a place"],
)
def test_a_finding_in_one_line(finding, text):
    assert str(finding) == text
