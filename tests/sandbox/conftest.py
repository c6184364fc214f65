import pytest

from twilio_sandbox import Sandbox


@pytest.fixture
def sandbox():
    # A step longer than any test takes: statuses move only when a test advances the clock.
    with Sandbox(step_seconds=60) as running:
        yield running
