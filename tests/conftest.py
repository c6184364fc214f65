from __future__ import annotations

from pathlib import Path

import pytest
from twilio_sandbox import Sandbox

from connector_runtime import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session", params=["folder"])
def twilio(request):
    """The connector, from each form it is delivered in."""
    return load(ROOT)


@pytest.fixture
def sandbox():
    with Sandbox() as running:
        yield running


@pytest.fixture
def connection(twilio, sandbox):
    with twilio.connect({**sandbox.settings, "timeoutSeconds": 0.5}) as connected:
        yield connected


@pytest.fixture
def sent(sandbox):
    """The POST requests that the sandbox has received so far."""
    return lambda: [each for each in sandbox.requests if each["method"] == "POST"]
