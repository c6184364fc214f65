import pytest

from connector_runtime import errors
from connector_runtime.hosts import origins

DECLARED = {"api": "https://api.example.com", "files": "https://files.example.com"}


@pytest.mark.parametrize(
    ("base", "files"),
    [
        ("https://api.example.com", "https://files.example.com"),
        ("https://API.Example.com/", "https://files.example.com"),
        ("https://api.example.com:443", "https://files.example.com"),
        ("https://api.ie1.example.com", "https://files.ie1.example.com"),
        ("https://api.dublin.ie1.example.com", "https://files.dublin.ie1.example.com"),
        ("http://127.0.0.1:8010", "http://127.0.0.1:8010"),
        ("http://127.0.0.1:8010/", "http://127.0.0.1:8010"),
        ("https://relay.example.org", "https://relay.example.org"),
        ("https://api.example.com.evil.example", "https://api.example.com.evil.example"),
        ("https://api.badexample.com", "https://api.badexample.com"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
        ("https://other.example.com", "https://other.example.com"),
    ],
)
def test_hosts_follow_the_first_ones_edge_and_region_and_else_the_base_url(base, files):
    assert origins(DECLARED, base)["files"] == files


def test_a_connector_that_declares_no_host_has_none():
    assert origins({}, "https://api.example.com") == {}


def test_a_host_that_is_not_declared_is_refused_and_nothing_is_sent(twilio, sandbox):
    with twilio.connect(sandbox.settings) as connection:
        call = connection._call(None)
        assert call.get(f"/2010-04-01/Accounts/{sandbox.account_sid}.json", host="api")
        with pytest.raises(errors.InvalidPackage, match=r"'files', which its manifest does not"):
            call.get("/v1/Files", host="files")
        with pytest.raises(errors.InvalidAnswer, match="points to another server"):
            call.get("https://files.example.com/v1/Files", host="voice")
    assert len(sandbox.requests) == 1
