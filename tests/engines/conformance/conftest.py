import pytest

from twilio_sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox():
    """One for all, so that one worker can serve them all."""
    with Sandbox(step_seconds=0.05) as running:
        yield running
