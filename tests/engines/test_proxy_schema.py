"""Tests the proxy against its own OpenAPI document, with requests that schemathesis generates.

They are not random: each run makes the same requests.
"""

import json
import uuid
from urllib.parse import parse_qsl, urlsplit

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from connector_engines.proxy import Proxy
from connector_runtime.schema import Schema
from tests.conftest import MANIFEST
from twilio_sandbox import Sandbox

KEY = {"Spiff-Connector-Proxy-Api-Key": "proxy-key-for-tests"}
# negative_data_rejection is not in the list, because it expects a status of 4xx. In this protocol,
# a command with wrong input also gets a 200, so `judged` below checks the answer.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
DISCOVERY = ["/liveness", "/v1/commands", "/v1/auths", "/openapi.json"]
COMMANDS = [
    ("/v1/do/twilio/send_sms", "POST"),
    ("/v1/do/twilio/get_sms_information", "GET"),
    ("/v1/do/twilio/get_sms_information", "POST"),
    ("/v1/do/twilio/get_all_sms", "POST"),
]
# Without parameters, no wrong request is possible
NO_PARAMETERS = ("/v1/do/twilio/get_all_sms", "GET")
BOUNDED = hypothesis.settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.fixture(scope="module", params=["with a key", "without a key or a sender"])
def live(request, twilio_folder, tmp_path_factory):
    """A proxy with its `schema` and `document`, for each way to configure it."""
    with Sandbox(step_seconds=60) as sandbox:
        settings = {**sandbox.settings, "maxAttempts": 1}
        key = KEY["Spiff-Connector-Proxy-Api-Key"]
        if request.param != "with a key":
            settings["from"] = key = None
        ledger = tmp_path_factory.mktemp("proxy") / "ledger.sqlite"
        with Proxy(
            {"twilio": twilio_folder}, {"twilio": settings}, ledger=ledger, api_key=key
        ) as proxy:
            url = f"{proxy.url}/openapi.json"
            proxy.document = requests.get(url, headers=KEY, timeout=30).json()
            proxy.schema = schemathesis.openapi.from_url(url, headers=KEY)
            yield proxy


def test_document_is_valid_openapi_and_has_every_path(live):
    live.schema.validate()
    assert live.document["openapi"] == "3.1.0"
    listed = {
        (path, method.upper())
        for path, operations in live.document["paths"].items()
        for method in operations
    }
    assert listed >= {*((path, "GET") for path in DISCOVERY), *COMMANDS, NO_PARAMETERS}
    commands = {path for path, _ in listed if path.startswith("/v1/do/")}
    assert commands == {f"/v1/do/twilio/{action['name']}" for action in MANIFEST["actions"]}


def test_document_says_what_this_proxy_asks_for(live):
    send = live.document["paths"]["/v1/do/twilio/send_sms"]["post"]
    schema = send["requestBody"]["content"]["application/json"]["schema"]
    if live.document["security"]:
        assert live.document["components"]["securitySchemes"]["apiKey"]["in"] == "header"
        assert schema["required"] == ["to", "body"]
        assert ("401" in send["responses"], "403" in send["responses"]) == (True, True)
    else:
        assert "securitySchemes" not in live.document["components"]
        assert schema["required"] == ["from", "to", "body"]
        assert ("401" in send["responses"], "403" in send["responses"]) == (False, True)


@pytest.mark.parametrize(
    "sender", [None, "", " \t\r\n", "\x1c\x85\u2003", "\ufeff", "+15005550006"]
)
def test_document_knows_what_counts_as_not_given(live, sender):
    inputs = {"to": "+14155550123", "body": "x", "from": sender}
    send = live.schema["/v1/do/twilio/send_sms"]["POST"]
    case = send.Case(body=inputs, media_type="application/json")
    response = case.call(base_url=live.url, headers=KEY)
    case.validate_response(response, checks=CHECKS, headers=KEY)
    judged(case, response, live.document)


@pytest.mark.parametrize("path", DISCOVERY)
def test_discovery_answers_as_documented(live, path):
    case = live.schema[path]["GET"].Case()
    case.validate_response(case.call(base_url=live.url, headers=KEY), checks=CHECKS)
    if live.document["security"] and path != "/liveness":
        case.validate_response(case.call(base_url=live.url), checks=CHECKS)


def judged(case, response, document):
    """Check that the proxy accepts exactly the requests that the documented schema accepts."""
    operation = document["paths"][case.operation.path][case.operation.method]
    if case.method == "POST":
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        try:
            fits = Schema(schema).accepts(json.loads(response.request.body))
        except ValueError:
            # Schemathesis also generates bodies that are not JSON
            fits = False
    else:
        pairs = parse_qsl(urlsplit(response.request.url).query, keep_blank_values=True)
        schema = {
            "additionalProperties": False,
            "patternProperties": {"^spiff__": {}},
            "properties": {
                parameter["name"]: parameter["schema"] for parameter in operation["parameters"]
            },
            "required": [
                parameter["name"] for parameter in operation["parameters"] if parameter["required"]
            ],
        }
        fits = len(dict(pairs)) == len(pairs) and Schema(schema).accepts(dict(pairs))
    error = response.json()["error"]
    refused = error is not None and error["error_code"] in ("INVALID_INPUT", "invalid_request")
    assert refused is not fits, error
    return fits


def asked(case, live):
    """Make a generated call. Each has another key: other tests repeat a key."""
    headers = {**KEY}
    if case.method == "POST":
        headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
        if isinstance(case.headers, dict):
            case.headers.pop("Idempotency-Key", None)
        if isinstance(case.body, dict):
            case.body.pop("spiff__task_id", None)
    return case.call(base_url=live.url, headers=headers)


@pytest.mark.parametrize(("path", "method"), [*COMMANDS, NO_PARAMETERS])
def test_what_fits_the_document_is_taken_and_answered_as_documented(live, path, method):
    @BOUNDED
    @hypothesis.given(case=live.schema[path][method].as_strategy(GenerationMode.POSITIVE))
    def made_up(case):
        response = asked(case, live)
        case.validate_response(response, checks=CHECKS, headers=KEY)
        assert judged(case, response, live.document)

    made_up()


@pytest.mark.parametrize(("path", "method"), COMMANDS)
def test_what_does_not_fit_is_refused_and_answered_as_documented(live, path, method):
    fitted = []

    @BOUNDED
    @hypothesis.given(case=live.schema[path][method].as_strategy(GenerationMode.NEGATIVE))
    def made_up(case):
        response = asked(case, live)
        case.validate_response(response, checks=CHECKS, headers=KEY)
        fitted.append(judged(case, response, live.document))

    made_up()
    assert not all(fitted)
