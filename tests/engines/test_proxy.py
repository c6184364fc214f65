"""The connector proxy over real sockets, against the sandbox."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
import requests

from connector_engines.proxy import Proxy
from connector_runtime import load
from connector_runtime.errors import InvalidConfiguration
from tests.conftest import MANIFEST, copy_tree, until

TO, BODY = "+14155550123", "Your appointment is tomorrow."
SMS = {"to": TO, "body": BODY}
KEY = "proxy-key-for-tests"
KEY_HEADER = "Spiff-Connector-Proxy-Api-Key"
ENGINES_OWN = {
    "spiff__process_instance_id": 7,
    "spiff__process_model_identifier": "notify/customer",
    "spiff__task_id": "5a4db0c0-0000-4000-8000-000000000001",
    "spiff__task_data": {"customer": {"phone": TO}},
    "spiff__callback_url": "http://127.0.0.1:7000/callback",
}


def post(proxy, command, inputs, **options):
    return requests.post(f"{proxy.url}/v1/do/{command}", json=inputs, timeout=30, **options)


def get(proxy, path, **options):
    return requests.get(proxy.url + path, timeout=30, **options)


def code_of(response):
    """The error code of a refusal, whose form and media type are the same for all."""
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    (answer,) = response.json().values()
    assert set(answer) == {"error_code", "message"}
    return answer["error_code"]


def raw(proxy, *chunks):
    """Send these bytes, and return everything that the proxy sends until it closes."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        for chunk in chunks:
            connection.sendall(chunk)
        with connection.makefile("rb") as answer:
            return answer.read()


def peak(process):
    """The largest memory that a process has used so far, in kB."""
    with open(f"/proc/{process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


@pytest.fixture
def settings(sandbox):
    return {**sandbox.settings, "timeoutSeconds": 20, "maxAttempts": 1, "resolveSeconds": 0}


@pytest.fixture
def opened(twilio_folder, settings, tmp_path):
    """Open a proxy with the options of the test. All proxies are stopped at its end."""
    with contextlib.ExitStack() as stack:

        def open_proxy(connectors=None, overrides=None, **options):
            connectors = connectors or {"twilio": twilio_folder}
            own = {**settings, **(overrides or {})}
            options = {"ledger": tmp_path / "ledger.sqlite", **options}
            made = Proxy(connectors, dict.fromkeys(connectors, own), **options)
            return stack.enter_context(made)

        yield open_proxy


@pytest.fixture
def proxy(opened):
    return opened()


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [
        record.getMessage() for record in caplog.records if record.name == "connector_engines.proxy"
    ]


FIELDS = {
    "count": {"type": "integer"},
    "urgent": {"type": ["boolean", "null"]},
    "ratio": {"type": "number"},
    "tags": {"type": "array"},
    "note": {"type": "string"},
    "kind": {"type": "string", "default": "plain"},
}


@pytest.fixture
def made_up_folder(root, tmp_path):
    """A connector that calls no service: it returns its input, or raises an unexpected error."""
    folder = tmp_path / "made_up"
    copy_tree(root / "auth", folder / "auth")
    (folder / "schemas").mkdir()
    (folder / "actions").mkdir()
    (folder / "actions" / "__init__.py").touch()
    bodies = {
        "tell": ("read", "return {'told': inputs}"),
        "break": ("write", "raise ValueError(inputs['note'])"),
        "leave": ("read", "raise SystemExit(inputs['note'])"),
    }
    actions = []
    for name, (effect, body) in bodies.items():
        (folder / "actions" / f"{name}.py").write_text(f"def run(inputs, call):\n    {body}\n")
        schema = {"type": "object", "additionalProperties": False, "properties": FIELDS}
        schema["required"] = ["note", "kind"]
        (folder / "schemas" / f"{name}.input.json").write_text(json.dumps(schema))
        schema = {"type": "object", "properties": {"told": {"type": "object"}}}
        (folder / "schemas" / f"{name}.output.json").write_text(json.dumps(schema))
        actions.append({
            "name": name, "displayName": name, "description": "Made up.", "globals": [],
            "handler": f"actions/{name}.py", "input": f"schemas/{name}.input.json",
            "output": f"schemas/{name}.output.json", "effect": effect, "repeatable": False,
            "documentation": "https://example.com/",
        })  # fmt: skip
    manifest = {**MANIFEST, "name": "made_up", "actions": actions}
    (folder / "connector.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def made_up(made_up_folder, opened):
    return opened({"made_up": load(made_up_folder)})


# Discovery


def test_proxy_says_that_it_is_up_and_has_no_auths(proxy):
    assert get(proxy, "/liveness").json() == {"ok": True}
    assert get(proxy, "/v1/auths").json() == []


def test_commands_are_listed_with_what_a_caller_must_give(proxy):
    commands = get(proxy, "/v1/commands").json()
    assert [command["id"] for command in commands] == [
        f"twilio/{action['name']}" for action in MANIFEST["actions"]
    ]
    # The three actions of the connector document
    assert commands[:3] == [
        {
            "id": "twilio/send_sms",
            "parameters": [
                {"id": "from", "type": "str", "required": False},
                {"id": "to", "type": "str", "required": True},
                {"id": "body", "type": "str", "required": True},
            ],
        },
        {
            "id": "twilio/get_sms_information",
            "parameters": [{"id": "sid", "type": "str", "required": True}],
        },
        {"id": "twilio/get_all_sms", "parameters": []},
    ]


@pytest.mark.parametrize("sender", [None, "", " "])
def test_sender_is_required_where_no_setting_supplies_it(opened, sender):
    proxy = opened(overrides={"from": sender})
    (command, *_) = get(proxy, "/v1/commands").json()
    assert command["parameters"][0] == {"id": "from", "type": "str", "required": True}


def test_types_are_those_of_the_protocol_and_defaults_need_not_be_given(made_up):
    (command, *_) = get(made_up, "/v1/commands").json()
    assert {
        parameter["id"]: (parameter["type"], parameter["required"])
        for parameter in command["parameters"]
    } == {
        "count": ("int", False),
        "urgent": ("bool", False),
        "ratio": ("any", False),
        "tags": ("any", False),
        "note": ("str", True),
        "kind": ("str", False),
    }


# Commands and their answers


def test_send_is_carried_out_and_answered_in_version_2(proxy, sandbox):
    response = post(proxy, "twilio/send_sms", SMS)
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == "application/json"
    (message,) = sandbox.messages
    answer = response.json()
    assert answer.pop("command_response") == {
        "body": {**answer_body(message)},
        "mimetype": "application/json",
        "http_status": 201,
    }
    assert answer == {"command_response_version": 2, "error": None, "spiff__logs": []}


def answer_body(message):
    return {
        name: message[name]
        for name in (
            "sid", "date_created", "date_updated", "date_sent", "account_sid", "to", "from", "body",
            "status", "api_version", "price", "price_unit", "error_code", "error_message", "uri",
        )
    }  # fmt: skip


def test_look_up_and_list_work_by_get_and_by_post(proxy, sandbox):
    sandbox.add({"body": "ñ"})
    sid = sandbox.messages[0]["sid"]
    by_get = get(proxy, f"/v1/do/twilio/get_sms_information?sid={sid}").json()
    by_post = post(proxy, "twilio/get_sms_information", {"sid": sid}).json()
    assert by_get == by_post
    assert by_get["command_response"]["http_status"] == 200
    assert by_get["command_response"]["body"]["body"] == "ñ"
    listed = get(proxy, "/v1/do/twilio/get_all_sms").json()["command_response"]["body"]
    assert listed == {"messages": [by_get["command_response"]["body"]]}
    assert post(proxy, "twilio/get_all_sms", {}).json()["command_response"]["body"] == listed


ERRORS = {
    "invalid input": ("send_sms", {**SMS, "to": "1"}, None, "INVALID_INPUT", 400),
    "opted out": ("send_sms", {**SMS, "to": "+15005550004"}, None, "REFUSED", 400),
    "not found": ("get_sms_information", {"sid": "SM" + 32 * "0"}, None, "NOT_FOUND", 404),
    "throttled": ("send_sms", SMS, {"fault": "throttle"}, "THROTTLED", 429),
    "Twilio fails at a send": ("send_sms", SMS, {"fault": "error"}, "OUTCOME_UNKNOWN", 409),
    "send not answered": ("send_sms", SMS, {"fault": "withhold"}, "OUTCOME_UNKNOWN", 409),
    "send answered unreadably": ("send_sms", SMS, {"fault": "html"}, "OUTCOME_UNKNOWN", 409),
    "list not answered": ("get_all_sms", {}, {"fault": "withhold"}, "NO_ANSWER", 504),
    "list answered unreadably": ("get_all_sms", {}, {"fault": "html"}, "INVALID_ANSWER", 424),
}


@pytest.mark.parametrize(
    ("action", "inputs", "fault", "code", "status"), ERRORS.values(), ids=ERRORS
)
def test_error_of_a_command_is_what_bpmn_events_match(
    opened, sandbox, action, inputs, fault, code, status
):
    withheld = fault and fault["fault"] == "withhold"
    proxy = opened(overrides={"timeoutSeconds": 0.3} if withheld else {})
    if fault:
        sandbox.fail(**fault)
    response = post(proxy, f"twilio/{action}", inputs)
    assert response.status_code == 200
    answer = response.json()
    fault = answer["command_response"]["body"]
    assert answer["command_response"]["http_status"] == status
    assert answer["error"] == {"error_code": code, "message": fault["message"]}
    assert fault["code"] == code
    assert fault["outcome"] in ("not_sent", "refused", "unknown")
    assert {"retryable", "status", "provider_code", "hint", "problems"} < set(fault)


def test_unreachable_twilio_is_an_error_of_the_command(opened):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = opened(overrides={"apiBaseUrl": f"http://127.0.0.1:{unused.getsockname()[1]}"})
        answer = post(proxy, "twilio/send_sms", SMS).json()
    assert answer["error"]["error_code"] == "NEVER_CONNECTED"
    assert answer["command_response"]["http_status"] == 503


def test_fields_of_the_engine_are_dropped(proxy, made_up, sandbox, sent):
    assert post(proxy, "twilio/send_sms", {**SMS, **ENGINES_OWN}).json()["error"] is None
    (request,) = sent()
    assert request["form"] == {"To": TO, "From": "+15005550006", "Body": BODY}
    told = post(made_up, "made_up/tell", {"note": "x", **ENGINES_OWN}).json()
    assert told["command_response"]["body"] == {"told": {"note": "x", "kind": "plain"}}
    sandbox.reset()
    assert get(proxy, "/v1/do/twilio/get_all_sms?spiff__task_id=7").json()["error"] is None


@pytest.mark.parametrize("name", ["bodi", "spiff_task_id", "xspiff__", "Spiff__task_id"])
def test_other_unknown_fields_are_invalid_input(proxy, sent, name):
    answer = post(proxy, "twilio/send_sms", {**SMS, name: "x"}).json()
    assert answer["error"]["error_code"] == "INVALID_INPUT"
    assert f"'{name}' is not known" in answer["error"]["message"]
    assert sent() == []


def test_query_holds_text_numbers_and_truth(made_up):
    fields = {"note": TO, "count": "3", "urgent": "true", "ratio": "0.5", "tags": '["a", 1]'}
    query = "&".join(f"{name}={quote(value)}" for name, value in fields.items())
    answer = get(made_up, f"/v1/do/made_up/tell?{query}").json()
    assert answer["command_response"]["body"]["told"] == {
        "note": TO, "count": 3, "urgent": True, "ratio": 0.5, "tags": ["a", 1], "kind": "plain",
    }  # fmt: skip
    answer = get(made_up, "/v1/do/made_up/tell?note=x&count=three").json()
    assert answer["error"]["message"] == "tell input: 'count' must be a whole number."


def test_each_connector_answers_under_its_own_name(twilio_folder, package, made_up_folder, opened):
    connectors = {"twilio": twilio_folder, "packed": load(package), "made_up": load(made_up_folder)}
    proxy = opened(connectors)
    names = {command["id"].split("/")[0] for command in get(proxy, "/v1/commands").json()}
    assert names == set(connectors)
    for name in ("twilio", "packed"):
        assert post(proxy, f"{name}/send_sms", SMS).json()["error"] is None
    assert code_of(post(proxy, "made_up/send_sms", SMS)) == "command_not_found"


# Requests that are refused before anything runs


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_send_goes_by_post_alone(proxy, sent, method):
    response = requests.request(
        method, f"{proxy.url}/v1/do/twilio/send_sms", params=SMS, json=SMS, timeout=30
    )
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    if method != "HEAD":
        assert code_of(response) == "method_not_allowed"
    assert sent() == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/liveness", "GET"),
        ("/v1/commands", "GET"),
        ("/v1/auths", "GET"),
        ("/openapi.json", "GET"),
        ("/v1/do/twilio/get_all_sms", "GET, POST"),
    ],
)
def test_other_methods_are_named_in_allow(proxy, path, allowed):
    response = requests.delete(proxy.url + path, timeout=30)
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/do/twilio/send_sm", "command_not_found"),
        ("/v1/do/twilio", "command_not_found"),
        ("/v1/do/other/send_sms", "command_not_found"),
        ("/v1/do/twilio/send_sms/", "command_not_found"),
        ("/v1/do/" + 5000 * "x", "command_not_found"),
        ("/", "not_found"),
        ("/v1/do", "not_found"),
        ("/v2/commands", "not_found"),
    ],
)
def test_what_is_not_there_is_404(proxy, path, code):
    response = requests.post(proxy.url + path, json={}, timeout=30)
    assert response.status_code == 404
    assert code_of(response) == code
    assert len(response.content) < 500


NOT_JSON = {
    "empty": b"",
    "not JSON": b"{hush",
    "a list": b"[]",
    "null": b"null",
    "text": b'"to"',
    "not a number": b'{"to": NaN}',
    "a field twice": b'{"to": "+14155550123", "to": "+14155550124", "body": "x"}',
    "no UTF-8": b'{"to": "\xff"}',
    "too deep": b'{"to": ' + 100_000 * b"[" + 100_000 * b"]" + b"}",
    "a number too long": b'{"to": ' + 5000 * b"9" + b"}",
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_body_that_is_no_json_object_is_400(proxy, sent, body):
    response = requests.post(
        f"{proxy.url}/v1/do/twilio/send_sms",
        data=body,
        headers={"Content-Type": "application/json"},
        timeout=30,
    )
    assert response.status_code == 400
    assert code_of(response) == "invalid_request"
    assert "hush" not in response.text
    assert sent() == []


def test_field_twice_in_a_query_is_400(proxy, sandbox):
    path = "/v1/do/twilio/get_sms_information?sid=a&sid=b"
    response = get(proxy, path)
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "application/json-patch+json"},
        {"Content-Type": "nonsense"},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
)
def test_body_must_be_declared_as_json_and_not_be_compressed(proxy, sent, headers):
    url = f"{proxy.url}/v1/do/twilio/send_sms"
    response = requests.post(url, data=json.dumps(SMS).encode(), headers=headers, timeout=30)
    assert response.status_code == 415
    assert code_of(response) == "unsupported_media_type"
    assert sent() == []


def test_media_type_may_have_parameters(proxy):
    url = f"{proxy.url}/v1/do/twilio/send_sms"
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    response = requests.post(url, data=json.dumps(SMS), headers=headers, timeout=30)
    assert response.json()["error"] is None


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "in chunks"])
def test_request_that_is_too_large_is_413_and_one_that_is_not_is_taken(opened, sent, chunked):
    proxy = opened(most_bytes=1000)
    fitting = json.dumps(SMS).encode().ljust(1000)
    for body, status in ((fitting, 200), (fitting + b" ", 413), (100 * fitting, 413)):
        data = iter([body[:500], body[500:]]) if chunked else body
        response = requests.post(
            f"{proxy.url}/v1/do/twilio/send_sms",
            data=data,
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert response.status_code == status
        if status == 413:
            assert code_of(response) == "too_large"
    assert len(sent()) == 1


def test_inputs_that_are_too_large_are_413_and_what_an_engine_adds_is_not(proxy, sent):
    large = 300_000 * "x"
    assert post(proxy, "twilio/send_sms", {**SMS, "spiff__task_data": large}).ok
    refused = post(proxy, "twilio/send_sms", {**SMS, "body": large})
    assert (refused.status_code, code_of(refused)) == (413, "too_large")
    assert len(sent()) == 1


@pytest.mark.parametrize(
    "text",
    ['{"to": "+1415', '{"spiff__task_data": "x', '{"spiff__task_data": "x\\', '{"a": {"b": 1}'],
)
def test_json_that_is_cut_off_is_400(proxy, sent, text):
    headers = {"Content-Type": "application/json"}
    url = f"{proxy.url}/v1/do/twilio/send_sms"
    answer = requests.post(url, data=text, headers=headers, timeout=20)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert sent() == []


def test_caller_that_asks_first_is_told_to_go_on_or_not_to(opened, sent):
    proxy = opened(most_bytes=1000)
    head = (
        b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    )
    body = json.dumps(SMS).encode()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(head % len(body))
        with connection.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            connection.sendall(body)
            assert b"200 OK" in answer.read()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(head % 1001)
        with connection.makefile("rb") as answer:
            assert b" 413 " in answer.readline()
    assert len(sent()) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /liveness HTTP/1.1\r\nHost: localhost\r\n" + KEY_HEADER.encode() + b" hush\r\n\r\n",
        b"GET /" + 10_000 * b"x" + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: hush\r\n\r\n",
    ],
    ids=["no HTTP", "header without colon", "line too long", "length no number"],
)
def test_what_is_no_http_is_400_in_the_same_form(proxy, caplog, request_bytes):
    head, _, body = raw(proxy, request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") or head.startswith(b"HTTP/1.0 400 ")
    assert b"application/json" in head
    assert json.loads(body)["error"]["error_code"] == "invalid_request"
    assert "hush" not in caplog.text
    assert "Traceback" not in caplog.text


def test_body_that_breaks_off_runs_nothing(proxy, log, sent):
    body = json.dumps(SMS).encode()
    head = (
        b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(head % (len(body) + 1) + body)
    until(lambda: "refused: HTTP 400 invalid_request" in log())
    chunks = b"5\r\nhello\r\nnonsense\r\n"
    head = head.replace(b"Content-Length: %d", b"Connection: close\r\nTransfer-Encoding: chunked")
    assert b" 400 " in raw(proxy, head + chunks)
    assert sent() == []


# The API key, and who may call without one


@pytest.fixture
def keyed(opened):
    return opened(api_key=KEY)


PATHS = ("/v1/commands", "/v1/auths", "/openapi.json", "/v1/do/twilio/get_all_sms", "/nowhere")
WRONG = {
    "missing": {},
    "empty": {KEY_HEADER: ""},
    "wrong": {KEY_HEADER: "wrong"},
    "shorter": {KEY_HEADER: KEY[:-1]},
    "longer": {KEY_HEADER: KEY + "x"},
    "of other letters": {KEY_HEADER: KEY.upper()},
    "not ASCII": {KEY_HEADER: b"\xff\xc3\xb1"},
    "in another header": {"Authorization": f"Bearer {KEY}"},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_without_the_key_everything_but_liveness_is_401(keyed, sandbox, headers):
    for path in PATHS:
        response = get(keyed, path, headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "ApiKey"
        assert code_of(response) == "unauthorized"
    assert post(keyed, "twilio/send_sms", SMS, headers=headers).status_code == 401
    assert get(keyed, "/liveness", headers=headers).json() == {"ok": True}
    assert sandbox.requests == []


def test_with_the_key_everything_works_under_any_host_name(keyed, sent):
    headers = {KEY_HEADER: KEY, "Host": "connectors.internal"}
    assert [get(keyed, path, headers=headers).status_code for path in PATHS] == [200] * 4 + [404]
    assert post(keyed, "twilio/send_sms", SMS, headers=headers).json()["error"] is None
    assert len(sent()) == 1


@pytest.mark.parametrize("key", ["", " ", "two words", "ñandú", "line\n"])
def test_key_that_no_header_can_carry_is_refused(twilio_folder, settings, key):
    with pytest.raises(InvalidConfiguration, match="API key must be visible ASCII") as caught:
        Proxy({"twilio": twilio_folder}, {"twilio": settings}, ledger="unused.sqlite", api_key=key)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.1", "connectors.internal"])
def test_other_addresses_are_listened_on_only_with_a_key(twilio_folder, settings, host):
    with pytest.raises(InvalidConfiguration, match="only with an API key"):
        Proxy({"twilio": twilio_folder}, {"twilio": settings}, ledger="unused.sqlite", host=host)


def test_all_addresses_can_be_listened_on_with_a_key(opened):
    proxy = opened(host="0.0.0.0", api_key=KEY)
    url = f"http://127.0.0.1:{proxy.port}/v1/auths"
    assert requests.get(url, timeout=30).status_code == 401
    assert requests.get(url, headers={KEY_HEADER: KEY}, timeout=30).json() == []


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.0.2.1", "", "[", "a:b"],
)
def test_without_a_key_a_web_page_under_another_name_gets_nothing(proxy, sandbox, host):
    for path in (*PATHS, "/liveness"):
        response = get(proxy, path, headers={"Host": host})
        assert response.status_code == 403
        assert code_of(response) == "forbidden_host"
    assert post(proxy, "twilio/send_sms", SMS, headers={"Host": host}).status_code == 403
    assert sandbox.requests == []


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:7004", "127.0.0.1", "127.8.9.1", "[::1]:80"]
)
def test_without_a_key_this_machine_may_call(proxy, host):
    assert get(proxy, "/v1/auths", headers={"Host": host}).json() == []


def test_address_of_an_ipv6_host_is_written_in_brackets(twilio_folder, settings):
    proxy = Proxy(
        {"twilio": twilio_folder},
        {"twilio": settings},
        ledger="unused.sqlite",
        host="::1",
        port=7004,
    )
    assert proxy.url == "http://[::1]:7004"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://localhost:1", "http://localhost.evil"]
)
def test_without_a_key_web_pages_of_others_get_nothing(proxy, sandbox, origin):
    headers = {"Origin": origin, "Host": "localhost:7004"}
    for path in (*PATHS, "/liveness"):
        response = get(proxy, path, headers=headers)
        assert (response.status_code, code_of(response)) == (403, "forbidden_origin")
    assert post(proxy, "twilio/send_sms", SMS, headers=headers).status_code == 403
    assert sandbox.requests == []


def test_page_of_this_host_may_call_and_with_a_key_any(proxy, keyed):
    assert get(proxy, "/v1/auths", headers={"Origin": proxy.url}).json() == []
    headers = {"Origin": "https://arena.example", KEY_HEADER: KEY}
    assert get(keyed, "/v1/auths", headers=headers).json() == []


# Connections, and how long a request may take to arrive


def connect(proxy):
    port = int(proxy.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def closed(connection):
    """Wait until the other side has closed, without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_connections_beyond_the_limit_are_503_and_liveness_is_answered(opened, log, sent):
    proxy = opened(most_connections=2)
    with connect(proxy), connect(proxy):
        for _ in range(20):
            response = post(proxy, "twilio/send_sms", SMS)
            assert (response.status_code, code_of(response)) == (503, "connections")
            assert response.headers["Retry-After"] == "1"
        assert get(proxy, "/liveness").json() == {"ok": True}
    until(lambda: get(proxy, "/v1/auths").ok)
    assert sent() == []
    assert "2 connections are open; more are refused" in log()


@pytest.mark.parametrize("begun", [b"", b"GET /liveness HTTP/1.1\r\nHost: "])
def test_connection_whose_request_does_not_come_is_closed(opened, log, begun):
    proxy = opened(request_seconds=0.2)
    with connect(proxy) as waiting:
        waiting.sendall(begun)
        assert closed(waiting)
    assert log() == []


def test_callers_that_pipeline_and_never_read_lose_their_connections(opened):
    proxy = opened(request_seconds=3)
    one = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(connect(proxy)) for _ in range(128)]
        for caller in callers:
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                for _ in range(200):
                    caller.send(100 * one)
        assert get(proxy, "/liveness").json() == {"ok": True}
        until(lambda: get(proxy, "/v1/auths").ok)
        for caller in callers:
            caller.setblocking(True)
            with contextlib.suppress(ConnectionError), caller.makefile("rb") as answers:
                assert answers.read().count(b"HTTP/1.1 200") <= 1


def test_caller_that_reads_byte_by_byte_loses_its_connection_and_others_are_served(
    opened, sandbox, sent
):
    proxy = opened(request_seconds=3)
    # The answer is larger than the buffers of the system
    sandbox.seed(10_000)
    request = b"GET /v1/do/twilio/get_all_sms HTTP/1.1\r\nHost: localhost\r\n\r\n"
    read = bytearray()
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.settimeout(20)
        caller.connect(("127.0.0.1", proxy.port))
        caller.sendall(request)
        with contextlib.suppress(ConnectionError):
            while byte := caller.recv(1):
                read += byte
                if len(read) % 10 == 0:
                    assert get(proxy, "/liveness").ok
                assert len(read) < 100_000
    assert read.startswith(b"HTTP/1.1 200")
    assert post(proxy, "twilio/send_sms", SMS).json()["error"] is None
    assert len(sent()) == 1


def test_caller_that_reads_slowly_but_steadily_gets_the_whole_answer(opened, sandbox):
    proxy = opened(request_seconds=4)
    sandbox.seed(10_000)
    request = b"GET /v1/do/twilio/get_all_sms HTTP/1.1\r\nHost: localhost\r\n\r\n"
    read = bytearray()
    with connect(proxy) as caller:
        caller.sendall(request)
        while piece := caller.recv(120_000, socket.MSG_WAITALL):
            read += piece
            time.sleep(0.1)
    # It took longer than the 4 s that the proxy waits for a caller that reads nothing
    assert len(read) > 40 * 120_000
    _, _, body = read.partition(b"\r\n\r\n")
    assert json.loads(body)["error"] is None


@pytest.mark.parametrize("when", ["with it", "with the end of its body", "while it runs"])
def test_what_is_pipelined_behind_a_command_is_read_and_not_kept(
    served, sandbox, sent, answer_now, when
):
    process = served()
    sandbox.fail("slow", method="POST", seconds=60)
    behind = 20_000 * b"GET /liveness HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = json.dumps(SMS).encode()
    head = (
        b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    )
    before = peak(process)
    with connect(process) as caller, caller.makefile("rb") as answer:
        if when == "with it":
            caller.sendall(head + b"\r\n" + body + behind)
        elif when == "with the end of its body":
            caller.sendall(head + b"Expect: 100-continue\r\n\r\n")
            assert answer.readline() + answer.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
            caller.sendall(body + behind)
        else:
            caller.sendall(head + b"\r\n" + body)
            until(sent)
        for _ in range(20):
            caller.sendall(behind)
        until(sent)
        answer_now()
        assert answer.readline().startswith(b"HTTP/1.1 200 ")
    assert len(sent()) == 1
    # Much less than the 17 MB of the requests
    assert peak(process) - before < 10_000


def test_each_connection_is_for_one_request(proxy):
    answers = raw(proxy, 3 * b"GET /liveness HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answers


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "Nonsense"])
def test_what_a_browser_asks_for_another_site_is_refused(proxy, sandbox, site):
    response = get(proxy, "/v1/do/twilio/get_all_sms", headers={"Sec-Fetch-Site": site})
    assert (response.status_code, code_of(response)) == (403, "forbidden_site")
    for own in ("same-origin", "none"):
        assert get(proxy, "/v1/auths", headers={"Sec-Fetch-Site": own}).ok
    assert sandbox.requests == []


# Keys


@pytest.mark.parametrize("by", ["task", "header"])
def test_caller_that_asks_again_gets_what_the_first_call_made(opened, sandbox, sent, by):
    inputs = {**SMS, "spiff__task_id": "made-up-task"} if by == "task" else SMS
    headers = {"Idempotency-Key": '"made-up key"'} if by == "header" else {}
    sids = set()
    for _ in range(2):
        proxy = opened()
        for _ in range(2):
            answer = post(proxy, "twilio/send_sms", inputs, headers=headers).json()
            sids.add(answer["command_response"]["body"]["sid"])
        proxy.stop()
    assert len(sids) == len(sent()) == 1


@pytest.mark.parametrize(
    ("key", "is_shown"),
    [("+14155550123", False), ("0f8fad5b-d9cb-469f-a165-70867728950e", True)],
    ids=["a number", "an engine's task"],
)
def test_log_shows_a_key_only_where_it_is_an_identifier_of_an_engine(proxy, log, key, is_shown):
    post(proxy, "twilio/send_sms", {**SMS, "spiff__task_id": key})
    assert any("begins" in line for line in log())
    assert any(key in line for line in log()) == is_shown


def test_key_of_another_input_is_refused(proxy, sent):
    post(proxy, "twilio/send_sms", {**SMS, "spiff__task_id": "one"})
    answer = post(proxy, "twilio/send_sms", {**SMS, "body": "x", "spiff__task_id": "one"}).json()
    assert answer["error"]["error_code"] == "INVALID_INPUT"
    assert answer["command_response"]["http_status"] == 400
    assert len(sent()) == 1


@pytest.mark.parametrize("key", ['""', '"open', "two words", '"a"b"', '" "'])
def test_header_that_is_no_key_is_400(proxy, sent, key):
    response = post(proxy, "twilio/send_sms", SMS, headers={"Idempotency-Key": key})
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert sent() == []


def test_send_that_takes_long_is_under_way_and_whoever_asks_again_gets_it(
    opened, sandbox, sent, answer_now
):
    proxy = opened(command_seconds=0.3, most_commands=1)
    sandbox.fail("slow", method="POST", seconds=60)
    inputs = {**SMS, "spiff__task_id": "slow"}
    first = post(proxy, "twilio/send_sms", inputs).json()
    assert first["error"]["error_code"] == "UNDER_WAY"
    assert first["command_response"]["http_status"] == 409
    again = post(proxy, "twilio/send_sms", inputs)
    assert again.status_code == 200, "it took a place of its own"
    answer_now()

    def done():
        answer = post(proxy, "twilio/send_sms", inputs).json()
        return answer if answer["error"] is None else None

    assert until(done)["command_response"]["body"]["body"] == BODY
    assert len(sent()) == 1


def test_key_that_is_under_way_with_another_input_is_refused(proxy, sandbox, sent):
    sandbox.fail("slow", method="POST", seconds=1)
    inputs = {**SMS, "spiff__task_id": "one key"}
    first = threading.Thread(target=post, args=(proxy, "twilio/send_sms", inputs))
    first.start()
    until(sent)
    other = post(proxy, "twilio/send_sms", {**inputs, "body": "made up, and another"}).json()
    first.join()
    assert other["error"]["error_code"] == "INVALID_INPUT"
    assert len(sent()) == 1


def test_message_that_cannot_be_read_again_is_in_doubt_and_not_unsent(proxy, sandbox):
    inputs = {**SMS, "spiff__task_id": "again"}
    sid = post(proxy, "twilio/send_sms", inputs).json()["command_response"]["body"]["sid"]
    sandbox.fail("throttle", method="GET")
    answer = post(proxy, "twilio/send_sms", inputs).json()
    assert answer["command_response"]["http_status"] == 409
    assert answer["command_response"]["body"]["candidates"] == [sid]


FAULTS = {
    "throttle": {}, "error": {}, "stored error": {"kind": "error", "stored": True},
    "withhold": {}, "reset_before": {}, "reset_after": {}, "slow": {"seconds": 0.8},
    "drip": {"seconds": 0.01}, "dripped head": {"kind": "drip", "part": "head", "seconds": 0.01},
    "early": {}, "raw": {"text": "nonsense"}, "html": {}, "truncated": {}, "body": {"value": None},
    "wrong recipient": {"kind": "body", "patch": {"to": "+14155550198"}}, "redirect": {},
    "late": {}, "twin": {},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_caller_that_repeats_as_arena_does_sends_one_message_a_task(opened, sandbox, fault):
    proxy = opened(overrides={"timeoutSeconds": 0.5, "resolveSeconds": 1}, command_seconds=0.8)
    options = dict(FAULTS[fault])
    sandbox.fail(options.pop("kind", fault), method="POST", times=2, **options)
    inputs = {**SMS, "spiff__task_id": f"task-{fault}"}
    for _ in range(4):
        try:
            url = f"{proxy.url}/v1/do/twilio/send_sms"
            # In production this is 45 s, and the proxy's own limit is 40 s
            response = requests.post(url, json=inputs, timeout=3)
            status = response.status_code
            if status == 200:
                # With any other status, the proxy refused the request, and nothing began
                status = response.json()["command_response"]["http_status"]
        except requests.RequestException:
            status = 500
        if status != 429 and status < 500:
            break
    assert status in (201, 409)
    until(lambda: all(call.done() for call in proxy._calls))
    ours = len(
        [
            request
            for request in sandbox.requests
            if request["method"] == "POST" and request["status"]
        ]
    )
    made = len(sandbox.messages) - (1 if fault == "twin" else 0)
    assert made <= 1, ours
    assert made == 1 or status == 409


def test_engines_data_of_many_large_requests_is_passed_over(served, sandbox):
    process = served()
    text = 50 * 'a "quoted" \\ ñ'
    data = [{"sid": 34 * "x", "text": text, "deep": [[], {}]} for _ in range(12_000)]
    body = json.dumps({"spiff__task_data": {"messages": data}, **SMS, "from": None}).encode()
    assert 12 << 20 < len(body) < 16 << 20

    def send(_):
        url = f"{process.url}/v1/do/twilio/send_sms"
        headers = {"Content-Type": "application/json"}
        return requests.post(url, data=body, headers=headers, timeout=60)

    before = peak(process)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    # 503 is allowed, because this machine may be too slow for all of them
    done = [answer.json() for answer in answers if answer.status_code != 503]
    assert {answer["command_response"]["http_status"] for answer in done} == {201}
    assert len(done) == len(sandbox.messages)
    # In kB: less than three of these requests
    assert peak(process) - before < 40 * 1024


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "in chunks"])
def test_only_a_few_large_requests_are_read_at_once_and_one_that_waits_in_vain_is_503(
    opened, sent, chunked
):
    proxy = opened(request_seconds=4)
    size = 5 << 20
    text = b'{"spiff__task_data": "' + size * b"x"
    head = (
        b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    )
    if chunked:
        head += b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (2 * size) + text[:300_000]
    else:
        head += b"\r\nContent-Length: %d\r\n\r\n" % (2 * size)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(proxy)).sendall(head)
        # Wait for half of their time, so that the next four have the other half
        time.sleep(2)
        for _ in range(4):
            stack.enter_context(connect(proxy)).sendall(head)
        assert post(proxy, "twilio/send_sms", SMS).json()["error"] is None
        body = text + b'", "to": "+14155550123", "body": "made up"}'
        data = iter([body]) if chunked else body
        headers = {"Content-Type": "application/json"}
        url = f"{proxy.url}/v1/do/twilio/send_sms"
        refused = requests.post(url, data=data, headers=headers, timeout=20)
        assert (refused.status_code, code_of(refused)) == (503, "busy")
        assert refused.headers["Retry-After"] == "1"
    assert len(sent()) == 1
    assert requests.post(url, data=body, headers=headers, timeout=20).json()["error"] is None
    assert len(sent()) == 2


def test_request_whose_body_takes_the_whole_time_of_its_caller_is_503_and_runs_nothing(
    opened, sandbox, answer_now
):
    proxy = opened(command_seconds=1, overrides={"timeoutSeconds": 20})
    inputs = {**SMS, "spiff__task_id": "slow"}
    body = json.dumps(inputs).encode()

    def pieces():
        yield body[:1]
        time.sleep(1.2)
        yield body[1:]

    url = f"{proxy.url}/v1/do/twilio/send_sms"
    headers = {"Content-Type": "application/json"}
    refused = requests.post(url, data=pieces(), headers=headers, timeout=20)
    assert (refused.status_code, code_of(refused)) == (503, "busy")
    assert "took 1 s to be read" in refused.text
    assert not proxy._calls
    # A call that is under way with this key is joined, as nothing new begins
    sandbox.fail("slow", method="POST", seconds=60)
    first = post(proxy, "twilio/send_sms", inputs).json()
    again = requests.post(url, data=pieces(), headers=headers, timeout=20).json()
    assert first["error"]["error_code"] == again["error"]["error_code"] == "UNDER_WAY"
    answer_now()
    until(lambda: all(call.done() for call in proxy._calls))
    assert len(sandbox.messages) == 1


def test_body_that_takes_too_long_is_408_and_runs_nothing(opened, sent, log):
    proxy = opened(request_seconds=1)
    head = (
        b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    head, _, body = raw(proxy, head, b'{"to": ').partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["error"]["error_code"] == "too_slow"
    assert log() == ["refused: HTTP 408 too_slow"]
    assert sent() == []


def test_body_that_drips_for_ever_is_408_in_time(opened, sent):
    proxy = opened(request_seconds=1)
    head = (
        b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
    )
    with connect(proxy) as caller, caller.makefile("rb") as answer:
        caller.sendall(head)
        answered = threading.Event()

        def drip():
            with contextlib.suppress(ConnectionError):
                while not answered.wait(0.05):
                    caller.sendall(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        line = answer.readline()
        answered.set()
        dripping.join()
    assert line.startswith(b"HTTP/1.1 408 ")
    assert sent() == []


def test_command_may_take_longer_than_its_request(opened, sandbox):
    proxy = opened(request_seconds=3)
    sandbox.fail("slow", method="POST", seconds=3.5)
    assert post(proxy, "twilio/send_sms", SMS).json()["error"] is None


def test_process_out_of_open_files_says_so_once_and_serves_again(served):
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("only Linux limits another process")
    process = served()
    # Wait for the start-up check, because it opens files too
    until(lambda: "checks fail" in process.stderr.readline())
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (64, 64))
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(process)).sendall(b"GET /live")
        line = process.stderr.readline()
    assert "a connection can't be taken: Too many open files" in line
    assert get(process, "/liveness").json() == {"ok": True}
    process.terminate()
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


# Several at once


def test_commands_beyond_the_limit_are_503_and_not_run(opened, sandbox, sent, answer_now):
    proxy = opened(most_commands=2)
    sandbox.fail("slow", method="POST", times=2, seconds=60)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(post, proxy, "twilio/send_sms", SMS) for _ in range(2)]
        until(lambda: len(sent()) == 2)
        response = post(proxy, "twilio/send_sms", SMS)
        assert (response.status_code, code_of(response)) == (503, "busy")
        assert response.headers["Retry-After"] == "1"
        assert get(proxy, "/v1/do/twilio/get_all_sms").status_code == 503
        assert get(proxy, "/liveness").status_code == 200
        assert len(sandbox.requests) == 2
        answer_now()
        assert [answer.result().json()["error"] for answer in answers] == [None, None]
    assert post(proxy, "twilio/send_sms", SMS).json()["error"] is None
    assert len(sent()) == 3


def test_many_callers_share_one_connection_to_twilio(proxy, sandbox, sent):
    def send(number):
        with requests.Session() as session:
            bodies = [f"{number} {place}" for place in range(20)]
            for body in bodies:
                url = f"{proxy.url}/v1/do/twilio/send_sms"
                answer = session.post(url, json={"to": TO, "body": body}, timeout=30).json()
                assert answer["command_response"]["body"]["body"] == body
            return bodies

    with ThreadPoolExecutor(8) as pool:
        bodies = [body for sent_by_one in pool.map(send, range(8)) for body in sent_by_one]
    assert sorted(request["form"]["Body"] for request in sent()) == sorted(bodies)
    assert len({request["peer"] for request in sandbox.requests}) <= 8


def test_send_of_a_caller_who_left_runs_to_its_end_and_is_logged(
    proxy, sandbox, sent, log, answer_now
):
    sandbox.fail("slow", method="POST", seconds=60)
    body = json.dumps(SMS).encode()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        until(sent)
        assert log() == ["twilio/send_sms 1: begins"]
    answer_now()
    until(lambda: len(log()) == 2)
    assert log()[1].startswith("twilio/send_sms 1: done in ")
    assert [request["status"] for request in sent()] == [201]
    assert post(proxy, "twilio/send_sms", SMS).json()["error"] is None


# Stopping


def test_stop_lets_the_running_send_end_and_answer(opened, sandbox, sent):
    proxy = opened()
    sandbox.fail("slow", method="POST", seconds=60)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(post, proxy, "twilio/send_sms", SMS)
        until(sent)
        stopped = pool.submit(proxy.stop)
        until(proxy._stopping.is_set)
        time.sleep(0.5)
        assert not stopped.done()
        assert not answer.done()
        sandbox.stop()  # it answers at once
        assert stopped.result() is True
        assert answer.result().json()["command_response"]["http_status"] == 201
    with pytest.raises(requests.ConnectionError):
        get(proxy, "/liveness")
    assert proxy.stop() is True


def test_stop_waits_for_the_send_of_a_caller_who_left(opened, sandbox, sent, log, monkeypatch):
    # The wait for the last answers must not be what lets the send end
    monkeypatch.setattr("connector_engines.proxy.server._WRITE_SECONDS", 0.1)
    proxy = opened()
    sandbox.fail("slow", method="POST", seconds=60)
    body = json.dumps(SMS).encode()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        until(sent)
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(proxy.stop)
        until(proxy._stopping.is_set)
        time.sleep(0.5)
        assert not stopped.done()
        sandbox.stop()  # it answers at once
        assert stopped.result() is True
    assert [line.partition(" in ")[0] for line in log()] == [
        "twilio/send_sms 1: begins",
        "twilio/send_sms 1: done",
    ]


def test_stop_waits_only_so_long_and_says_what_it_left(opened, sandbox, sent, log):
    proxy = opened(overrides={"timeoutSeconds": 60}, stop_seconds=0.1)
    sandbox.fail("withhold", method="POST")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, proxy, "twilio/send_sms", SMS)
        until(sent)
        assert proxy.stop() is False
        assert "stopped, and left under way what may be carried out: twilio/send_sms" in log()
        with pytest.raises(requests.ConnectionError):
            answer.result()
        sandbox.stop()
    until(lambda: any(line.startswith("twilio/send_sms 1: OUTCOME_UNKNOWN") for line in log()))


def test_stop_ends_the_waiting_for_another_attempt(opened, sandbox, log):
    overrides = {"timeoutSeconds": 60, "maxAttempts": 2}
    proxy = opened(overrides=overrides, stop_seconds=0.1)
    sandbox.fail("throttle", retry_after=50)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, proxy, "/v1/do/twilio/get_all_sms")
        until(lambda: sandbox.requests and sandbox.requests[0]["status"])
        assert proxy.stop() is False
        until(lambda: log()[-1].startswith("twilio/get_all_sms 1: THROTTLED"))
        with pytest.raises(requests.ConnectionError):
            answer.result()
    assert len(sandbox.requests) == 1


def test_body_that_comes_while_it_stops_is_503_and_begins_nothing(opened, sandbox, sent):
    proxy = opened()
    sandbox.fail("slow", method="POST", seconds=60)
    sending = threading.Thread(target=post, args=(proxy, "twilio/send_sms", SMS))
    sending.start()
    body = json.dumps(SMS).encode()
    with connect(proxy) as caller, caller.makefile("rb") as answer:
        caller.sendall(
            b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        until(sent)
        stopping = threading.Thread(target=proxy.stop)
        stopping.start()
        until(proxy._stopping.is_set)
        caller.sendall(body)
        assert answer.readline().startswith(b"HTTP/1.1 503 ")
    sandbox.stop()  # it answers at once
    sending.join()
    stopping.join()
    assert len(sent()) == 1


def test_caller_whose_body_never_comes_does_not_hold_it_up(opened, log, sent):
    proxy = opened(stop_seconds=60)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/do/twilio/send_sms HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        with connection.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            connection.sendall(b'{"to": ')
            started = time.monotonic()
            assert proxy.stop() is True
            assert time.monotonic() - started < 10
    assert sent() == []


def test_proxy_can_be_started_again(opened):
    proxy = opened()
    proxy.stop()
    with proxy:
        assert post(proxy, "twilio/send_sms", SMS).json()["error"] is None


def test_wrong_settings_and_a_taken_port_are_said_at_the_start(
    twilio_folder, settings, opened, tmp_path
):
    ledger = str(tmp_path / "unused.sqlite")
    wrong = Proxy({"twilio": twilio_folder}, {"twilio": {}}, ledger=ledger)
    with pytest.raises(InvalidConfiguration, match="'accountId' is required"):
        wrong.start()
    assert wrong.stop() is True
    port = opened().port
    taken = Proxy({"twilio": twilio_folder}, {"twilio": settings}, ledger=ledger, port=port)
    with pytest.raises(OSError, match="in use"):
        taken.start()
    before = threading.active_count()
    assert taken.stop() is True
    assert threading.active_count() == before


# Faults and logs


@pytest.mark.parametrize(("command", "kind"), [("break", "ValueError"), ("leave", "SystemExit")])
def test_unexpected_fault_is_409_without_details_and_the_proxy_goes_on(made_up, log, command, kind):
    response = post(made_up, f"made_up/{command}", {"note": "hush"})
    answer = response.json()
    assert (response.status_code, answer["command_response"]["http_status"]) == (200, 409)
    assert answer["error"]["error_code"] == "UNEXPECTED"
    assert "may have been carried out" in response.text
    assert kind not in response.text
    traceback, line = log()[-2:]
    assert traceback.startswith(f"made_up/{command} 1: unexpected fault\n")
    assert f"actions/{command}.py" in traceback
    assert traceback.endswith(kind)
    assert line.startswith(f"made_up/{command} 1: failed in ")
    assert "hush" not in response.text + "".join(log())
    assert post(made_up, "made_up/tell", {"note": "x"}).json()["error"] is None


def test_each_command_is_one_line_and_no_line_holds_a_secret(opened, sandbox, caplog, log):
    proxy = opened(api_key=KEY)
    headers = {KEY_HEADER: KEY}
    post(proxy, "twilio/send_sms", {**SMS, **ENGINES_OWN}, headers=headers)
    post(proxy, "twilio/send_sms", {**SMS, "to": "+15005550004"}, headers=headers)
    post(proxy, "twilio/send_sms", {**SMS, TO: BODY, "to": 14155550123}, headers=headers)
    get(proxy, f"/v1/do/twilio/get_sms_information?sid={quote(TO)}", headers=headers)
    get(proxy, f"/v1/do/{BODY}/{TO}", headers=headers)
    post(proxy, "twilio/send_sms", SMS, headers={KEY_HEADER: "wrong-" + KEY})
    sid = sandbox.messages[0]["sid"]
    task = ENGINES_OWN["spiff__task_id"]
    assert [line.rpartition(" in ")[0] or line for line in log()] == [
        f"twilio/send_sms 1: begins, task {task}",
        f"twilio/send_sms 1: done, {sid}",
        "twilio/send_sms 2: begins",
        "twilio/send_sms 2: REFUSED",
        "twilio/send_sms 3: begins",
        "twilio/send_sms 3: INVALID_INPUT",
        "twilio/get_sms_information 4: INVALID_INPUT",
        "refused: HTTP 404 command_not_found",
        "refused: HTTP 401 unauthorized",
    ]
    # Leave out the test's own client, which logs the addresses of its requests.
    records = [record for record in caplog.records if not record.name.startswith("urllib3")]
    text = "\n".join(logging.Formatter().format(record) for record in records)
    assert "connector_runtime" in {record.name for record in records}
    for secret in (KEY, sandbox.auth_token, TO.strip("+"), "15005550004", BODY):
        assert secret not in text
        assert quote(secret) not in text


# The command line


@pytest.fixture
def config(sandbox, tmp_path):
    path = tmp_path / "connector.yaml"
    path.write_text(
        "environments:\n"
        "  development:\n"
        '    from: "+15005550006"\n'
        f"    accountId: {sandbox.account_sid}\n"
        "    authToken: ${MADE_UP_TOKEN}\n"
        f"    apiBaseUrl: {sandbox.url}\n"
        "    timeoutSeconds: 30\n"
        "  both:\n"
        f"    twilio: {{accountId: {sandbox.account_sid}, authToken: x}}\n"
        f"    made_up: {{accountId: {sandbox.account_sid}, authToken: x}}\n"
    )
    return path


@pytest.fixture
def command(root, sandbox, config):
    """The command line and the environment for a new process."""

    def make(*arguments, environment="development", **variables):
        line = [sys.executable, "-m", "connector_engines", "proxy", "--port", "0", "--config"]
        ledger = ["--ledger", str(config.with_name("ledger.sqlite"))]
        line += [str(config), "--environment", environment, *ledger, *map(str, arguments)]
        own = {"MADE_UP_TOKEN": sandbox.auth_token}
        inherited = {name: os.environ[name] for name in os.environ if name[:9] != "CONNECTOR"}
        return {"args": line, "cwd": root, "env": {**inherited, **own, **variables}, "text": True}

    return make


@pytest.fixture
def served(command):
    """Start the command line, and return its process once it is ready, with `url` in it."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **variables):
            process = subprocess.Popen(
                **command(*arguments, **variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            process.line = process.stdout.readline()
            assert process.line, process.stderr.read()
            process.url = process.line.split()[0]
            return process

        yield start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_line_serves_and_lets_a_send_end_when_it_is_stopped(
    served, sandbox, sent, tmp_path, number
):
    process = served(CONNECTOR_PROXY_API_KEY=KEY)
    assert process.line == f"{process.url} serves twilio\n"
    assert get(process, "/liveness").json() == {"ok": True}
    assert get(process, "/v1/commands").status_code == 401
    sandbox.fail("slow", "POST", seconds=1)  # not the check of the start
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, process, "twilio/send_sms", SMS, headers={KEY_HEADER: KEY})
        until(sent)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert answer.result().json()["command_response"]["body"]["body"] == BODY
    assert process.returncode == 0
    assert output == ""
    assert "connector_engines.proxy twilio/send_sms 1: done in " in errors
    for secret in (KEY, sandbox.auth_token, TO, BODY):
        assert secret not in process.line + errors
    assert "Traceback" not in errors


def test_command_line_ends_with_5_when_a_send_does_not_end_in_time(served, sandbox, sent):
    process = served("--stop-seconds", "0.1")
    sandbox.fail("withhold", method="POST")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, process, "twilio/send_sms", SMS)
        until(sent)
        process.send_signal(signal.SIGTERM)
        assert (
            "left under way what may be carried out: twilio/send_sms"
            in process.communicate(timeout=20)[1]
        )
        with pytest.raises(requests.ConnectionError):
            answer.result()
    assert process.returncode == 5


def test_command_line_sets_how_long_a_caller_waits_and_how_large_a_request_may_be(
    served, sandbox, sent
):
    process = served("--command-seconds", "1", "--most-mebibytes", "0.5")
    sandbox.fail("slow", "POST", seconds=10)
    assert post(process, "twilio/send_sms", SMS).json()["error"]["error_code"] == "UNDER_WAY"
    large = post(process, "twilio/send_sms", {**SMS, "spiff__task_data": 600_000 * "x"})
    assert (large.status_code, code_of(large)) == (413, "too_large")
    assert len(sent()) == 1


# The command line, whose main thread is not the one that receives signals
RECEIVED_ELSEWHERE = """
import signal, threading
from connector_engines.cli import main
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for a thread")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_that_another_thread_receives_stops_it_too(command, number):
    """Such a signal does not end the main thread's wait, as one that comes just before the wait."""
    line = command()
    line["args"][1:3] = ["-c", RECEIVED_ELSEWHERE]
    with subprocess.Popen(**line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().endswith(" serves twilio\n")
        until(lambda: "checks fail" in process.stderr.readline())  # the start is over
        process.send_signal(number)
        try:
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_second_signal_ends_it_at_once(served, sandbox, sent):
    process = served()
    sandbox.fail("withhold", method="POST")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, process, "twilio/send_sms", SMS)
        until(sent)

        def ended():
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None

        until(ended)
        with pytest.raises(requests.ConnectionError):
            answer.result()
    assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in process.stderr.read()


def test_key_comes_from_a_file_too(served, tmp_path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    process = served(
        "--host", "0.0.0.0", "--key-file", tmp_path / "key", CONNECTOR_PROXY_API_KEY="another"
    )
    url = process.url.replace("0.0.0.0", "127.0.0.1")
    assert requests.get(f"{url}/v1/auths", headers={KEY_HEADER: KEY}, timeout=30).json() == []
    assert requests.get(f"{url}/v1/auths", timeout=30).status_code == 401
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_command_line_serves_folders_and_packages(served, package, made_up_folder):
    process = served("--connector", package, "--connector", made_up_folder, environment="both")
    assert process.line.endswith(" serves twilio, made_up\n")
    commands = {command["id"] for command in get(process, "/v1/commands").json()}
    assert {"twilio/send_sms", "made_up/tell"} < commands
    told = post(process, "made_up/tell", {"note": "x"}).json()
    assert told["command_response"]["body"]["told"]["note"] == "x"


WRONG_LINES = {
    "other address without a key": (["--host", "0.0.0.0"], {}, "only with an API key"),
    "key blank": ([], {"CONNECTOR_PROXY_API_KEY": ""}, "API key must be visible ASCII"),
    "key file gone": (["--key-file", "nowhere"], {}, "'nowhere' can't be read: No such file"),
    "key file no text": (
        ["--key-file", "icon.png"],
        {},
        "'icon.png' can't be read: it is no text",
    ),
    "key file empty": (["--key-file", "actions/__init__.py"], {}, "API key must be visible ASCII"),
    "port out of range": (["--port", "70000"], {}, "on: bind(): port must be 0-65535.\n"),
    "one name twice": (["--connector", ".", "--connector", "."], {}, "are named 'twilio'"),
    "settings wrong": ([], {"MADE_UP_TOKEN": "two words"}, "'authToken' must be the token alone"),
}


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"), WRONG_LINES.values(), ids=WRONG_LINES
)
def test_wrong_command_lines_are_exit_status_2(command, arguments, variables, expected):
    done = subprocess.run(
        **command(*arguments, **variables), capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, expected in done.stderr, done.stdout) == (2, True, ""), done.stderr
    assert "Traceback" not in done.stderr


def test_taken_port_is_exit_status_2(command, sandbox):
    done = subprocess.run(
        **command("--port", sandbox.port), capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, "can't be listened on" in done.stderr) == (2, True), done.stderr


def without(module, *arguments):
    """Run the engines' command line where a module is not installed."""
    program = (
        f"import sys; sys.modules['{module}'] = None; sys.argv = ['engine', *{arguments!r}]\n"
        "import connector_engines, connector_engines.cli; connector_engines.cli.main()"
    )
    return [sys.executable, "-c", program]


def test_without_aiohttp_the_extra_is_named_and_the_rest_works(command):
    options = command()
    options["args"] = without("aiohttp", *options["args"][3:])
    done = subprocess.run(**options, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        "'aiohttp' is not installed; it comes with the extra [proxy] of this package.\n"
    )
    options["args"] = without("aiohttp", "cases", "--help")
    assert subprocess.run(**options, capture_output=True, check=False, timeout=60).returncode == 0


def test_proxy_needs_no_spiffworkflow(command):
    options = command("--port", "70000")
    options["args"] = without("SpiffWorkflow", *options["args"][3:])
    done = subprocess.run(**options, capture_output=True, check=False, timeout=60)
    assert "port 70000 can't be listened on" in done.stderr
