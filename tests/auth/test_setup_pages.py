"""The pages on the set-up quote the check word for word, and those on codes are up to date."""

import re
import subprocess
import sys

import pytest

from connector_runtime import check_report
from twilio_sandbox import Sandbox

CO, US = "+573001234567", "+14155550123"


@pytest.fixture(scope="module")
def said(twilio_folder):
    """Every line that the check says in the situations of the pages, by language."""
    lines = {"en": set(), "es": set()}

    def check(sandbox, to, **settings):
        with twilio_folder.connect({**sandbox.settings, **settings}) as connection:
            for language, known in lines.items():
                findings = connection.check(to, language)
                known.update(check_report.lines(findings, language))

    with Sandbox(scenario="new") as sandbox:
        check(sandbox, [CO])
        for step in (5, 6, 7):
            sandbox.do_step(step)
            check(sandbox, [CO])
    for scenario in (
        *("suspended", "no-credit", "test-credentials", "standard-key", "restricted-key"),
        *("colombian-number", "service", "empty-service", "alphanumeric", "toll-free"),
        "unregistered",
    ):
        with Sandbox(scenario=scenario) as sandbox:
            check(sandbox, [CO, US])
    with Sandbox() as sandbox:
        check(sandbox, ["+57300"], authToken="wrong")
        check(sandbox, ["+57300"])
    return lines


@pytest.mark.parametrize(("page", "language"), [("setup.md", "en"), ("es/setup.md", "es")])
def test_the_page_quotes_what_the_check_says(root, said, page, language):
    text = (root / "docs" / page).read_text("utf-8")
    quoted = [
        line
        for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(quoted) > 40
    assert [line for line in quoted if line not in said[language]] == []


@pytest.mark.parametrize(("page", "word"), [("setup.md", "Step"), ("es/setup.md", "Paso")])
def test_the_page_walks_through_seven_steps(root, page, word):
    text = (root / "docs" / page).read_text("utf-8")
    assert re.findall(rf"^## {word} (\d):", text, re.MULTILINE) == list("1234567")


def test_the_pages_of_codes_are_what_the_data_says(root):
    command = [sys.executable, root / "docs" / "codes.py", "--check"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stderr) == (0, "")
