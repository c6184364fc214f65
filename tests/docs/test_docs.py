"""The documentation, word for word: its code blocks are run, its generated parts compared."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from connector_build import new
from tests.conftest import ROOT, copy_tree, free_port

DOCS = ROOT / "docs"
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.S | re.M)
BIN = Path(sys.executable).parent
# Bash comes with Windows' Git, but paths and activation differ there.
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the pages' commands are for a POSIX shell")


def blocks(page, start="", end=None):
    """Give language, title and text of a page's code blocks, between two of its texts."""
    text = (DOCS / page).read_text("utf-8")
    text = text[text.index(start) :]
    return [match.groups() for match in _BLOCK.finditer(text[: text.index(end)] if end else text)]


def follow(folder, title, text):
    """Do what a block with a title asks for: write a file, or add to a list or mapping in one."""
    name, _, place = title.partition(", in ")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not place:
        path.write_text(text, "utf-8")
    elif path.suffix == ".json":
        document = json.loads(path.read_text("utf-8"))
        document[place].append(json.loads(text))
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    else:
        before, line, after = path.read_text("utf-8").partition(f"\n{place}:\n")
        assert line, f"{name} has no '{place}:'"
        path.write_text(before + line + text + after, "utf-8")


def shell(script, folder, home, programs=None, wheels=None):
    """Run a script as a stranger's shell would; fail with what it printed."""
    environ = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    environ |= {"HOME": str(home), "PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environ["PIP_COMPILE"] = "0"  # most modules are never imported
    if wheels:
        environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    if programs:
        environ["PATH"] = f"{programs}{os.pathsep}{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env=environ, capture_output=True, check=False, encoding="utf-8", timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def checkout(tmp_path):
    copy = copy_tree(ROOT, tmp_path / "checkout", ".*", "dist", "build", "node_modules")
    shutil.copyfile(ROOT / ".gitignore", copy / ".gitignore")
    return copy


def test_generated_pages_say_what_the_code_says():
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"],
        cwd=ROOT, capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_workflows_and_issue_forms_can_be_read():
    """A site that hosts the project leaves out, without a word, a file that it can't read."""
    read = {
        path.stem: yaml.safe_load(path.read_text("utf-8"))
        for path in [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    }
    assert read["test"]["jobs"]
    assert read[".pre-commit-config"]["repos"]
    for name in ("defect", "wish"):
        assert read[name]["name"]
        assert read[name]["description"]
        labels = [part["attributes"]["label"] for part in read[name]["body"] if "id" in part]
        assert len(set(labels)) == len(labels) > 1


def test_the_site_is_built_and_no_link_leads_nowhere(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT, capture_output=True, check=False, text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "install.html").is_file()


def test_install_word_for_word_in_an_empty_home(checkout, tmp_path, wheels):
    number = free_port()
    example = checkout / "examples" / "connector.yaml"
    example.write_text(example.read_text("utf-8").replace("8010", str(number)), "utf-8")
    script = []
    for language, title, text in blocks("install.md"):
        if title == "in another terminal":
            port = f"exec python -m twilio_sandbox --port {number}"
            server = text.replace("python -m twilio_sandbox", port)
            script.append(f"({server}) > sandbox.txt &")
            script.append("trap 'kill $!' EXIT; until grep -q listening sandbox.txt; do :; done")
        elif language == "sh":
            script.append(text)
        elif language == "python":
            script.append(f"python - <<'END'\n{text}END")
    home = tmp_path / "home"
    home.mkdir()
    python = Path(sys.base_prefix) / "bin"  # without the programs of this environment
    printed = shell("\n".join(script), checkout, home, python, wheels)
    assert "twilio  1.0.0  send_sms" in printed
    assert "Everything is right." in printed
    assert '"body": "Your appointment is tomorrow at 10:00."' in printed


def test_configuring_has_a_file_that_works(tmp_path, sandbox):
    for _, title, text in blocks("configuring.md"):
        if title:
            follow(tmp_path, title, text.replace("http://127.0.0.1:8010", sandbox.url))
    printed = shell(blocks("configuring.md", "```sh")[0][2], tmp_path, tmp_path, BIN)
    assert "Everything is right." in printed


def test_building_signing_and_comparing_word_for_word(checkout):
    script = "\n".join(text for language, _, text in blocks("building.md") if language == "sh")
    printed = shell(script, checkout, checkout.parent, BIN)
    assert "0 errors, 0 warnings and pieces of advice" in printed
    assert "none: 1.0.0 or higher after 1.0.0" in printed


def test_an_action_is_added_to_this_connector_by_the_guide(checkout):
    for language, title, text in blocks("writing-an-action.md", "## An action of the Twilio"):
        assert title.startswith("twilio")
        if language == "sh":
            printed = shell(text, checkout, checkout.parent, BIN)
        else:
            follow(checkout, title.removeprefix("twilio: "), text)
    assert "0 errors, 0 warnings and pieces of advice" in printed
    assert " passed" in printed
    # What lists the actions takes the new one as it is.
    shell("python build.py", checkout, checkout.parent, BIN)
    listed = shell("python -m connector_runtime actions", checkout, checkout.parent, BIN)
    assert "redact_sms" in listed


def test_every_part_that_is_missing_is_named_at_once(checkout):
    """The manifest names the action, and nothing of it is there yet."""
    for language, title, text in blocks("writing-an-action.md", "## An action of the Twilio"):
        if language == "json":
            follow(checkout, title.removeprefix("twilio: "), text)
    done = subprocess.run(
        [sys.executable, "build.py", "check", "--format", "json"],
        cwd=checkout, capture_output=True, check=False, text=True,
    )  # fmt: skip
    findings = {(finding["rule"], finding["file"]) for finding in json.loads(done.stdout)}
    assert findings >= {
        ("handler-missing", "actions/redact_sms.py"),
        ("schema-missing", "schemas/redact_sms.input.json"),
        ("schema-missing", "schemas/redact_sms.output.json"),
        ("test-missing", "tests/actions/test_redact_sms.py"),
        ("case-missing", "tests/conformance"),
    }


PROCESS = """<?xml version="1.0" encoding="UTF-8"?>
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:spiffworkflow="http://spiffworkflow.org/bpmn/schema/1.0/core"
    id="both_definitions" targetNamespace="https://example.com/both">
  <bpmn:process id="both" isExecutable="true">
    <bpmn:startEvent id="start"><bpmn:outgoing>a</bpmn:outgoing></bpmn:startEvent>
    <bpmn:serviceTask id="note" name="Create note">
      <bpmn:extensionElements>
        <spiffworkflow:serviceTaskOperator id="weather/create_note" resultVariable="note">
          <spiffworkflow:parameters>
            <spiffworkflow:parameter id="text" type="str" value="'Hola'" />
          </spiffworkflow:parameters>
        </spiffworkflow:serviceTaskOperator>
      </bpmn:extensionElements>
      <bpmn:incoming>a</bpmn:incoming><bpmn:outgoing>b</bpmn:outgoing>
    </bpmn:serviceTask>
    <bpmn:serviceTask id="sms" name="Send SMS">
      <bpmn:extensionElements>
        <spiffworkflow:serviceTaskOperator id="twilio/send_sms" resultVariable="sms">
          <spiffworkflow:parameters>
            <spiffworkflow:parameter id="to" type="str" value="'+14155550123'" />
            <spiffworkflow:parameter id="body" type="str" value="note['text']" />
          </spiffworkflow:parameters>
        </spiffworkflow:serviceTaskOperator>
      </bpmn:extensionElements>
      <bpmn:incoming>b</bpmn:incoming><bpmn:outgoing>c</bpmn:outgoing>
    </bpmn:serviceTask>
    <bpmn:endEvent id="end"><bpmn:incoming>c</bpmn:incoming></bpmn:endEvent>
    <bpmn:sequenceFlow id="a" sourceRef="start" targetRef="note" />
    <bpmn:sequenceFlow id="b" sourceRef="note" targetRef="sms" />
    <bpmn:sequenceFlow id="c" sourceRef="sms" targetRef="end" />
  </bpmn:process>
</bpmn:definitions>
"""


@pytest.fixture
def notes():
    """A made-up service of notes, with a bearer token."""

    class Notes(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.seen.append((self.path, self.headers["Authorization"], body))
            content = json.dumps({"id": "n1", **body}).encode()
            self.send_response(201)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments): ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Notes) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_connector_is_written_by_the_guide_and_runs_beside_this_one_in_one_engine(
    tmp_path, sandbox, notes, wheels
):
    """On the wheel, in an environment of its own, with nothing of this tree on the path."""
    home = tmp_path / "home"
    home.mkdir()
    shell(
        "python3 -m venv environment && "
        "environment/bin/pip install --quiet 'twilio-connector[build,spiff]' pytest",
        tmp_path, home, BIN, wheels,
    )  # fmt: skip
    programs = tmp_path / "environment" / "bin"
    folder = tmp_path / "weather"
    script = [text for language, _, text in blocks("writing-a-connector.md") if language == "sh"]
    shell("\n".join(script), tmp_path, home, programs, wheels)
    for language, title, text in blocks("writing-an-action.md", end="## An action of the Twilio"):
        if language == "sh":
            printed = shell(text, folder, home, programs)
        else:
            follow(folder, title, text)
    assert "0 errors, 0 warnings and pieces of advice" in printed
    assert "8 passed" in printed
    assert (folder / "dist" / "weather-0.1.0.zip").is_file()
    listed = shell("connector connectors", tmp_path, home, programs)
    assert [line.split()[0] for line in listed.splitlines()] == ["twilio", "weather"]
    assert "delete_note" in listed
    (tmp_path / "both.bpmn").write_text(PROCESS, "utf-8")
    environment = {
        "twilio": sandbox.settings,
        "weather": {
            "apiToken": "made-up",
            "apiBaseUrl": f"http://127.0.0.1:{notes.server_port}",
        },
    }
    config = {"environments": {"development": environment}}
    (tmp_path / "both.yaml").write_text(json.dumps(config), "utf-8")
    printed = shell(
        "connector-engine --connector twilio run both.bpmn --connector weather --config both.yaml",
        tmp_path, home, programs,
    )  # fmt: skip
    assert json.loads(printed)["sms"]["sid"] == sandbox.messages[0]["sid"]
    assert notes.seen == [("/notes", "Bearer made-up", {"text": "Hola"})]


def test_a_new_connector_says_nothing_of_another_service():
    """The kit's distribution is named after this connector; nothing else of it is there."""
    files = new.contents("weather")
    for name, content in files.items():
        text = content.decode("latin-1").lower().replace("twilio-connector", "")
        assert not re.search(r"twilio|sms\b", text), name
