import json

import pytest

from connector_build import checks, findings
from connector_runtime.schema import Schema
from tests.conftest import ROOT
from tests.packaging.checks.planting import (
    PLANTED,
    append,
    code,
    edit,
    find,
    manifest,
    own,
    remove,
    rules,
    write,
)

FAULTS = {
    "manifest: unknown key": ("connector.json", "licence", manifest("licence", "MIT")),
    "manifest: missing key": ("connector.json", "guid", manifest("guid")),
    "manifest: wrong type": (
        "connector.json", "parameters[0].required", manifest("parameters.0.required", "no")),
    "manifest: wrong version": ("connector.json", "version", manifest("version", "1.0")),
    "manifest: empty": ("connector.json", "author", manifest("author", "")),
    "manifest: empty list": ("connector.json", "categories", manifest("categories", [])),
    "manifest: other choice": (
        "connector.json", "actions[0].effect", manifest("actions.0.effect", "send"),
    ),
    "manifest: twice in a list": (
        "connector.json", "categories", manifest("categories", ["SMS", "SMS"]),
    ),
    "manifest: a list": ("connector.json", "", write("connector.json", "[1]")),
    "manifest-schema-copy: differs": (
        "schemas/manifest.json", "", append("schemas/manifest.json", b"\n"),
    ),
    "authentication: secret that is none": (
        "connector.json", "authentication.secret", manifest("authentication.secret", "accountId"),
    ),
    "authentication: no header": (
        "connector.json", "authentication.header",
        manifest("authentication", {"type": "apiKey", "secret": "authToken"}),
    ),
    "name-twice: the runtime's own": (
        "connector.json", "connectorVersion", manifest("options.3.name", "connectorVersion"),
    ),
    "name-twice: parameter and option": (
        "connector.json", "from", manifest("options.3.name", "from"),
    ),
    "name-twice: actions": (
        "connector.json", "send_sms",
        edit("connector.json", lambda document: document["actions"].append(document["actions"][0])),
    ),
    "description-long: by a letter": (
        "connector.json", "description", manifest("description", "x" * 161),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


CLEAN = {
    "number of a setting as example": manifest("options.2.example", 0.1),
    "description that just fits": manifest("description", "x" * 160),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(checks.check(tree)) == []


def test_a_manifest_that_breaks_its_schema_hides_only_what_goes_by_it(tree):
    manifest("parameters.3.secret", "no")(tree)
    manifest("guid", "1")(tree)
    remove("icon.svg")(tree)
    append("schemas/manifest.json", b"\n")(tree)
    code("from .nothing import x")(tree)
    findings = checks.check(tree)
    assert rules(findings) == [
        ("import-outside", PLANTED),
        ("manifest", "connector.json"),
        ("manifest", "connector.json"),
        ("manifest-schema-copy", "schemas/manifest.json"),
    ]
    assert [finding.place for finding in findings[1:3]] == ["guid", "parameters[3].secret"]


def test_a_pattern_of_the_manifest_is_told_in_words():
    document = json.loads((ROOT / "schemas" / "manifest.json").read_text("utf-8"))
    example = json.loads((ROOT / "connector.json").read_text("utf-8"))

    def spoil(properties, value):
        for key, field in properties.items():
            if "pattern" in field:
                value[key] = "?" * 20
                yield key
            elif "items" in field:
                for inner in value[key] if "properties" in field["items"] else ():
                    yield from spoil(field["items"]["properties"], inner)

    spoilt = [*spoil(document["properties"], example)]
    faults = [
        *findings.of_schema("manifest", "x", Schema(document), example, checks.manifest.FORMS)
    ]
    assert len(faults) == len(spoilt) > 20
    for finding in faults:
        assert finding.message.removeprefix("it must be ") in checks.manifest.FORMS.values()
