"""The lines about the set-up in a server's log when it starts."""

import logging

import pytest

from connector_build import package as packages
from connector_engines import startup
from connector_runtime import load
from tests.conftest import ROOT
from twilio_sandbox import Sandbox


@pytest.fixture
def logged(caplog, twilio_folder):
    def check(settings):
        caplog.set_level(logging.INFO, logger="connector_engines")
        startup.check({"twilio": twilio_folder}, {"twilio": settings}).join(timeout=30)
        return [
            (record.levelname, record.getMessage())
            for record in caplog.records
            if record.name == "connector_engines"
        ]

    return check


def test_a_set_up_that_holds_is_one_line(logged, sandbox):
    assert logged(sandbox.settings) == [("INFO", "twilio set-up: 0 of 8 checks fail")]


def test_what_fails_is_a_warning_with_what_to_do_and_without_the_number(logged):
    with Sandbox(scenario="new") as sandbox:
        (warning, *rest) = logged(sandbox.settings)
        assert warning[0] == "WARNING"
        assert warning[1].startswith("twilio set-up: Sender: Not a number of this account. Set ")
        assert [level for level, _ in rest] == ["INFO", "INFO"]
        assert "500555" not in str([warning, *rest])
        assert {request["method"] for request in sandbox.requests} == {"GET"}


def test_a_service_that_can_not_be_reached_is_a_warning(logged, sandbox, unused_url):
    settings = {**sandbox.settings, "apiBaseUrl": unused_url, "maxAttempts": 1}
    ((level, text),) = logged(settings)
    assert level == "WARNING"
    assert text.startswith("twilio set-up: it can't be checked: Twilio could not be reached")


def test_settings_that_are_wrong_are_a_warning(logged):
    ((level, text),) = logged({"accountId": "x"})
    assert (level, "can't be checked: configuration: 'accountId'" in text) == ("WARNING", True)


def test_an_unexpected_fault_is_logged_with_its_place_and_without_its_text(
    sandbox, tmp_path, caplog
):
    for name, content in packages.contents(ROOT).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with open(tmp_path / "auth/__init__.py", "a") as file:
        file.write("\n\ndef check(inquiry):\n    raise RuntimeError(inquiry.globals['from'])\n")
    startup.check({"twilio": load(tmp_path)}, {"twilio": sandbox.settings}).join(timeout=30)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("twilio set-up: unexpected fault\n")
    assert "in check" in record.getMessage()
    assert sandbox.settings["from"] not in caplog.text
