"""What is installed from the wheel, as a stranger has it: in environments made for it."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from connector_build import package, signing
from tests.conftest import MANIFEST, ROOT

BIN = "Scripts" if os.name == "nt" else "bin"


@pytest.fixture(scope="session")
def wheel(wheels):
    (made,) = wheels.glob("twilio_connector-*.whl")
    return made


@pytest.fixture(scope="session")
def environment(wheel, tmp_path_factory):
    """Make a fresh environment with the wheel and an extra, and return its folder of programs."""

    def make(extra=""):
        folder = tmp_path_factory.mktemp(f"environment-{extra}")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        command = [sys.executable, "-m", "pip", "--python", folder, "install", "--quiet"]
        # To compile all modules would take most of the time, and few of them are imported.
        command += ["--no-compile", "--disable-pip-version-check"]
        command += ["--no-index", "--find-links", wheel.parent]
        subprocess.run([*command, f"{wheel}[{extra}]" if extra else wheel], check=True, timeout=600)
        return folder / BIN

    return make


@pytest.fixture(scope="session")
def plain(environment):
    return environment()


@pytest.fixture
def run(tmp_path):
    """Run a program of an environment in an empty folder and an empty home."""

    def run(program, *arguments, **options):
        environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        environ = {**environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PYTHONPATH": ""}
        return subprocess.run(
            list(map(str, (program, *arguments))),
            capture_output=True, check=False, encoding="utf-8", timeout=300, cwd=tmp_path,
            env={**environ, **options.pop("env", {})}, **options,
        )  # fmt: skip

    return run


@pytest.fixture
def config(sandbox, tmp_path):
    """The sandbox's settings in a file, which is JSON as well as YAML."""
    path = tmp_path / "settings.yaml"
    path.write_text(json.dumps({"environments": {"development": sandbox.settings}}), "utf-8")
    return path


def one_sentence(done):
    """Return what a program ended with, once it is one line and no traceback."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_the_wheel_has_the_connector_and_no_test_or_document_of_the_tree(wheel, run):
    listed = run(sys.executable, "-m", "zipfile", "--list", wheel).stdout
    names = {line.split()[0] for line in listed.splitlines()[1:]}
    connector = [*MANIFEST["actions"], {"handler": "connector.json"}, {"handler": "icon.png"}]
    assert {f"twilio_connector/{entry['handler']}" for entry in connector} <= names
    top = {name.split("/")[0] for name in names}
    version = MANIFEST["version"]
    assert top == {
        *("connector_build", "connector_engines", "connector_runtime"),
        *("twilio_connector", "twilio_sandbox", f"twilio_connector-{version}.dist-info"),
    }
    typed = {name.split("/")[0] for name in names if name.endswith("py.typed")}
    assert typed == top - {f"twilio_connector-{version}.dist-info"}


def test_the_wheel_alone_lists_describes_and_sends(plain, run, sandbox, config):
    listed = run(plain / "connector", "connectors")
    assert listed.stdout.startswith(f"twilio  {MANIFEST['version']}  send_sms, "), listed.stderr
    assert run(plain / "connector", "actions").stdout.startswith("send_sms")
    sent = run(
        *(plain / "connector", "run", "send_sms", "--set", "to=+14155550123", "--set", "body=Hola"),
        *("--config", config, "--connector", "twilio"),
    )
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["sid"] == sandbox.messages[0]["sid"]


def test_what_an_extra_brings_is_named_in_one_sentence_when_it_is_missing(plain, run, tmp_path):
    path = tmp_path / "twilio.zip"
    package.write(path, package.contents(ROOT))
    public = signing.make_keys(tmp_path / "key")
    said = {
        "sandbox": run(plain / "python", "-m", "twilio_sandbox"),
        "proxy": run(plain / "connector-engine", "proxy"),
        "spiff": run(plain / "connector-engine", "run", ROOT / "examples" / "monthly_report.bpmn"),
        "signing": run(
            plain / "connector", "actions", "--connector", path, "--trusted-key", public
        ),
        "build": run(plain / "python", ROOT / "build.py"),
        "temporal": run(plain / "connector-engine", "temporal", "worker", "--task-queue", "notes"),
    }
    for extra, done in said.items():
        assert f"[{extra}]" in one_sentence(done)


def test_load_is_typed_for_users_of_mypy(plain, run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from connector_runtime import Call, Connector, ConnectorError, load\n"
        "connector: Connector = load('twilio')\n"
        "output: dict[str, object] = connector.run('send_sms', {}, {})\n"
        "reveal_type(load)\n"
        "load(1)\n"
    )
    python = plain / "python"
    done = run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, program)
    notes = [line for line in done.stdout.splitlines() if line.startswith("program.py")]
    assert len(notes) == 2, done.stdout
    assert 'Revealed type is "def (connector: ' in notes[0]
    assert 'Argument 1 to "load" has incompatible type "int"' in notes[1]


def test_an_editable_install_does_not_shadow_the_package_build(run):
    done = run(sys.executable, "-c", "import connector_build, build")
    assert "No module named 'build'" in done.stderr
    assert "No module named 'connector_build'" not in done.stderr


@pytest.mark.parametrize("extra", ["build", "proxy", "sandbox", "signing", "spiff", "temporal"])
def test_each_extra_alone_brings_what_its_programs_need(extra, environment, run, sandbox, config):
    programs = environment(extra)
    TRIALS[extra](programs, run, sandbox, config)


def try_sandbox(programs, run, sandbox, config):
    def send(line):
        url = re.search(r"http://\S+", line)[0]
        config.write_text(config.read_text("utf-8").replace(sandbox.url, url), "utf-8")
        return run(
            *(programs / "connector", "run", "send_sms", "--config", config),
            *("--set", "to=+14155550123", "--set", "body=Hola"),
        )

    command = [programs / "python", "-u", "-m", "twilio_sandbox", "--port", "0"]
    done = while_serving(command, send, config.parent)
    assert json.loads(done.stdout)["status"] == "queued"


def try_proxy(programs, run, sandbox, config):
    def ask(line):
        with urllib.request.urlopen(f"{re.search(r'http://[0-9.:]+', line)[0]}/liveness") as answer:
            return answer.status

    command = [programs / "connector-engine", "proxy", "--port", "0", "--config", config]
    assert while_serving(command, ask, config.parent) == 200


def while_serving(command, ask, folder):
    """Start a server, hand the first line that it prints to `ask`, and return what that does."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, encoding="utf-8", cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        return ask(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=60)


def try_spiff(programs, run, sandbox, config):
    sandbox.seed(3)
    process = ROOT / "examples" / "monthly_report.bpmn"
    done = run(programs / "connector-engine", "run", process, "--config", config)
    assert done.returncode == 0, done.stderr


def try_signing(programs, run, sandbox, config):
    path = config.with_name("twilio.zip")
    package.write(path, package.contents(ROOT))
    public = signing.make_keys(config.with_name("key"))
    signature = signing.read_key(config.with_name("key")).sign(path.read_bytes())
    signed = [programs / "connector", "--connector", path, "--trusted-key", public, "actions"]
    assert "it is not signed" in one_sentence(run(*signed))
    Path(f"{path}.sig").write_bytes(signature)
    assert run(*signed).stdout.startswith("send_sms")


def try_build(programs, run, sandbox, config):
    done = run(programs / "python", ROOT / "build.py", "check")
    assert done.returncode == 0, done.stdout


def try_temporal(programs, run, sandbox, config):
    """A worker starts, and finds that nobody listens at the address."""
    done = run(
        *(programs / "connector-engine", "temporal", "worker", "--task-queue", "notes"),
        *("--address", "127.0.0.1:9", "--config", config),
    )
    # Not the exit status: temporalio 1.35 can abort when Python 3.11 ends while it still connects.
    assert done.stderr.startswith("no Temporal server can be reached at '127.0.0.1:9'")


TRIALS = {
    "build": try_build,
    "proxy": try_proxy,
    "sandbox": try_sandbox,
    "signing": try_signing,
    "spiff": try_spiff,
    "temporal": try_temporal,
}
