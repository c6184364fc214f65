"""The command line's share in sending once: keys, ledgers and look-ups."""

import json
import os
import subprocess
import sys

import pytest

TO = "+14155550123"
SEND = ("run", "send_sms", "--set", f"to={TO}", "--set", "body=Hola")


@pytest.fixture
def command(root, sandbox, tmp_path):
    config = tmp_path / "connector.yaml"
    settings = {**sandbox.settings, "resolveSeconds": 0}
    config.write_text(json.dumps({"environments": {"test": settings}}))

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "connector_runtime", *map(str, arguments), "--config", config],
            cwd=root, capture_output=True, text=True, check=False, timeout=60,
            env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip

    return call


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "sends.sqlite"


def test_a_key_is_sent_once(command, ledger, sent):
    keyed = ("--key", "order-4711", "--ledger", ledger)
    first, second = (json.loads(command(*SEND, *keyed).stdout)["sid"] for _ in range(2))
    assert first == second
    assert len(sent()) == 1


def test_a_key_without_a_ledger_is_refused(command, sandbox):
    done = command(*SEND, "--key", "order-4711")
    assert done.returncode == 2
    assert "a key needs a ledger" in done.stderr
    assert sandbox.requests == []


def test_what_is_not_resolved_is_listed_and_settled(command, ledger, sandbox, sent):
    sandbox.fail("reset_after", method="POST")
    lost = command(*SEND, "--key", "order-4711", "--ledger", ledger)
    assert lost.returncode == 5
    sid = sandbox.messages[0]["sid"]
    assert "order-4711" in command("ledger", ledger).stdout
    (line,) = command("ledger", ledger, "--format", "jsonl").stdout.splitlines()
    listed = json.loads(line)
    assert (listed["key"], listed["state"], listed["candidates"]) == ("order-4711", "unknown", [])
    assert command("ledger", ledger, "--settle", "order-4711", "SM" + 32 * "0").returncode == 3
    assert command("ledger", ledger, "--settle", "order-4711", sid).returncode == 0
    assert command("ledger", ledger).stdout == "Every key's outcome is known.\n"
    again = command(*SEND, "--key", "order-4711", "--ledger", ledger)
    assert json.loads(again.stdout)["sid"] == sid
    assert len(sent()) == 1


def test_what_made_nothing_is_released_and_tried_again(command, ledger, sandbox, sent):
    sandbox.fail("reset_before", method="POST")
    keyed = ("--key", "order-4711", "--ledger", ledger)
    assert command(*SEND, *keyed).returncode == 5
    assert command(*SEND, *keyed).returncode == 5  # looked up, and not sent
    assert len(sent()) == 1
    assert command("ledger", ledger, "--release", "order-4711").returncode == 0
    assert command(*SEND, *keyed).returncode == 0
    assert len(sent()) == 2
    assert command("ledger", ledger, "--release", "order-4711").returncode == 2
    assert command("ledger", ledger, "--release", "order-9").returncode == 2


def test_find_shows_matches_and_candidates(command, sandbox):
    sid = json.loads(command(*SEND).stdout)["sid"]
    asked = ("find", "send_sms", "--set", f"to={TO}", "--set", "body=Hola", "--since")
    shown = json.loads(command(*asked, "2020-01-01T00:00:00Z").stdout)
    assert [sms["sid"] for sms in shown["matches"]] == shown["candidates"] == [sid]
    assert json.loads(command(*asked, "2099-01-01T00:00:00+02:00").stdout)["candidates"] == []
    for since in ("yesterday", "2020-01-01T00:00:00"):
        assert command(*asked, since).returncode == 2
