from __future__ import annotations

import http.server
import json
import os
import shutil
import ssl
import subprocess
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from connector_build import bizc as bizc_package
from connector_build import package as packages
from connector_runtime import load
from twilio_sandbox import Sandbox

ROOT = Path(__file__).parent.parent
MANIFEST = json.loads((ROOT / "connector.json").read_text("utf-8"))
HOST = ROOT / "tests" / "bizagi" / "host.js"


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "twilio-1.0.0.zip"
    packages.write(path, packages.contents(ROOT))
    return path


@pytest.fixture(scope="session", params=["folder", "package"])
def twilio(request):
    """The connector, from each form it is delivered in."""
    return load(ROOT if request.param == "folder" else request.getfixturevalue("package"))


@pytest.fixture(scope="session")
def twilio_folder():
    return load(ROOT)


@pytest.fixture
def sandbox():
    # A step longer than any test takes: statuses move only when a test advances the clock.
    with Sandbox(step_seconds=60) as running:
        yield running


@pytest.fixture
def connection(twilio, sandbox):
    with twilio.connect({**sandbox.settings, "timeoutSeconds": 0.5}) as connected:
        yield connected


@pytest.fixture
def sent(sandbox):
    """The POST requests that the sandbox has received so far."""
    return lambda: [each for each in sandbox.requests if each["method"] == "POST"]


@pytest.fixture
def https_port(tmp_path):
    """A server whose certificate nobody vouches for; it must never read a request."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    received = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.path)
            self.send_error(400)

        def log_message(self, *_): ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.socket = context.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)  # fmt: skip
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], tmp_path / "cert.pem", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def node():
    """The path of Node.js, on which Bizagi runs connectors."""
    return tool("node")


def tool(name):
    """The path of a program that is no Python package; without it, CI fails and others skip."""
    path = shutil.which(name)
    if path is None and "CI" in os.environ:
        pytest.fail(f"{name} is not installed, and CI must not skip what needs it")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="session")
def bizc(tmp_path_factory):
    """The Bizagi package as its host has it: unpacked."""
    folder = tmp_path_factory.mktemp("bizc")
    packages.write(folder / "twilio.bizc", bizc_package.contents(ROOT))
    with zipfile.ZipFile(folder / "twilio.bizc") as zipped:
        zipped.extractall(folder / "installed")
    return folder / "installed"


@pytest.fixture(scope="session")
def host(node, tmp_path_factory):
    """A host that knows only the documented interface: tests/bizagi/host.js."""

    def call(action, given, settings, **more):
        """What the host is to do: every setting as text, where Bizagi keeps it."""
        parameters = {entry["name"] for entry in MANIFEST["parameters"]}
        texts = {name: value if value is None else str(value) for name, value in settings.items()}
        return {
            "router": "invokeAction",
            "action": action.replace("_", "-"),
            "globals": {
                "authdata": {name: text for name, text in texts.items() if name in parameters},
                "systemproperties": {n: text for n, text in texts.items() if n not in parameters},
                "projectname": "Tests",
            },
            "data": {"inputs": {"input": given}},
            **more,
        }

    def run(installed, calls, program=(node,)):
        """Make the calls; return for each the list of what it called back with."""
        folder = tmp_path_factory.mktemp("host")
        (folder / "calls.json").write_text(json.dumps(calls), "utf-8")
        done = subprocess.run(
            [*program, HOST, installed, folder / "calls.json", folder / "answers.json"],
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=120,
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return json.loads((folder / "answers.json").read_text("utf-8"))

    return SimpleNamespace(call=call, run=run)
