import pytest

from connector_build import checks
from tests.packaging.checks.planting import (
    find,
    manifest,
    remove,
    rules,
    schema,
)

FAULTS = {
    "global-unknown: no parameter": (
        "connector.json", "actions[1].globals", manifest("actions.1.globals", ["sender"]),
    ),
    "global-unknown: not global": (
        "connector.json", "actions[0].globals", manifest("actions.0.globals", ["accountId"]),
    ),
    "global-unknown: an option": (
        "connector.json", "actions[0].globals", manifest("actions.0.globals", ["timeoutSeconds"]),
    ),
    "global-input: no such input": (
        "connector.json", "actions[1].globals", manifest("actions.1.globals", ["from"]),
    ),
    "global-input: other pattern": (
        "schemas/send_sms.input.json", "from",
        schema("schemas/send_sms.input.json", "properties.from.pattern", r"^.+$(?!\n)"),
    ),
    "global-input: other bound": (
        "schemas/send_sms.input.json", "from",
        schema("schemas/send_sms.input.json", "properties.from.minimum", 1),
    ),
    **{
        f"global-input: other {facet}": (
            "schemas/send_sms.input.json", "from",
            schema("schemas/send_sms.input.json", f"properties.from.{facet}", value),
            schema("schemas/send_sms.input.json", "properties.from.examples", ["+15005550006"]),
            schema("schemas/send_sms.input.json", "examples", []),
        )
        for facet, value in {
            "minLength": 2, "maxLength": 12, "enum": ["+15005550006"], "const": "+15005550006",
            "format": "phone",
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


def test_a_schema_that_is_gone_takes_its_globals_along(tree):
    remove("schemas/send_sms.input.json")(tree)
    assert rules(checks.check(tree)) == [
        ("global-input", "connector.json"),
        ("schema-missing", "schemas/send_sms.input.json"),
    ]
