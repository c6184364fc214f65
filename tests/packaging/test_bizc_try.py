"""`python build.py bizc --try`: an action of the package, run as Bizagi would."""

import json

import pytest

from tests.conftest import ROOT
from tests.packaging.conftest import edit_text, run


@pytest.fixture
def attempt(sandbox, tmp_path, node):
    config = tmp_path / "connector.yaml"
    settings = {**sandbox.settings, "from": "+15005550006"}
    config.write_text(json.dumps({"environments": {"development": settings}}), "utf-8")

    def attempt(*arguments, given="", tree=ROOT):
        return run(tree, "bizc", *arguments, "--config", config, given=given)

    return attempt


def test_action_is_run_and_its_envelope_shown(attempt, sandbox):
    done = attempt("--try", "send_sms", "--input", "-", given='{"to":"+14155550123","body":"Hola"}')
    assert (done.returncode, done.stderr) == (0, "")
    (sent,) = sandbox.messages
    assert json.loads(done.stdout)["response"]["outputs"]["output"]["sid"] == sent["sid"]


def test_failure_is_shown_and_the_exit_status_says_so(attempt, sandbox):
    done = attempt("--try", "get-sms-information", "--input", '{"sid": "x"}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["response"]["outputs"]["error"]["error"] == "INVALID_INPUT"
    assert sandbox.requests == []


def test_check_of_the_environment_is_run(attempt):
    done = attempt("--try", "authenticator")
    assert json.loads(done.stdout)["response"]["outputs"]["output"]["credentials"]


def test_standard_key_passes_the_check(attempt, sandbox, tmp_path):
    document = {"environments": {"development": sandbox.key_settings}}
    (tmp_path / "connector.yaml").write_text(json.dumps(document), "utf-8")
    output = json.loads(attempt("--try", "authenticator").stdout)["response"]["outputs"]["output"]
    assert output["credentials"] == "Twilio accepts them."
    assert output["account"] == "Not known: this API key may not read the account."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("console.log('x');", "a connector wrote to stdout: x"),
        ("process.exit(4);", "the connector ended the host's process"),
    ],
)
def test_what_a_connector_may_not_do_is_told(attempt, tree, line, said):
    handler = tree / "marketplace" / "bizagi" / "actions" / "get-all-sms.js"
    edit_text(handler, "exports.invoke =", f"{line}\nexports.invoke =")
    done = attempt("--try", "get_all_sms", tree=tree)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--input", "{}"), "belong to --try"), (("--try", "x", "--input", "{"), "must be JSON")],
)
def test_wrong_usage_is_told(attempt, arguments, said):
    done = attempt(*arguments)
    assert (done.returncode, said in done.stderr) == (2, True)
