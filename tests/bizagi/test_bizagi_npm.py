"""Judges from npm: Bizagi's own utilities, and Node.js from the oldest that Bizagi's pages name."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance import table

JUDGE = Path(__file__).parent / "judge.js"
TO = "+14155550123"


@pytest.fixture(scope="module")
def judge(npm, bizc, node, tmp_path_factory):
    """Ask bz-util, with the connector's own etc/ where it looks for it."""
    shutil.copytree(bizc / "etc", npm / "etc")

    def ask(questions):
        folder = tmp_path_factory.mktemp("judge")
        (folder / "questions.json").write_text(json.dumps(questions), "utf-8")
        subprocess.run(
            [node, JUDGE, npm, folder / "questions.json", folder / "answers.json"],
            capture_output=True,
            check=True,
            timeout=60,
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
        )
        return json.loads((folder / "answers.json").read_text("utf-8"))

    return ask


def test_envelopes_are_those_that_bizagis_utilities_make(judge, bizc, host, sandbox):
    sid = sandbox.add()["sid"]
    calls = [
        host.call("send_sms", {"to": TO, "body": "a"}, sandbox.settings),
        host.call("get_sms_information", {"sid": sid}, sandbox.settings),
        host.call("get_all_sms", {}, sandbox.settings),
        host.call("send_sms", {"to": "nobody", "body": "a"}, sandbox.settings),
        host.call("send_sms", {"to": "+15005550001", "body": "a"}, sandbox.settings),
        host.call("send_sms", {"to": TO, "body": "a"}, {**sandbox.settings, "authToken": "x"}),
        host.call("make_call", {}, sandbox.settings),
        host.call("", {}, sandbox.settings, router="authenticator"),
    ]
    envelopes = host.run(bizc, calls)
    assert [envelope["success"] for envelope in envelopes] == [True] * 3 + [False] * 4 + [True]
    judged = judge([{"envelope": envelope} for envelope in envelopes])
    for envelope, made in zip(envelopes, judged, strict=True):
        assert json.dumps(envelope) == json.dumps(made)  # the order of the keys too


@pytest.mark.parametrize(
    ("written", "arrives"),
    [("one%5Cntwo", "one\ntwo"), ("%2541 + 1 % 2", "%41 + 1 % 2"), ("%41", "A")],
    ids=["line-break", "percent", "spoiled"],
)
def test_what_bizagis_utilities_read_is_sent(judge, bizc, host, sandbox, written, arrives):
    call = host.call("send_sms", {"to": TO, "body": written}, sandbox.settings)
    (read,) = judge([{name: json.dumps(call[name]) for name in ("globals", "data")}])
    assert read["globals"]["success"]
    assert read["data"]["success"]
    for name in ("globals", "data"):
        call[name] = read[name]["response"]["outputs"]["output"]
    (envelope,) = host.run(bizc, [{**call, "raw": True}])
    assert envelope["response"]["outputs"]["output"]["body"] == arrives


def test_percent_in_a_parameter_is_written_for_two_readings(judge, host, sandbox):
    written = {**sandbox.settings, "voice_url": "https://example.com/a%252520b.xml"}
    call = host.call("get_all_sms", {}, written)
    (read,) = judge([{name: json.dumps(call[name]) for name in ("globals", "data")}])
    arrived = read["globals"]["response"]["outputs"]["output"]["authdata"]
    assert arrived["voice_url"] == "https://example.com/a%20b.xml"


@pytest.mark.parametrize("release", ["node-10", "node-20", "node-newest"])
def test_connector_does_the_same_on_every_node(release, npm, bizc, host, tmp_path):
    program = npm / "node_modules" / release / "bin" / "node"
    implementation = f"bizagi on {release}"
    cases = table.cases()
    with table.Server(tmp_path) as server:
        calls = []
        for case in cases:
            settings, given = server.play(implementation, case)
            calls.append(host.call(case["action"], given, settings))
        envelopes = host.run(bizc, calls, program, server.environment)
        for case, envelope in zip(cases, envelopes, strict=True):
            output, error = table.outcome(envelope)
            table.judge(case, implementation, server, output, error)


def test_host_and_check_run_on_the_oldest_node(npm, bizc, host, sandbox):
    program = npm / "node_modules" / "node-10" / "bin" / "node"
    calls = [host.call("", {}, sandbox.settings, router="authenticator")]
    calls.append(host.call("", {}, sandbox.settings, router="cleanAllModulesCache"))
    assert [envelope["success"] for envelope in host.run(bizc, calls, program)] == [True, True]
