import pytest

from connector_build import checks
from tests.packaging.checks.planting import (
    LISTED,
    LOOK_UP,
    MESSAGE,
    SENT,
    find,
    manifest,
    own,
    schema,
    write,
)

FAULTS = {
    "schema-invalid: unknown type": (LOOK_UP, "", schema(LOOK_UP, "properties.sid.type", "text")),
    "schema-invalid: bad pattern": (LOOK_UP, "", schema(LOOK_UP, "properties.sid.pattern", "(")),
    "schema-invalid: a list": (LOOK_UP, "", write(LOOK_UP, "[1]")),
    "schema-invalid: true": (LOOK_UP, "", write(LOOK_UP, "true")),
    "schema-invalid: reference": (
        LOOK_UP, "sid",
        schema(LOOK_UP, "$defs", {"sid": {"type": "string"}}),
        schema(LOOK_UP, "properties.sid.$ref", "#/$defs/sid"),
    ),
    "schema-invalid: bad pattern of a setting": (
        "connector.json", "voice_url", manifest("parameters.1.pattern", "("),
    ),
    "schema-strict: open at the top": (LOOK_UP, "", schema(LOOK_UP, "additionalProperties")),
    "schema-strict: open by a schema": (
        LOOK_UP, "", schema(LOOK_UP, "additionalProperties", {"type": "string"}),
    ),
    "schema-strict: without properties": (
        "schemas/get_all_sms.input.json", "",
        schema("schemas/get_all_sms.input.json", "properties"),
    ),
    "schema-strict: no type": (LOOK_UP, "type", schema(LOOK_UP, "type")),
    "schema-strict: a list": (LOOK_UP, "type", schema(LOOK_UP, "type", "array")),
    "schema-strict: an object or null": (
        LOOK_UP, "type", schema(LOOK_UP, "type", ["object", "null"]),
    ),
    "schema-strict: no dialect": (LOOK_UP, "$schema", schema(LOOK_UP, "$schema")),
    "schema-strict: other dialect": (
        LOOK_UP, "$schema",
        schema(LOOK_UP, "$schema", "http://json-schema.org/draft-07/schema#"),
    ),
    "schema-strict: required and no property": (
        LOOK_UP, "required", schema(LOOK_UP, "required", ["sid", "colour"]),
    ),
    "schema-strict: required in items and no property": (
        LISTED, "messages[0].required", schema(LISTED, f"{MESSAGE}.required", ["colour"]),
    ),
    "schema-strict: items": (
        LISTED, "messages[0]", schema(LISTED, f"{MESSAGE}.additionalProperties"),
    ),
    "schema-strict: field": (
        SENT, "body",
        schema(SENT, "properties.body.type", "object"),
        schema(SENT, "properties.body.examples", [{}]),
    ),
    "schema-strict: field that may be null": (
        SENT, "body",
        schema(SENT, "properties.body.type", ["object", "null"]),
        schema(SENT, "properties.body.examples", [None]),
    ),
    "schema-strict: field that is true": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid", True)),
    "schema-strict: field without a type": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.type"),
    ),
    "field-description: missing": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.description"),
    ),
    "field-description: blank": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.description", " "),
    ),
    "field-description: in items": (
        LISTED, "messages[0].sid", schema(LISTED, f"{MESSAGE}.properties.sid.description"),
    ),
    "field-description: of a field in a field": (
        SENT, "body.text",
        schema(SENT, "properties.body", {
            "type": "object", "additionalProperties": False, "description": "Planted.",
            "examples": [{}], "properties": {"text": {"type": "string", "examples": [""]}},
        }),
    ),
    "field-description: of a setting": (
        "connector.json", "accountId", manifest("parameters.2.description", " "),
    ),
    "field-example: missing": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.examples")),
    "field-example: empty list": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.examples", [])),
    "field-example: not valid": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.examples", ["SM1"]),
    ),
    "field-example: second not valid": (
        LISTED, "messages[0].body", schema(LISTED, f"{MESSAGE}.properties.body.examples", ["", 5]),
    ),
    "field-example: of the whole": (
        LISTED, "examples", schema(LISTED, "examples", [{"messages": []}, {"texts": []}]),
    ),
    "field-example: of a setting": (
        "connector.json", "timeoutSeconds", manifest("options.2.example", 301),
    ),
    "field-words: missing": (LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.x-mustBe")),
    "field-words: of a setting": (
        "connector.json", "accountId", manifest("parameters.2.mustBe"),
    ),
    "pattern-newline: input": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.pattern", "^(SM|MM)[0-9a-fA-F]{32}$"),
    ),
    "pattern-newline: setting": (
        "connector.json", "accountId", manifest("parameters.2.pattern", "^AC[0-9a-fA-F]{32}$"),
    ),
    "streams: no such output": (LISTED, "texts", manifest("actions.2.streams", "texts")),
    "streams: no list": (SENT, "status", manifest("actions.0.streams", "status")),
    "streams: list of anything": (
        LISTED, "messages", schema(LISTED, "properties.messages.items", True),
    ),
    "streams: unknown field in the summary": (
        LISTED, "colour, size", manifest("actions.2.summary", ["sid", "size", "colour"]),
    ),
    "identifier: no such output": (SENT, "id", manifest("actions.0.identifier", "id")),
    "field-default: of an option": (
        "connector.json", "maxAttempts", manifest("options.3.default", 11),
    ),
    "field-default: of an input": (
        LOOK_UP, "sid", schema(LOOK_UP, "properties.sid.default", "none"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


CLEAN = {
    "dollar that is a letter": schema(
        LISTED, f"{MESSAGE}.properties.price_unit",
        {
            "type": "string", "description": "Planted.", "examples": ["$"],
            "pattern": r"^[$]|USD|\$", "x-mustBe": "planted",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(checks.check(tree)) == []
