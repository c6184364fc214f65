import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from connector_build import signing
from tests.conftest import MANIFEST

TO = "+14155550123"


@pytest.fixture
def connector(root, sandbox, tmp_path):
    """Run the command line as a user does: in a process of its own, with a YAML file."""
    config = tmp_path / "connector.yaml"
    config.write_text(
        "environments:\n"
        "  development:\n"
        '    from: "+15005550006"\n'
        f"    accountId: {sandbox.account_sid}\n"
        "    authToken: ${MADE_UP_TOKEN}\n"
        f"    apiBaseUrl: {sandbox.url}\n"
        "    timeoutSeconds: 6\n"
        "    maxAttempts: 2\n"
        "    resolveSeconds: 1\n"
        "  test: {accountId: AC1, authToken: x}\n"
    )

    def run(*arguments, config=config, environment="development", **options):
        configured = ["--config", config, "--environment", environment]
        if arguments[0] not in ("run", "check"):
            configured = []
        return subprocess.run(
            [sys.executable, "-m", "connector_runtime", *arguments, *configured],
            capture_output=True, cwd=root, timeout=60, check=False, encoding="utf-8",
            env={**os.environ, "MADE_UP_TOKEN": sandbox.auth_token, **options.pop("env", {})},
            **options,
        )  # fmt: skip

    run.config = config
    return run


def test_actions_are_listed(connector):
    done = connector("actions")
    assert done.returncode == 0
    assert "get_sms_information  Get SMS information: Looks up" in done.stdout
    assert len(done.stdout.splitlines()) == len(MANIFEST["actions"])


def test_an_action_is_described(connector):
    done = connector("describe", "send_sms")
    assert "from (string, required here or as global parameter)" in done.stdout
    assert "price (number or null)" in done.stdout
    assert "Inputs: none" in connector("describe", "get_all_sms").stdout


def test_send_look_up_and_list(connector, sandbox):
    sent = connector("run", "send_sms", "--set", f"to={TO}", "--set", "body=a=b")
    assert sent.returncode == 0, sent.stderr
    sms = json.loads(sent.stdout)
    assert sms["body"] == "a=b"
    fetched = connector("run", "get_sms_information", "--input", json.dumps({"sid": sms["sid"]}))
    assert json.loads(fetched.stdout) == sms
    listed = connector("run", "get_all_sms")
    assert json.loads(listed.stdout) == {"messages": [sms]}
    lines = connector("run", "get_all_sms", "--format", "jsonl")
    assert [json.loads(line) for line in lines.stdout.splitlines()] == [sms]


def test_input_comes_from_a_file_and_from_standard_input(connector, tmp_path):
    text = json.dumps({"to": TO, "body": "¡Hola! 👋"})
    (tmp_path / "input.json").write_text(text, "utf-8")
    for source, options in ((f"@{tmp_path}/input.json", {}), ("-", {"input": text})):
        done = connector("run", "send_sms", "--input", source, "--format", "jsonl", **options)
        assert json.loads(done.stdout)["body"] == "¡Hola! 👋"


def test_output_survives_a_terminal_that_knows_only_ascii(connector):
    done = connector(
        "run", "send_sms", "--set", f"to={TO}", "--set", "body=ñ",
        env={"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert json.loads(done.stdout)["body"] == "ñ"


def test_tables(connector, sandbox):
    sandbox.add({"body": "[bold]:smile:"})
    listed = connector("run", "get_all_sms", "--format", "table", env={"COLUMNS": "200"})
    assert sandbox.messages[0]["sid"] in listed.stdout
    one = connector("run", "get_sms_information", "--set", f"sid={sandbox.messages[0]['sid']}",
                    "--format", "table", env={"COLUMNS": "200"})  # fmt: skip
    assert "[bold]:smile:" in one.stdout


def test_a_dry_run_shows_the_request_hides_secrets_and_sends_nothing(connector, sandbox):
    done = connector("run", "send_sms", "--set", f"to={TO}", "--set", "body=Hola", "--dry-run")
    shown = json.loads(done.stdout)
    assert shown["method"] == "POST"
    assert shown["url"].endswith(f"/Accounts/{sandbox.account_sid}/Messages.json")
    assert shown["form"] == {"To": TO, "From": "+15005550006", "Body": "Hola"}
    assert shown["headers"]["Authorization"] == "(hidden)"
    assert sandbox.auth_token not in done.stdout
    listed = connector("run", "get_all_sms", "--dry-run")
    assert json.loads(listed.stdout)["url"].endswith("Messages.json?PageSize=1000")
    assert sandbox.requests == []


EXIT_STATUSES = {
    "unknown action": (["run", "send_sm"], 2, "has no action 'send_sm'. Its actions: send_sms"),
    "input no object": (["run", "send_sms", "--input", "[]"], 2, "must be an object"),
    "input no JSON": (["run", "send_sms", "--input", "{hush"], 2, "is not valid JSON"),
    "input file gone": (["run", "send_sms", "--input", "@nothing"], 2, "No such file"),
    "set without =": (["run", "send_sms", "--set", "to"], 2, "NAME=VALUE"),
    "null input": (["run", "send_sms", "--input", "null"], 2, "'to' is required"),
    "wrong option": (["run", "send_sms", "--nonsense"], 2, "No such option"),
    "refused": (["run", "send_sms", "--set", "to=+15005550004", "--set", "body=x"], 3, "21610"),
    "not found": (["run", "get_sms_information", "--set", "sid=SM" + 32 * "0"], 3, "20404"),
}


@pytest.mark.parametrize(
    ("arguments", "status", "expected"), EXIT_STATUSES.values(), ids=EXIT_STATUSES
)
def test_exit_statuses_of_refusals(connector, arguments, status, expected):
    done = connector(*arguments)
    assert done.returncode == status
    assert expected in done.stderr
    assert "hush" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("fault", "options", "status"),
    [
        ("throttle", {}, 4),
        ("withhold", {}, 5),
        ("error", {"status": 500}, 5),
    ],
)
def test_exit_statuses_of_faults_on_a_send(connector, sandbox, fault, options, status):
    sandbox.fail(fault, times=None, **options)
    done = connector("run", "send_sms", "--set", f"to={TO}", "--set", "body=x")
    assert done.returncode == status, done.stderr


def test_an_answer_that_cannot_be_used_is_exit_status_1(connector, sandbox):
    sandbox.fail("html")
    assert connector("run", "get_all_sms").returncode == 1


BAD_CONFIGURATIONS = {
    "environment not there": ({"environment": "staging"}, "It has: development, test"),
    "account wrong": ({"environment": "test"}, "'accountId' must be an Account SID"),
    "file gone": ({"config": "nothing.yaml"}, "No such file"),
}


@pytest.mark.parametrize(("options", "expected"), BAD_CONFIGURATIONS.values(),
                         ids=BAD_CONFIGURATIONS)  # fmt: skip
def test_a_wrong_configuration_is_exit_status_2(connector, sandbox, options, expected):
    done = connector("run", "get_all_sms", **options)
    assert done.returncode == 2
    assert expected in done.stderr
    assert sandbox.requests == []


def test_a_variable_that_is_not_set_is_named(connector):
    connector.config.write_text(connector.config.read_text().replace("MADE_UP", "NOT_SET"))
    done = connector("run", "get_all_sms")
    assert (done.returncode, "'NOT_SET_TOKEN' is not set" in done.stderr) == (2, True)


def test_a_sender_without_quotes_in_yaml_is_explained(connector):
    connector.config.write_text(connector.config.read_text().replace('"', ""))
    done = connector("run", "get_all_sms")
    assert (done.returncode, "'from' must be text: put it in quotes" in done.stderr) == (2, True)


def test_without_a_file_the_settings_that_are_missing_are_named(root):
    command = [sys.executable, "-m", "connector_runtime", "run", "get_all_sms"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, "'accountId' is required" in done.stderr) == (2, True)
    command += ["--environment", "test"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, "needs '--config FILE'" in done.stderr) == (2, True)


def test_another_connector_is_named_by_its_path(root, tmp_path):
    command = [sys.executable, "-m", "connector_runtime", "--connector", tmp_path, "actions"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, "connector.json: it can't be read" in done.stderr) == (2, True)


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_connector_is_named_before_the_command_and_after_it(root, package, tmp_path, place):
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    program = [sys.executable, "-m", "connector_runtime"]

    def actions(*options):
        command = [*options, "actions"] if place == "before" else ["actions", *options]
        return subprocess.run(
            list(map(str, [*program, *command])),
            cwd=root, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert actions("--connector", "twilio").stdout.startswith("send_sms")
    assert actions("--connector", package, "--sha256", digest).stdout.startswith("send_sms")
    wrong = actions("--connector", package, "--sha256", 64 * "0")
    assert (wrong.returncode, "its SHA-256 is not the one" in wrong.stderr) == (2, True)
    public = signing.make_keys(tmp_path / "key")
    unsigned = actions("--connector", package, "--trusted-key", public)
    assert (unsigned.returncode, "it is not signed" in unsigned.stderr) == (2, True)
    unread = actions("--connector", package, "--trusted-key", tmp_path / "none")
    assert (unread.returncode, "--trusted-key" in unread.stderr) == (2, True)
    two = actions("--connector", package, "--connector", "twilio")
    assert (two.returncode, "give one" in two.stderr) == (2, True)
    count = actions("--connector", package, "--sha256", digest, "--sha256", digest)
    assert (count.returncode, "--sha256: give one for each" in count.stderr) == (2, True)


def test_installed_connectors_are_listed_with_where_they_come_from(connector):
    done = connector("connectors")
    actions = ", ".join(action["name"] for action in MANIFEST["actions"])
    assert done.stdout.startswith(f"twilio  {MANIFEST['version']}  {actions}  (twil")


def test_check_names_the_account_and_the_sender(connector):
    done = connector("check", "--to", TO)
    assert done.returncode == 0, done.stderr
    assert "ok    4  Credentials: Live credentials: Twilio accepts" in done.stdout
    assert "ok    5  Sender: A number of this account, from the US." in done.stdout
    assert "ok    6  Recipient 1: A valid number (US)." in done.stdout
    assert done.stdout.endswith("\n\nEverything is right.\n")


def test_check_fails_with_wrong_credentials(connector):
    done = connector("check", env={"MADE_UP_TOKEN": "wrong"})
    assert done.returncode == 3
    assert "FAIL  4  Credentials: Twilio refuses 'accountId' with 'authToken'." in done.stdout
    assert "         Copy both again from Live credentials" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Failing: 1 of 8. ")


def test_check_passes_with_a_note_where_something_is_only_not_known(connector, sandbox):
    sandbox.set_up(owner="AC" + 32 * "9", balance=None)
    done = connector("check")
    assert done.returncode == 0
    assert "?     -  Balance: Not known: a subaccount uses its owner's balance." in done.stdout
    assert done.stdout.endswith("\n\nNothing fails. Not known: 1 of 8.\n")


def test_check_gives_data_for_programs(connector, sandbox):
    sandbox.set_up(countries=["US"])
    done = connector("check", "--to", "+573001234567", "--format", "json")
    findings = json.loads(done.stdout)
    assert done.returncode == 3
    assert all(
        set(finding) == {"id", "step", "title", "verdict", "detail", "remedy"}
        for finding in findings
    )
    (failing,) = [finding for finding in findings if finding["verdict"] == "fails"]
    assert (failing["id"], failing["step"]) == ("country.1", 6)
    assert "Geo Permissions" in failing["remedy"]


def test_check_speaks_spanish(connector, sandbox):
    sandbox.set_up(countries=["US"])
    done = connector("check", "--lang", "es", "--to", "+573001234567")
    assert done.returncode == 3
    assert "FALLA  6  País del destinatario 1: Los SMS a CO no están habilitados" in done.stdout
    assert "bien   1  Cuenta: La cuenta está activa" in done.stdout
    assert done.stdout.endswith("\n\nFallan: 1 de 11. No se puede saber: 0.\n")


def test_check_that_reaches_nobody_may_be_repeated(connector, sandbox, unused_url, tmp_path):
    text = (tmp_path / "connector.yaml").read_text("utf-8")
    config = tmp_path / "nobody.yaml"
    config.write_text(text.replace(sandbox.url, unused_url), "utf-8")
    done = connector("check", config=config)
    assert (done.returncode, done.stdout) == (4, "")
    assert "could not be reached" in done.stderr


def test_a_code_is_explained(connector):
    done = connector("explain", "21408")
    assert done.returncode == 0
    assert done.stdout == (
        "21408: the recipient's country is not enabled.\n"
        "  Enable it in the Twilio console under Messaging > Settings > Geo Permissions, and "
        "save.\n"
        "  Step 6 of the set-up.\n"
    )
    spanish = connector("explain", "30003", "--lang", "es").stdout
    assert spanish.startswith("30003: no se pudo contactar el teléfono del destinatario.\n  Está")
    assert "Paso" not in spanish
    unknown = connector("explain", "99999")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "twilio knows no code '99999'.\n"


def test_tables_explain_the_codes_in_them(connector, sandbox):
    sandbox.add({"status": "undelivered", "error_code": 30003})
    sandbox.add({"status": "undelivered", "error_code": 30007})
    sandbox.add({"status": "undelivered", "error_code": 39999})
    sid = sandbox.add({"status": "undelivered", "error_code": 30003})["sid"]
    listed = connector("run", "get_all_sms", "--format", "table").stdout
    below = listed.rpartition("┘")[2].strip().splitlines()
    assert [line for line in below if not line.startswith("  ")] == [
        "30003: the recipient's phone could not be reached.",
        "30007: the message was filtered as spam.",
    ]
    one = connector("run", "get_sms_information", "--set", f"sid={sid}", "--format", "table").stdout
    assert one.rpartition("┘")[2].strip().startswith("30003: the recipient's phone could not be")
    sms = connector("run", "get_sms_information", "--set", f"sid={sid}").stdout
    assert json.loads(sms)["error_code"] == "30003"


def test_progress_is_shown_on_a_terminal_only(connector, sandbox, root):
    sandbox.seed(1200)
    pty = pytest.importorskip("pty")  # Windows has none
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "connector_runtime", "run", "get_all_sms", "--format", "jsonl",
         "--config", connector.config, "--environment", "development"],
        stdout=subprocess.PIPE, stderr=theirs, cwd=root,
        env={**os.environ, "MADE_UP_TOKEN": sandbox.auth_token},
    )  # fmt: skip
    os.close(theirs)
    lines = process.communicate(timeout=60)[0].splitlines()
    with os.fdopen(ours, "rb") as terminal:
        assert f"{len(lines):,} read".encode() in terminal.read1(10_000)
    assert connector("run", "get_all_sms", "--format", "jsonl").stderr == ""


def test_an_interrupted_send_says_that_it_may_have_been_sent(connector, sandbox, root, sent):
    sandbox.fail("withhold")
    patient = connector.config.read_text().replace("timeoutSeconds: 6", "timeoutSeconds: 60")
    connector.config.write_text(patient)
    process = subprocess.Popen(
        [sys.executable, "-m", "connector_runtime", "run", "send_sms", "--set", f"to={TO}",
         "--set", "body=x", "--config", connector.config, "--environment", "development"],
        stderr=subprocess.PIPE, cwd=root, text=True,
        env={**os.environ, "MADE_UP_TOKEN": sandbox.auth_token},
        # Whoever runs the tests in the background may have it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    while not sent():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert "send_sms may have been carried out" in process.communicate(timeout=60)[1]
    assert process.returncode == 5
