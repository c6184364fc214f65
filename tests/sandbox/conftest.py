import pytest
from plain_api import Api
from twilio.rest import Client

from twilio_sandbox import Sandbox


@pytest.fixture
def sandbox():
    # A step longer than any test takes: statuses move only when a test advances the clock.
    with Sandbox(step_seconds=60) as running:
        yield running


@pytest.fixture
def api(sandbox):
    opened = Api(sandbox, sandbox.account_sid, sandbox.account_sid, sandbox.auth_token)
    with opened.session:
        yield opened


@pytest.fixture
def testing_api(sandbox):
    account = sandbox.account
    opened = Api(sandbox, account.test_sid, account.test_sid, account.test_auth_token)
    with opened.session:
        yield opened


@pytest.fixture
def library(sandbox):
    client = Client(sandbox.account_sid, sandbox.auth_token)
    client.api.base_url = sandbox.url
    with client.http_client.session:
        yield client
