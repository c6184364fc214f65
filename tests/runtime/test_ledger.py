"""Keys: each is sent at most once, whoever asks, and whatever is killed."""

import concurrent.futures
import contextlib
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import datetime, timezone

import pytest

from connector_runtime import errors, load
from connector_runtime.connection import Connector
from connector_runtime.ledger import Ledger

INPUTS = {"to": "+14155550123", "body": "Your table is ready."}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sends.sqlite"


@pytest.fixture
def connect(twilio_folder, sandbox, path):
    opened = []

    def start(**changes):
        settings = {**sandbox.settings, "timeoutSeconds": 20, "resolveSeconds": 5, **changes}
        opened.append(twilio_folder.connect(settings, ledger=path))
        return opened[-1]

    yield start
    for connection in opened:
        connection.close()


def states(path):
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT key, state FROM calls ORDER BY key").fetchall()
    database.close()
    return dict(rows)


def test_a_key_is_sent_once_and_answers_with_the_message_as_it_stands(connect, sandbox, sent):
    connection = connect()
    first = connection.run("send_sms", INPUTS, key="order-4711")
    sandbox.advance(600)
    second = connection.run("send_sms", INPUTS, key="order-4711")
    assert (first["status"], second["status"]) == ("queued", "delivered")
    assert first["sid"] == second["sid"]
    assert connect().run("send_sms", INPUTS, key="order-4711")["sid"] == first["sid"]
    assert len(sent()) == 1
    connection.run("send_sms", INPUTS, key="order-4712")
    assert len(sent()) == 2


def test_a_key_belongs_to_one_input(connect, sent):
    connection = connect()
    connection.run("send_sms", INPUTS, key="order-4711")
    with pytest.raises(errors.InvalidInput, match="used before for another call"):
        connection.run("send_sms", {**INPUTS, "body": "Something else."}, key="order-4711")
    assert len(sent()) == 1
    connection.run("send_sms", INPUTS, key="order-4712")
    assert len(sent()) == 2


def test_what_was_refused_or_never_left_may_be_tried_again(connect, sandbox, sent, path):
    connection = connect(maxAttempts=1)
    sandbox.fail("error", method="POST", status=400)
    with pytest.raises(errors.Refused):
        connection.run("send_sms", INPUTS, key="order-4711")
    assert states(path) == {"order-4711": "free"}
    sandbox.fail("throttle", method="POST")
    with pytest.raises(errors.Throttled):
        connection.run("send_sms", INPUTS, key="order-4711")
    assert connection.run("send_sms", INPUTS, key="order-4711")["sid"]
    assert len(sent()) == 3
    assert states(path) == {"order-4711": "done"}


def test_an_unknown_outcome_is_looked_up_when_the_key_is_asked_for_again(
    connect, sandbox, sent, path
):
    sandbox.fail("reset_after", method="POST")
    sandbox.fail("late", seconds=2)
    with pytest.raises(errors.OutcomeUnknown):
        connect(resolveSeconds=0).run("send_sms", INPUTS, key="order-4711")
    assert states(path) == {"order-4711": "unknown"}
    assert connect().run("send_sms", INPUTS, key="order-4711")["sid"] == sandbox.messages[0]["sid"]
    assert len(sent()) == 1


def test_threads_that_ask_for_one_key_get_one_message(connect, sent):
    connection = connect()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ask = lambda _: connection.run("send_sms", INPUTS, key="order-4711")["sid"]  # noqa: E731
        sids = set(pool.map(ask, range(8)))
    assert len(sids) == len(sent()) == 1


PROGRAM = """
import json, sys
from connector_runtime import ConnectorError, load
settings, ledger, keys, body = json.loads(sys.argv[1])
with load(".").connect(settings, ledger=ledger) as connection:
    print("ready", flush=True)
    for key in keys:
        text = body if body else "For " + key
        try:
            sms = connection.run("send_sms", {"to": "+14155550123", "body": text}, key=key)
            print(json.dumps([key, sms["sid"]]), flush=True)
        except ConnectorError as error:
            print(json.dumps([key, error.code]), flush=True)
"""


def program(root, settings, path, keys, body=None):
    arguments = json.dumps([settings, str(path), keys, body])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, arguments], cwd=root, text=True, stdout=subprocess.PIPE
    )


def test_processes_that_ask_for_one_key_get_one_message(root, sandbox, path, sent):
    settings = {**sandbox.settings, "resolveSeconds": 5}
    keys = [f"order-{number}" for number in range(5)]
    running = [program(root, settings, path, keys) for _ in range(4)]
    answers = [process.communicate(timeout=60)[0].splitlines()[1:] for process in running]
    assert len({tuple(lines) for lines in answers}) == 1
    assert len(sent()) == 5


def test_a_process_that_is_killed_while_it_sends_leaves_a_key_that_is_found(
    root, sandbox, path, connect, sent
):
    sandbox.fail("withhold", method="POST")
    process = program(root, {**sandbox.settings, "timeoutSeconds": 60}, path, ["order-4711"], "x")
    assert process.stdout.readline() == "ready\n"
    while not sandbox.messages:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert states(path) == {"order-4711": "begun"}
    inputs = {"to": "+14155550123", "body": "x"}
    assert connect().run("send_sms", inputs, key="order-4711")["sid"] == sandbox.messages[0]["sid"]
    assert len(sent()) == 1
    assert list(path.parent.glob("*-owner-*"))  # of the connection that is open
    connect().close()


def test_two_identical_sends_that_were_killed_each_find_a_message(
    root, sandbox, path, connect, sent
):
    sandbox.fail("withhold", method="POST", times=2)
    settings = {**sandbox.settings, "timeoutSeconds": 60}
    running = [program(root, settings, path, [key], "x") for key in ("order-1", "order-2")]
    while len(sandbox.messages) < 2:
        assert all(process.poll() is None for process in running)
    for process in running:
        process.kill()
        process.communicate()
    inputs = {"to": "+14155550123", "body": "x"}
    sids = {connect().run("send_sms", inputs, key=key)["sid"] for key in ("order-1", "order-2")}
    assert sids == {sms["sid"] for sms in sandbox.messages}
    assert len(sent()) == 2


def test_the_message_of_a_process_that_still_sends_is_left_to_it(
    root, sandbox, path, connect, sent
):
    sandbox.fail("withhold", method="POST")
    process = program(root, {**sandbox.settings, "timeoutSeconds": 60}, path, ["order-1"], "x")
    while not sandbox.messages:
        assert process.poll() is None
    sandbox.fail("reset_before", method="POST")
    with pytest.raises(errors.OutcomeUnknown):
        connect(resolveSeconds=1).run(
            "send_sms", {"to": "+14155550123", "body": "x"}, key="order-2"
        )
    process.kill()
    process.communicate()
    inputs = {"to": "+14155550123", "body": "x"}
    assert connect().run("send_sms", inputs, key="order-1")["sid"] == sandbox.messages[0]["sid"]
    assert len(sandbox.messages) == 1


def test_killed_at_any_moment_each_key_has_at_most_one_message(root, sandbox, path, connect):
    import random

    seed = 4711
    print("seed", seed)
    chance = random.Random(seed)
    keys = [f"order-{number}" for number in range(60)]
    settings = {**sandbox.settings, "timeoutSeconds": 5, "resolveSeconds": 3}
    for _ in range(8):
        process = program(root, settings, path, keys)
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        process.communicate()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        connection = connect()
        ask = lambda key: connection.run(  # noqa: E731
            "send_sms", {"to": "+14155550123", "body": "For " + key}, key=key
        )
        outcomes = {key: pool.submit(ask, key) for key in keys}
    bodies = [sms["body"] for sms in sandbox.messages]
    assert len(set(bodies)) == len(bodies)
    stored = {sms["body"].removeprefix("For "): sms["sid"] for sms in sandbox.messages}
    for key, outcome in outcomes.items():
        if key in stored:
            assert outcome.result()["sid"] == stored[key]
        else:
            assert isinstance(outcome.exception(), errors.OutcomeUnknown)


def test_the_file_is_its_owners_alone_and_holds_no_number_and_no_text(connect, path):
    connect().run("send_sms", INPUTS, key="order-4711")
    for file in path.parent.iterdir():
        content = file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert b"4155550123" not in content
        assert b"is ready" not in content


def test_a_ledger_that_can_not_be_written_lets_nothing_be_sent(connect, sandbox, sent, path):
    connection = connect()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA max_page_count = 1")
    connection.ledger._database.execute("PRAGMA max_page_count = 1")  # as a full disk
    failed = None
    for number in range(200):
        try:
            connection.run("send_sms", INPUTS, key=f"order-{number}-" + 200 * "x")
        except errors.LedgerFailed as error:
            failed = str(error)
            break
    assert "nothing was sent" in failed
    assert "full" in failed
    stored = len(sandbox.messages)
    with pytest.raises(errors.LedgerFailed):
        connection.run("send_sms", INPUTS, key="one-more-" + 200 * "x")
    assert len(sandbox.messages) == stored == len(sent())
    holder.close()


WRONG_FILES = {
    "not a database": b"nonsense" * 1000,
    "a folder": None,
}


@pytest.mark.parametrize("content", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_file_that_is_no_ledger_is_refused_and_stays_as_it_is(
    twilio_folder, sandbox, path, content
):
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(errors.InvalidConfiguration, match=r"sends\.sqlite"):
        twilio_folder.connect(sandbox.settings, ledger=path)
    assert content is None or path.read_bytes() == content


def test_another_database_is_no_ledger(twilio_folder, sandbox, path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(errors.InvalidConfiguration, match="not a ledger"):
        twilio_folder.connect(sandbox.settings, ledger=path)


def test_entries_go_after_the_days_that_they_are_kept(connect, twilio_folder, sandbox, path):
    connect().run("send_sms", INPUTS, key="old")
    connect().run("send_sms", INPUTS, key="new")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE calls SET changed = changed - 31 * 86400 WHERE key = 'old'")
    database.close()
    twilio_folder.connect(sandbox.settings, ledger=path).close()
    assert states(path) == {"new": "done"}
    twilio_folder.connect(sandbox.settings, ledger=path, keep_days=0).close()
    assert states(path) == {}


def test_only_what_writes_takes_a_key_and_only_with_a_ledger(connect, twilio_folder, sandbox):
    with pytest.raises(errors.InvalidInput, match="takes no key"):
        connect().run("get_all_sms", key="order-4711")
    with (
        twilio_folder.connect(sandbox.settings) as plain,
        pytest.raises(errors.InvalidConfiguration, match="needs a ledger"),
    ):
        plain.run("send_sms", INPUTS, key="order-4711")
    assert sandbox.requests == []


def test_a_write_that_nobody_can_look_up_takes_no_key_and_no_since(twilio_folder, sandbox, path):
    blind = twilio_folder.action("send_sms")._replace(find=False)
    connector = Connector(
        twilio_folder.manifest,
        {**twilio_folder.actions, "send_sms": blind},
        twilio_folder._auth,
        twilio_folder._settings,
    )
    with connector.connect(sandbox.settings, ledger=path) as connection:
        for named in ({"key": "order-4711"}, {"since": datetime.now(timezone.utc)}):
            with pytest.raises(errors.InvalidInput, match="nobody can tell what a lost call made"):
                connection.run("send_sms", INPUTS, **named)
    assert sandbox.requests == []


def test_a_key_has_up_to_255_characters(connect, sent):
    connect().run("send_sms", INPUTS, key=255 * "x")
    assert len(sent()) == 1


@pytest.mark.parametrize("key", ["", " ", 7, 256 * "x"], ids=repr)
def test_a_key_is_text(connect, sandbox, key):
    with pytest.raises(errors.InvalidInput, match="'key' must be text"):
        connect().run("send_sms", INPUTS, key=key)
    assert sandbox.requests == []


def test_a_child_process_does_not_use_its_parents_ledger(connect, sandbox, sent):
    connection = connect()
    connection.run("send_sms", INPUTS, key="order-1")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            connection.run("send_sms", INPUTS, key="order-1")
            connection.run("send_sms", INPUTS, key="order-2")
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    connection.run("send_sms", INPUTS, key="order-2")
    assert len(sent()) == 2


def test_a_child_process_that_is_killed_while_it_sends_leaves_a_key_that_is_found(
    connect, sandbox, sent
):
    connection = connect(timeoutSeconds=60)
    sandbox.fail("withhold", method="POST")
    child = os.fork()
    if child == 0:
        try:
            connection.run("send_sms", INPUTS, key="order-1")
        finally:
            os._exit(1)
    while not sandbox.messages:
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    sms = connection.run("send_sms", INPUTS, key="order-1")
    assert sms["sid"] == sandbox.messages[0]["sid"]
    assert len(sent()) == 1


def test_a_key_is_on_the_disk_before_its_request_leaves(path):
    with contextlib.closing(Ledger(path, 30)) as ledger:
        ledger.begin("order-4711", "send_sms", b"same", lambda seconds: False)
        ledger.end("order-4711", "unknown")
        ledger.begin("order-4712", "send_sms", b"same", lambda seconds: False)
        (synchronous,) = ledger._database.execute("PRAGMA synchronous").fetchone()
        assert synchronous == 2  # FULL: a commit survives a power cut
        assert not ledger._database.in_transaction


def test_a_closed_ledger_leaves_no_file_of_its_owner(path):
    ledger = Ledger(path, 30)
    assert list(path.parent.glob("*-owner-*"))
    ledger.close()
    assert not list(path.parent.glob("*-owner-*"))


def test_a_ledger_of_a_later_format_is_refused_by_its_number(path):
    Ledger(path, 30).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(errors.InvalidConfiguration, match="format 7"):
        Ledger(path, 30)


def test_the_connector_of_a_package_takes_keys_too(package, sandbox, path, sent):
    with load(package).connect(sandbox.settings, ledger=path) as connection:
        connection.run("send_sms", INPUTS, key="order-4711")
        connection.run("send_sms", INPUTS, key="order-4711")
    assert len(sent()) == 1


def test_a_key_that_is_sent_again_begins_anew(connect, sandbox, sent, path):
    changes = {"resolveSeconds": 2, "resendAfterSeconds": 120}
    sandbox.fail("reset_before", method="POST")
    with pytest.raises(errors.OutcomeUnknown):
        connect(**changes).run("send_sms", INPUTS, key="order-4711")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE calls SET began = began - 300")
    database.close()
    sandbox.fail("reset_before", method="POST")
    with pytest.raises(errors.OutcomeUnknown):
        connect(**changes).run("send_sms", INPUTS, key="order-4711")
    assert len(sent()) == 2
    with pytest.raises(errors.OutcomeUnknown):  # the second one may still arrive
        connect(**changes).run("send_sms", INPUTS, key="order-4711")
    assert len(sent()) == 2


def test_a_message_belongs_to_one_key(path):
    with contextlib.closing(Ledger(path, 30)) as ledger:
        for key in ("order-4711", "order-4712"):
            ledger.begin(key, "send_sms", b"same", lambda seconds: False)
        assert ledger.end("order-4711", "done", "SM" + 32 * "a")
        assert not ledger.end("order-4712", "done", "SM" + 32 * "a")
        assert [entry.key for entry in ledger.entries()] == ["order-4712"]


def test_a_key_whose_end_could_not_be_written_is_looked_up_by_the_same_process(path):
    with contextlib.closing(Ledger(path, 30)) as ledger:
        ledger.begin("order-4711", "send_sms", b"same", lambda seconds: True)
        before = ledger.begin("order-4711", "send_sms", b"same", lambda seconds: True)
        assert before.state == "begun"
        assert ledger.entry("order-4711").began == before.began


def test_closing_ends_the_waiting_for_another_process(path):
    with (
        contextlib.closing(Ledger(path, 30)) as first,
        contextlib.closing(Ledger(path, 30)) as second,
    ):
        first.begin("order-4711", "send_sms", b"same", lambda seconds: False)
        # Not "nothing was sent": the other process may have sent it.
        with pytest.raises(errors.OutcomeUnknown, match="under way in another process"):
            second.begin("order-4711", "send_sms", b"same", lambda seconds: True)


def test_what_another_process_is_carrying_out_is_not_released(path):
    with (
        contextlib.closing(Ledger(path, 30)) as first,
        contextlib.closing(Ledger(path, 30)) as second,
    ):
        first.begin("order-4711", "send_sms", b"same", lambda seconds: False)
        with pytest.raises(errors.InvalidInput, match="under way in another process"):
            second.release("order-4711")
        first.end("order-4711", "unknown")
        second.release("order-4711")
        assert second.entry("order-4711").state == "free"


def test_the_lock_file_of_a_process_that_is_gone_is_deleted(path):
    left = path.with_name(f"{path.name}-owner-{32 * 'a'}")
    left.touch()
    with contextlib.closing(Ledger(path, 30)):
        assert not left.exists()


def test_a_folder_that_is_not_there_is_named_with_the_reason(tmp_path):
    with pytest.raises(errors.InvalidConfiguration, match="No such file or directory"):
        Ledger(tmp_path / "none" / "sends.sqlite", 30)


def test_a_key_is_not_kept_in_memory_after_its_call(connect):
    connection = connect()
    connection.run("send_sms", INPUTS, key="order-4711")
    assert connection.ledger._busy == connection.ledger._waiting == {}


def test_two_keys_of_one_input_that_lose_their_answers_at_once_each_find_a_message(
    connect, sandbox, sent
):
    connection = connect()
    for _ in range(2):
        sandbox.fail("reset_after", method="POST")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ask = lambda key: connection.run("send_sms", INPUTS, key=key)["sid"]  # noqa: E731
        sids = set(pool.map(ask, ("order-4711", "order-4712")))
    assert len(sids) == len(sent()) == 2
