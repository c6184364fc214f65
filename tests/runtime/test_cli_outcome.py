"""A message that was sent is known to have been sent, whatever happens to the output."""

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

TO = "+14155550123"
SENT = 6  # "sent, and the output could not be shown"
SEND = ("run", "send_sms", "--set", f"to={TO}", "--set")


@pytest.fixture
def command(root, sandbox, tmp_path):
    """The command line as a list, with a configuration of its own, and its environment."""
    config = tmp_path / "connector.yaml"
    config.write_text(
        "environments:\n  test:\n"
        f'    from: "+15005550006"\n    accountId: {sandbox.account_sid}\n'
        f"    authToken: {sandbox.auth_token}\n    apiBaseUrl: {sandbox.url}\n"
    )

    def make(*arguments):
        configured = ["--config", str(config)] if arguments[0] in ("run", "check") else []
        return [sys.executable, "-m", "connector_runtime", *arguments, *configured]

    return make


def call(root, arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    options["env"] = {**os.environ, "COLUMNS": "200", **options.get("env", {})}
    return subprocess.run(arguments, cwd=root, timeout=60, check=False, **options)


def sid_of(sandbox):
    assert len(sandbox.messages) == 1
    return sandbox.messages[0]["sid"]


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("ascii", "json"),
        ("ascii", "jsonl"),
        ("ascii", "table"),
        ("cp1252", "table"),
        ("koi8-r", "json"),
        ("utf-8", "json"),
        ("utf-8", "table"),
    ],
)
def test_no_encoding_of_a_terminal_loses_the_sid(command, root, sandbox, encoding, form):
    arguments = command(*SEND, "body=ñ 👋 Ж", "--format", form)
    done = call(root, arguments, env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    assert sid_of(sandbox).encode() in done.stdout
    if form != "table":
        assert json.loads(done.stdout.decode(encoding))["body"] == "ñ 👋 Ж"


def test_the_c_locale_loses_nothing(command, root, sandbox):
    done = call(
        root,
        command("run", "send_sms", "--input", "-", "--format", "table"),
        input=json.dumps({"to": TO, "body": "ñ 👋"}).encode(),
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert sid_of(sandbox).encode() in done.stdout


@pytest.mark.parametrize("form", ["json", "jsonl", "table"])
def test_a_full_disk_does_not_hide_that_it_was_sent(command, root, sandbox, form):
    with open("/dev/full", "wb") as full:
        done = call(root, command(*SEND, "body=x", "--format", form), stdout=full)
    assert done.returncode == SENT
    assert sid_of(sandbox).encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_reader_that_left_does_not_hide_that_it_was_sent(command, root, sandbox, form):
    reading, writing = os.pipe()
    os.close(reading)
    done = call(root, command(*SEND, "body=x", "--format", form), stdout=writing)
    os.close(writing)
    assert done.returncode == SENT
    assert sid_of(sandbox).encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["json", "table"])
def test_a_closed_standard_output_does_not_hide_that_it_was_sent(command, root, sandbox, form):
    arguments = ["sh", "-c", 'exec "$@" >&-', "sh", *command(*SEND, "body=x", "--format", form)]
    done = call(root, arguments)
    assert done.returncode == SENT
    assert sid_of(sandbox).encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_any_output_the_status_still_says_that_it_was_sent(command, root, sandbox):
    with open("/dev/full", "wb") as full:
        done = call(root, command(*SEND, "body=x"), stdout=full, stderr=full)
    assert (done.returncode, len(sandbox.messages)) == (SENT, 1)
    closed = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command(*SEND, "body=x")]
    assert (call(root, closed).returncode, len(sandbox.messages)) == (SENT, 2)


def asleep(process):
    """Tell whether a process waits, and has for a while."""
    for _ in range(25):
        with open(f"/proc/{process.pid}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] != "S":
                return False
        time.sleep(0.01)
    return True


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_an_interrupt_while_it_prints_does_not_hide_that_it_was_sent(command, root, sandbox):
    reading, writing = os.pipe()
    flags = fcntl.fcntl(writing, fcntl.F_GETFL)
    fcntl.fcntl(writing, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, 4096 * b" ")  # full, so that printing waits
    fcntl.fcntl(writing, fcntl.F_SETFL, flags)
    process = subprocess.Popen(
        command(*SEND, "body=x"), cwd=root, stdout=writing, stderr=subprocess.PIPE,
        # Whoever runs the tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    os.close(writing)
    while not (sandbox.requests and sandbox.requests[-1]["status"] and asleep(process)):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    with os.fdopen(reading, "rb") as left:
        printed = left.read()
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == SENT
    assert sid_of(sandbox).encode() in printed + errors
    assert b"Traceback" not in errors


def test_the_table_of_exit_statuses_has_it(command, root):
    done = call(root, [sys.executable, "-m", "connector_runtime", "--help"])
    statuses = " ".join(done.stdout.decode().split())
    assert re.search(rf"{SENT}\b[^,.;]*(sent|done|carried out)", statuses)
    for status in (0, 1, 2, 3, 4, 5):
        assert re.search(rf"\b{status} [a-z]", statuses)


def test_what_only_reads_may_end_as_anything_else(command, root, sandbox):
    sandbox.seed(50)
    with open("/dev/full", "wb") as full:
        for form in ("json", "jsonl", "table"):
            done = call(root, command("run", "get_all_sms", "--format", form), stdout=full)
            assert done.returncode == 1
            assert b"Traceback" not in done.stderr
            assert done.stderr


# Escape sequences of one and of two characters, a line that overwrites, bell, delete, bidi.
HOSTILE = "a\x1b[2Kb\x9b31mc\rd\x07e\x7ff\u202eg\u2066h\u200fi\u0085j"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]")


def on_a_terminal(root, arguments):
    """What a terminal would be given on both outputs, without the terminal's own line ends."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments, cwd=root, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "250", "NO_COLOR": "1",
             "TERM": "dumb"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    process.wait(60)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("action", "form"),
    [
        ("get_sms_information", "json"),
        ("get_sms_information", "table"),
        ("get_all_sms", "jsonl"),
        ("get_all_sms", "table"),
    ],
)
def test_a_text_from_outside_can_not_write_on_the_terminal(command, root, sandbox, action, form):
    sid = sandbox.add({"body": HOSTILE})["sid"]
    inputs = [] if action == "get_all_sms" else ["--set", f"sid={sid}"]
    shown = on_a_terminal(root, command("run", action, *inputs, "--format", form))
    assert sid in shown
    # A count of what was read is the command's own, and begins its line again.
    assert not RAW.findall(re.sub(r"\r[0-9,]+ read", "", shown))
    if form != "table" or action == "get_sms_information":
        assert "a" in shown
        assert "202e" in shown.lower()


def test_a_table_in_a_file_holds_no_escape_sequence_of_a_text(command, root, sandbox):
    sid = sandbox.add({"body": HOSTILE})["sid"]
    done = call(root, command("run", "get_sms_information", "--set", f"sid={sid}",
                              "--format", "table"))  # fmt: skip
    assert not RAW.findall(done.stdout.decode())
    assert sid in done.stdout.decode()


def test_json_in_a_pipe_keeps_the_text_as_it_is(command, root, sandbox):
    sid = sandbox.add({"body": HOSTILE})["sid"]
    done = call(root, command("run", "get_sms_information", "--set", f"sid={sid}"))
    assert json.loads(done.stdout)["body"] == HOSTILE


@pytest.mark.parametrize("where", ["field", "action", "environment", "input"])
def test_a_name_from_outside_is_shown_harmlessly_in_an_error(command, root, sandbox, where):
    arguments = {
        "field": command(*SEND, "body=x", "--set", f"{HOSTILE}=x"),
        "action": command("run", HOSTILE),
        "environment": [*command("run", "get_all_sms"), "--environment", HOSTILE],
        "input": command("run", "send_sms", "--input", json.dumps({HOSTILE: 1})),
    }[where]
    done = call(root, arguments)
    assert done.returncode == 2
    assert not RAW.findall(done.stderr.decode())
    assert b"Traceback" not in done.stderr


def test_the_name_of_an_account_is_shown_harmlessly(command, root, sandbox):
    sandbox.fail("body", method="GET", times=None, patch={"friendly_name": HOSTILE})
    done = call(root, command("check"))
    assert not RAW.findall(done.stdout.decode() + done.stderr.decode())
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("action", "columns"),
    [
        ("get_sms_information", "20"),
        ("get_all_sms", "20"),
        ("get_all_sms", "80"),
        ("send_sms", "40"),
    ],
)
def test_a_sid_is_never_broken_over_lines(command, root, sandbox, columns, action):
    sandbox.seed(3)
    sid = next(message["sid"] for message in sandbox.messages if message["direction"] != "inbound")
    arguments = {
        "get_sms_information": ["run", action, "--set", f"sid={sid}"],
        "get_all_sms": ["run", action],
        "send_sms": [*SEND, "body=x"],
    }[action]
    done = call(root, command(*arguments, "--format", "table"), env={"COLUMNS": columns})
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode()
    for message in sandbox.messages if action == "get_all_sms" else sandbox.messages[:1]:
        if action == "get_all_sms" and message["direction"] == "inbound":
            continue
        assert (sid if action == "get_sms_information" else message["sid"]) in shown


def test_attempts_are_shown_when_asked_for(command, root, sandbox):
    sandbox.fail("throttle", times=2)
    program = command(*SEND, "body=x")
    quiet = call(root, program)
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    sandbox.fail("throttle", times=2)
    program.insert(3, "-v")
    done = call(root, program)
    assert done.returncode == 0
    assert len(re.findall(rb"send_sms attempt \d: HTTP (?:429|201)", done.stderr)) == 3
    assert TO.encode() not in done.stderr
    assert sandbox.auth_token.encode() not in done.stderr
    assert json.loads(done.stdout)["to"] == TO
