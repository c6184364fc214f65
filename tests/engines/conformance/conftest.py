import pytest

from twilio_sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox():
    """One sandbox for all tests, so that one worker can run all of them."""
    with Sandbox(step_seconds=0.05) as running:
        yield running
