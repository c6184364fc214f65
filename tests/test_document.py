"""The manifest and the schemas against the functional document's tables."""

import json

import pytest

MESSAGE = {
    "sid": "string", "date_created": "string", "date_updated": "string", "date_sent": "string",
    "account_sid": "string", "to": "string", "from": "string", "body": "string",
    "status": {"string", "integer"}, "api_version": "string", "price": "number",
    "price_unit": "string", "error_code": "string", "error_message": "string", "uri": "string",
}  # fmt: skip


def types(field):
    kinds = set(field["type"] if isinstance(field["type"], list) else [field["type"]])
    return kinds - {"null"}


def test_the_four_parameters(twilio):
    parameters = {entry["name"]: entry for entry in twilio.manifest["parameters"]}
    assert list(parameters) == ["from", "voice_url", "accountId", "authToken"]
    assert [name for name, entry in parameters.items() if entry["required"]] == [
        "accountId", "authToken",
    ]  # fmt: skip
    assert [name for name, entry in parameters.items() if entry["global"]] == ["from", "voice_url"]
    assert [name for name, entry in parameters.items() if entry["secret"]] == ["authToken"]


def test_the_options_and_their_defaults(twilio):
    assert {entry["name"]: entry.get("default") for entry in twilio.manifest["options"]} == {
        "apiBaseUrl": "https://api.twilio.com",
        "apiKeySid": None,
        "timeoutSeconds": 35,
        "maxAttempts": 5,
        "connectTimeoutSeconds": 10,
        "resolveSeconds": 45,
        "resendAfterSeconds": None,
    }


def test_the_three_actions_and_their_inputs(twilio):
    for name, display_name, required, repeatable in (
        ("send_sms", "Send SMS", ["from", "to", "body"], False),
        ("get_sms_information", "Get SMS information", ["sid"], True),
        ("get_all_sms", "Get All SMS", [], True),
    ):
        action = twilio.actions[name]
        assert (action.display_name, action.repeatable) == (display_name, repeatable)
        assert action.input_schema.get("required", []) == required


@pytest.mark.parametrize("name", ["send_sms", "get_sms_information", "get_all_sms"])
def test_outputs_are_exactly_the_documents_fields(twilio, name):
    schema = twilio.actions[name].output_schema
    if name == "get_all_sms":
        assert list(schema["properties"]) == ["messages"]
        schema = schema["properties"]["messages"]["items"]
    assert {name: types(field) for name, field in schema["properties"].items()} == {
        name: {kind} if isinstance(kind, str) else kind for name, kind in MESSAGE.items()
    }
    assert set(schema["required"]) == set(MESSAGE)
    assert schema["additionalProperties"] is False


QUEUED = {
    "sid": "SM" + 32 * "a", "date_created": "Tue, 15 May 2018 16:02:24 +0000",
    "date_updated": "Tue, 15 May 2018 16:02:24 +0000", "date_sent": None,
    "account_sid": "AC" + 32 * "a", "to": "+14155550123", "from": "+15005550006", "body": "",
    "status": "queued", "api_version": "2010-04-01", "price": None, "price_unit": "USD",
    "error_code": None, "error_message": None, "uri": "/2010-04-01/x.json",
}  # fmt: skip
EXTREMES = {
    "just queued": QUEUED,
    "through a Messaging Service": {**QUEUED, "from": None, "status": "accepted", "body": None},
    "delivered": {**QUEUED, "price": -0.0075, "status": 3, "error_code": "30003"},
}


@pytest.mark.parametrize("message", EXTREMES.values(), ids=EXTREMES)
def test_the_extremes_pass_the_output_schemas(twilio, message):
    assert twilio.actions["send_sms"].output.problems(message) == []
    assert twilio.actions["get_sms_information"].output.problems(message) == []
    assert twilio.actions["get_all_sms"].output.problems({"messages": [message]}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"price": "-0.0075"}, "'price' must be a number or null"),
        ({"error_code": 30003}, "'error_code' must be text or null: "),
        ({"date_sent": "2018-05-15T16:02:24"}, "'date_sent' must be a date such as"),
        ({"direction": "inbound"}, "'direction' is not known"),
        ({"sid": "SM1"}, "'sid' must be a message SID"),
    ],
)
def test_what_the_document_does_not_allow_is_refused(twilio, change, expected):
    (problem,) = twilio.actions["send_sms"].output.problems({**QUEUED, **change})
    assert problem.startswith(expected.rstrip(": "))


def test_every_field_has_a_description_and_an_example_that_passes(root):
    from connector_runtime.schema import Schema

    def fields(schema):
        for name, field in schema.get("properties", {}).items():
            yield name, field
            if "items" in field:
                yield from fields(field["items"])

    for path in sorted((root / "schemas").glob("*put.json")):
        for name, field in fields(json.loads(path.read_text("utf-8"))):
            assert field["description"].endswith("."), (path.name, name)
            for example in field["examples"]:
                whole = Schema({"type": "object", "properties": {name: field}})
                assert whole.problems({name: example}) == [], (path.name, name)


def test_adding_an_action_touches_all_its_places(root, twilio):
    """Name whichever of handler, schemas, manifest entry and test is missing."""
    declared = set(twilio.actions)
    assert declared == {p.stem for p in (root / "actions").glob("[!_]*.py")}
    for kind in ("input", "output"):
        assert declared == {p.name.split(".")[0] for p in (root / "schemas").glob(f"*.{kind}.json")}
    tests = {p.stem.removeprefix("test_") for p in (root / "tests/actions").glob("test_*.py")}
    assert declared == tests
