from __future__ import annotations

from pathlib import Path

import pytest

from connector_build import package as packages
from connector_runtime import load
from twilio_sandbox import Sandbox

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "twilio-1.0.0.zip"
    packages.write(path, packages.contents(ROOT))
    return path


@pytest.fixture(scope="session", params=["folder", "package"])
def twilio(request):
    """The connector, from each form it is delivered in."""
    return load(ROOT if request.param == "folder" else request.getfixturevalue("package"))


@pytest.fixture(scope="session")
def twilio_folder():
    return load(ROOT)


@pytest.fixture
def sandbox():
    # A step longer than any test takes: statuses move only when a test advances the clock.
    with Sandbox(step_seconds=60) as running:
        yield running


@pytest.fixture
def connection(twilio, sandbox):
    with twilio.connect({**sandbox.settings, "timeoutSeconds": 0.5}) as connected:
        yield connected


@pytest.fixture
def sent(sandbox):
    """The POST requests that the sandbox has received so far."""
    return lambda: [each for each in sandbox.requests if each["method"] == "POST"]
