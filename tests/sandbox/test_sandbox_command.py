"""The sandbox from a shell."""

import re
import subprocess
import sys

import pytest
import requests
import yaml

from twilio_sandbox.setup import SCENARIOS

COMMAND = [sys.executable, "-m", "twilio_sandbox"]


def run(*arguments):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, check=False, text=True, timeout=60
    )


@pytest.fixture
def started():
    """A function that starts the command and returns its process and what it announced."""
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        lines = []
        while not lines or "/_sandbox/steps" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert process.poll() is None, lines
        return process, "".join(lines)

    yield start
    for process in running:
        process.terminate()
        assert process.wait(timeout=20) == 0
        process.stdout.close()


def test_it_announces_what_to_export_and_how_to_do_a_step(started):
    _, announced = started("--scenario", "new")
    variables = dict(re.findall(r"(?:export |\$env:)(\w+)='?([^'\n]+)'?$", announced, re.MULTILINE))
    assert {name.removeprefix("TWILIO_") for name in variables} == {
        "ACCOUNT_SID", "AUTH_TOKEN", "FROM", "SANDBOX_URL",
    }  # fmt: skip
    url = variables["TWILIO_SANDBOX_URL"]
    auth = (variables["TWILIO_ACCOUNT_SID"], variables["TWILIO_AUTH_TOKEN"])
    answer = requests.get(f"{url}/2010-04-01/Accounts/{auth[0]}.json", auth=auth, timeout=10)
    assert answer.json()["type"] == "Trial"
    step = re.search(r"curl -X POST (\S+)", announced).group(1)
    assert requests.post(step, timeout=10).json()["numbers"] == {"+15005550006": {}}


@pytest.mark.parametrize("scenario", ["ready", "standard-key", "service"])
def test_it_prints_a_configuration_that_the_connector_takes(twilio_folder, tmp_path, scenario):
    printed = run("--print-config", "--scenario", scenario, "--port", "8123")
    assert (printed.returncode, printed.stderr) == (0, "")
    settings = yaml.safe_load(printed.stdout)["environments"]["sandbox"]
    assert settings["apiBaseUrl"] == "http://127.0.0.1:8123"
    assert settings["from"] == SCENARIOS[scenario].sender
    with twilio_folder.connect(settings) as connection:
        assert connection.preview("get_all_sms")["url"].startswith("http://127.0.0.1:8123/")


def test_it_lists_its_scenarios():
    listed = run("--scenarios")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(SCENARIOS)
    assert "suspended account" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--scenario", "calm"], "'calm' is not one of 'ready', 'new'"),
        (["--print-config", "--port", "0"], "must be a port of its own"),
        (["--account-sid", "AC1"], "must be 'AC' and 32 hex digits"),
    ],
)
def test_wrong_arguments_end_it_with_a_reason(arguments, problem):
    done = run(*arguments)
    assert done.returncode == 2
    assert problem in done.stderr


def test_a_port_that_is_taken_is_named(started):
    _, announced = started()
    port = re.search(r"http://127\.0\.0\.1:(\d+)", announced).group(1)
    done = run("--port", port)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Port {port} is in use; choose another with --port (0: any free one).\n"
