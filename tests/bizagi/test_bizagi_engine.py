"""A real engine: bpmn-engine runs a drawn process with the unpacked package, on the sandbox."""

import json
import subprocess
from pathlib import Path

import pytest

from connector_build import bizagi_host
from tests.conftest import MANIFEST
from twilio_sandbox import Sandbox

HERE = Path(__file__).parent


@pytest.fixture
def run(npm, bizc):
    """Run a case of notify.bpmn to its end; return what it reached and what it was given."""

    def one(sandbox, given, **settings):
        every = {**sandbox.settings, "from": "+15005550006", **settings}
        program = npm / "node_modules" / "node-20" / "bin" / "node"
        done = subprocess.run(
            [
                *(program, HERE / "engine.js", npm, bizc, HERE / "notify.bpmn"),
                *(json.dumps(bizagi_host.globals_of(MANIFEST, every)), json.dumps(given)),
            ],
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return one


def test_case_ends_where_its_message_is_delivered(run):
    with Sandbox(step_seconds=0.2) as sandbox:
        came = run(sandbox, {"to": "+14155550123", "body": "Hola"})
        (sent,) = sandbox.messages
    assert (came["ends"], came["error"]) == (["delivered"], None)
    assert came["outputs"]["look_up"]["sid"] == came["outputs"]["send_sms"]["sid"] == sent["sid"]


def test_case_goes_over_the_boundary_event_of_a_refused_send(run, sandbox):
    sandbox.fail("error", "POST", status=400, code=21610)
    came = run(sandbox, {"to": "+14155550123", "body": "Hola"})
    assert came["ends"] == ["refused_end"]
    assert "opted out" in came["errors"]["send_sms"]["message"]
    assert sandbox.messages == []


def test_case_whose_send_is_unknown_is_told_apart_and_sends_once(run, sandbox, sent):
    sandbox.fail("reset_before", "POST", times=None)
    came = run(sandbox, {"to": "+14155550123", "body": "Hola"}, resolveSeconds=0)
    assert came["ends"] == ["unknown_end"]
    assert came["errors"]["send_sms"]["error"] == "OUTCOME_UNKNOWN"
    assert len(sent()) == 1


def test_case_whose_answer_was_lost_goes_on_with_the_message_that_was_found(run, sent):
    with Sandbox(step_seconds=0.2) as sandbox:
        sandbox.fail("reset_after", "POST", times=1)
        came = run(sandbox, {"to": "+14155550123", "body": "Hola"})
        assert came["ends"] == ["delivered"]
        assert len(sandbox.messages) == 1
