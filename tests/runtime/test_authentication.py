"""Made-up connectors of a made-up service that speaks JSON, over real sockets."""

import base64
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connector_runtime import errors, load

SECRET = "made-up-secret-4711"
WAYS = {
    "basic": {"type": "basic", "user": ["keyId", "account"], "secret": "token"},
    "bearer": {"type": "bearer", "secret": "token"},
    "apiKey": {"type": "apiKey", "header": "X-Api-Key", "secret": "token"},
}
HANDLER = """
def run(inputs, call):
    with_json = {key: inputs[key] for key in ("text", "flag") if key in inputs}
    if inputs["method"] == "get":
        return {"answer": call.get("/notes", {"q": inputs["text"]})}
    if inputs["method"] == "delete":
        return {"answer": call.delete("/notes/1")}
    if inputs["method"] == "form":
        return {"answer": call.post("/notes", {"text": inputs["text"]})}
    if inputs["method"] == "empty":
        return {"answer": call.post("/notes")}
    return {"answer": getattr(call, inputs["method"])("/notes/1", json=with_json)}
"""
AUTH = """
from connector_runtime import Service
seen = []
def connect(settings):
    seen.append(dict(settings))
    return Service(name="Notes", base_url=settings["baseUrl"])
def check(call):
    yield "settings", True, " ".join(sorted(seen[0]))
"""


@pytest.fixture
def service():
    """A server that keeps each request and answers with it; without content to a DELETE."""
    requests = []

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            requests.append((self.command, self.path, dict(self.headers), body))
            content = b"" if self.command == "DELETE" else json.dumps(self.command).encode()
            self.send_response(204 if self.command == "DELETE" else 200)
            if content:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, *arguments): ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        server.requests, server.url = requests, f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()
        thread.join()


def field(kind, **more):
    return {"type": kind, "description": "Made up.", **more}


@pytest.fixture
def notes(tmp_path):
    """Write the connector with an authentication, and load it."""

    def make(authentication, **changes):
        named = {"displayName": "x", "description": "Made up.", "example": "x"}
        parameter = {**named, "type": "string", "required": False, "secret": False, "global": False}
        manifest = {
            "manifestVersion": 1,
            "guid": "00000000-0000-4000-8000-000000000000",
            "name": "notes", "displayName": "Notes", "version": "1.0.0", "runtime": ">=1.0,<2",
            "description": "Made up.", "author": "Nobody", "homepage": "https://example.com",
            "icon": "icon.png", "categories": ["Made up"], "auth": "auth",
            "authentication": authentication,
            "parameters": [
                {**parameter, "name": "account"},
                {**parameter, "name": "keyId"},
                {**parameter, "name": "baseUrl", "required": True},
                {**parameter, "name": "token", "required": True, "secret": True},
                {**parameter, "name": "quiet", "type": "boolean", "example": True},
            ],
            "options": [],
            "actions": [{
                "name": "do", "displayName": "Do", "description": "Made up.",
                "handler": "actions/do.py", "input": "schemas/do.input.json",
                "output": "schemas/do.output.json", "globals": [], "effect": "write",
                "repeatable": False, "documentation": "https://example.com/do",
            }],
            **changes,
        }  # fmt: skip
        files = {
            "connector.json": json.dumps(manifest),
            "actions/do.py": HANDLER,
            "auth/__init__.py": AUTH,
            "schemas/do.input.json": json.dumps({"type": "object", "properties": {
                "method": field("string"), "text": field("string"), "flag": field("boolean"),
            }}),
            "schemas/do.output.json": json.dumps({"type": "object", "properties": {
                "answer": field(["string", "null"]),
            }}),
        }  # fmt: skip
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        return load(tmp_path)

    return make


def settings(service, **more):
    return {"baseUrl": service.url, "token": SECRET, "account": "A", **more}


def basic(user):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{SECRET}".encode()).decode()}


SIGNED_IN = {
    "basic": ("basic", {}, basic("A")),
    "basic with a key": ("basic", {"keyId": "K"}, basic("K")),
    "bearer": ("bearer", {}, {"Authorization": f"Bearer {SECRET}"}),
    "API key": ("apiKey", {}, {"X-Api-Key": SECRET}),
}


@pytest.mark.parametrize(("way", "more", "expected"), SIGNED_IN.values(), ids=SIGNED_IN)
def test_each_way_to_sign_in_sends_its_header_and_no_other(notes, service, way, more, expected):
    notes(WAYS[way]).run("do", {"method": "get", "text": "a b"}, settings(service, **more))
    ((_, path, headers, _),) = service.requests
    assert path == "/notes?q=a+b"
    named = {"Authorization", "X-Api-Key"}
    assert {name: value for name, value in headers.items() if name in named} == expected


REQUESTS = {
    "post": ("POST", '{"text": "¡Hola! 👋", "flag": false}', "application/json"),
    "put": ("PUT", '{"text": "¡Hola! 👋", "flag": false}', "application/json"),
    "patch": ("PATCH", '{"text": "¡Hola! 👋", "flag": false}', "application/json"),
    "form": (
        "POST", "text=%C2%A1Hola%21+%F0%9F%91%8B", "application/x-www-form-urlencoded"
    ),
    "empty": ("POST", "", None),
    "delete": ("DELETE", "", None),
}  # fmt: skip


@pytest.mark.parametrize("way", REQUESTS)
def test_each_method_sends_its_body_in_its_form(notes, service, way):
    method, body, kind = REQUESTS[way]
    inputs = {"method": way, "text": "¡Hola! 👋", "flag": False}
    output = notes(WAYS["bearer"]).run("do", inputs, settings(service))
    ((sent, _, headers, content),) = service.requests
    assert (sent, content.decode("utf-8"), headers.get("Content-Type")) == (method, body, kind)
    assert output == {"answer": None if method == "DELETE" else method}


@pytest.mark.parametrize("way", WAYS)
def test_the_secret_is_in_no_preview_log_or_text_and_not_the_connectors(
    notes, service, way, caplog
):
    caplog.set_level(logging.DEBUG)
    with notes(WAYS[way]).connect(settings(service, quiet="true")) as connection:
        shown = connection.preview("do", {"method": "post", "text": "x"})
        assert shown["json"] == {"text": "x"}
        assert "(hidden)" in shown["headers"].values()
        connection.run("do", {"method": "post", "text": "x"})
        everything = f"{shown} {caplog.text} {vars(connection)} {connection._http!r}"
        assert SECRET not in everything
        assert base64.b64encode(f"A:{SECRET}".encode()).decode() not in everything
        ((_, _, names),) = connection.check()
    assert names == "account baseUrl quiet"


WRONG = {
    "basic without a user": ({"type": "basic", "secret": "token"}, "user' is missing: add it"),
    "unknown user": (
        {"type": "basic", "user": ["name"], "secret": "token"}, "names 'name', which is no setting",
    ),
    "secret that is none": ({"type": "bearer", "secret": "account"}, "must name a parameter that"),
    "bearer with a header": (
        {"type": "bearer", "secret": "token", "header": "X"}, "header' must not be given with",
    ),
    "key without a header": ({"type": "apiKey", "secret": "token"}, "header' is missing: add it"),
    "header of the runtime": (
        {"type": "apiKey", "secret": "token", "header": "content-LENGTH"}, "the runtime writes",
    ),
    "header with a line break": (
        {"type": "apiKey", "secret": "token", "header": "X\n"}, "'authentication.header' breaks",
    ),
    "another type": ({"type": "digest", "secret": "token"}, "'authentication.type' must be"),
}  # fmt: skip


@pytest.mark.parametrize(("declared", "expected"), WRONG.values(), ids=WRONG)
def test_a_wrong_authentication_is_refused_when_loading(notes, declared, expected):
    with pytest.raises(errors.InvalidPackage) as caught:
        notes(declared)
    assert expected in str(caught.value)


@pytest.mark.parametrize("secret", ["a\nb", "a b", "é"])
def test_a_secret_that_no_header_can_carry_is_refused_and_not_shown(notes, service, secret):
    with pytest.raises(errors.InvalidConfiguration, match="'token' must be letters") as caught:
        notes(WAYS["bearer"]).connect({**settings(service), "token": secret})
    assert secret not in str(caught.value)


def test_without_any_user_name_all_that_could_be_one_are_named(notes, service):
    with pytest.raises(errors.InvalidConfiguration, match="'keyId' or 'account' is required"):
        notes(WAYS["basic"]).connect({"baseUrl": service.url, "token": SECRET})


def test_credentials_never_travel_without_encryption_whatever_the_connector_says(notes):
    with pytest.raises(errors.InvalidConfiguration, match="must begin with https"):
        notes(WAYS["bearer"]).connect({"baseUrl": "http://example.com", "token": SECRET})
