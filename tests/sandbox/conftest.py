import pytest
import requests
from twilio.rest import Client

from twilio_sandbox import Sandbox


@pytest.fixture
def sandbox():
    # A step longer than any test takes: statuses move only when a test advances the clock.
    with Sandbox(step_seconds=60) as running:
        yield running


class Api:
    """Plain requests to one account of a sandbox, for the bytes that a library would hide."""

    def __init__(self, sandbox, account_sid, user, password):
        self.url = f"{sandbox.url}/2010-04-01/Accounts/{account_sid}"
        self.origin = sandbox.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.auth = (user, password)

    def get(self, path, **options):
        return self.session.get(self.url + path, timeout=10, **options)

    def post(self, path="/Messages.json", *, timeout=10, **form):
        return self.session.post(self.url + path, data=form, timeout=timeout)

    def send(self, to="+14155550123", sender="+15005550006", body="Hola", **form):
        return self.post(To=to, From=sender, Body=body, **form)

    def follow(self, uri):
        return self.session.get(self.origin + uri, timeout=10)


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
