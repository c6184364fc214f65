from __future__ import annotations

import concurrent.futures
import contextlib
import http.server
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest

from connector_build import bizagi_host
from connector_build import bizc as bizc_package
from connector_build import package as packages
from connector_runtime import load
from twilio_sandbox import Sandbox

ROOT = Path(__file__).parent.parent
MANIFEST = json.loads((ROOT / "connector.json").read_text("utf-8"))


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


def until(condition, seconds=20):
    """Wait until a condition is true, and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.002)
    return value


def copy_tree(source, target, *left_out):
    """Copy a folder of this tree, with the compiled modules, which save a process much time.

    A compiled module that another process is writing at this moment is left out.
    """
    return shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*", *left_out))


def free_port():
    """A free port that the system never uses for outgoing connections and never gives to a server.

    So a server that is started later, or again, can use it.
    """
    while True:
        port = random.randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def unused_url():
    """An address where every connection is refused: a server that was stopped frees its port."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@pytest.fixture
def sandbox():
    # A step longer than any test takes: statuses move only when a test advances the clock.
    with Sandbox(step_seconds=60) as running:
        yield running


@pytest.fixture
def answer_now(sandbox):
    """A function that ends the waiting of `slow` answers: a stopping sandbox sends them at once."""

    def restart():
        sandbox.stop()
        sandbox.start()

    return restart


@pytest.fixture
def connection(twilio, sandbox):
    with twilio.connect({**sandbox.settings, "resolveSeconds": 0}) as connected:
        yield connected


@pytest.fixture
def impatient(twilio, sandbox):
    """A connection that gives up half a second after a request, for servers that do not answer.

    On a busy machine it may give up where a server does answer.
    """
    settings = {**sandbox.settings, "timeoutSeconds": 0.5, "resolveSeconds": 0}
    with twilio.connect(settings) as connected:
        yield connected


@pytest.fixture
def sent(sandbox):
    """The POST requests that the sandbox has received so far."""
    return lambda: [request for request in sandbox.requests if request["method"] == "POST"]


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
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
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
def wheels(tmp_path_factory):
    """A folder with the tree's wheel and those of all that is installed beside it in a test.

    To ask an index for them takes longer than to install them, so it is asked once.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "wheels"
    extras = "build,proxy,sandbox,signing,spiff,temporal"
    made = folder.with_name("wheels-in-the-making")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", made]
    command += [f"{ROOT}[{extras}]", "hatchling>=1.25,<2", "editables", "pytest"]
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            subprocess.run(command, check=True, timeout=300)
            made.rename(folder)
    return folder


def npm_install(folder, *packages):
    """Install packages from npm into a folder, or skip the test where there is no registry."""
    line = [tool("npm"), "install", "--no-save", "--no-audit", "--no-fund", "--prefix", folder]
    line += ["--fetch-timeout=30000", "--fetch-retries=1"]
    options = {"capture_output": True, "encoding": "utf-8", "timeout": 120}
    # A machine without the registry still has Node.js, and its tests
    try:
        done = subprocess.run([*line, *packages], check=False, **options)
    except subprocess.TimeoutExpired as late:
        pytest.skip(f"npm can't install what these tests need: no end after {late.timeout} s")
    if done.returncode:
        reason = done.stderr.strip().splitlines() or ["no reason given"]
        pytest.skip(f"npm can't install what these tests need: {reason[0]}")


@pytest.fixture(scope="session")
def bizc(tmp_path_factory):
    """The Bizagi package as its host has it: unpacked."""
    folder = tmp_path_factory.mktemp("bizc")
    packages.write(folder / "twilio.bizc", bizc_package.contents(ROOT))
    with zipfile.ZipFile(folder / "twilio.bizc") as zipped:
        zipped.extractall(folder / "installed")
    return folder / "installed"


@pytest.fixture(scope="session")
def host(node):
    """The host of connector_build/bizagi_host.js, which makes Bizagi's own HTTP call."""
    running = {}
    stack = contextlib.ExitStack()

    def call(action, given, settings, **more):
        """What the host is to do: every setting as text, where Bizagi keeps it."""
        return {
            "router": "invokeCustomAction",
            "action": action.replace("_", "-"),
            "globals": bizagi_host.globals_of(MANIFEST, settings),
            "data": {"inputs": {"input": given}},
            **more,
        }

    def text(value, raw):
        written = json.dumps(value)
        return written.replace("%", "%25") if raw else written  # the host's unescape() undoes it

    def service(installed, program=node, env=None):
        key = (str(installed), str(program), str(env))
        if key not in running:
            whole = {**os.environ, **(env or {})}
            one = bizagi_host.Host(Path(installed), str(program), env=whole)
            running[key] = stack.enter_context(one)
        return running[key]

    def run(installed, calls, program=node, env=None):
        """Make the calls, several at once; return the envelope of each."""
        asked = service(installed, program, env)

        def one(made):
            raw = made.get("raw", False)
            status, envelope = asked.post(
                made["router"],
                {
                    "actionname": made["action"],
                    "globals": text(made["globals"], raw),
                    "data": text(made["data"], raw),
                    "enablelog": made.get("log", False),
                    "callbackthrows": made.get("throws", False),
                },
                120,
            )
            assert status == 200, envelope
            return envelope

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            envelopes = list(threads.map(one, calls))
        assert asked.faults == []
        return envelopes

    with stack:
        yield SimpleNamespace(call=call, run=run, service=service)
        assert [one.faults for one in running.values() if one.faults] == []


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Run headless Chromium with a profile of its own, which speaks to nobody."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed")

    def run(*arguments):
        done = subprocess.run(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--hide-scrollbars", "--no-proxy-server"),
                f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
                *arguments,
            ],
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
