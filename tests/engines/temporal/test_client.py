"""TLS and API keys from Temporal's own environment configuration."""

import asyncio
import subprocess
import sys
import types
from pathlib import Path

import pytest
import trustme

from connector_engines.temporal import Cases, connect
from connector_runtime.errors import InvalidConfiguration
from tests.engines.temporal import cluster

NOTIFY = cluster.ROOT / "examples" / "notify_customer.bpmn"
CUSTOMER = {"customer": {"name": "Ana", "phone": "+14155550123"}, "poll_seconds": 0.05}
FRONT = Path(__file__).with_name("tls_front.py")
KEY = "made-up-api-key"


@pytest.fixture
def front(server, tmp_path):
    """A TLS server in front of Temporal's: its `address`, and the `variables` of its clients."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    own = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    own.write_to_path(tmp_path / "front.pem")
    caller = authority.issue_cert("caller.example")
    caller.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in caller.cert_chain_pems:
        pem.write_to_path(tmp_path / "caller.pem", append=True)
    line = [sys.executable, FRONT, server.address]
    line += [tmp_path / "front.pem", tmp_path / "authority.pem"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        variables = {
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(tmp_path / "authority.pem"),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(tmp_path / "caller.pem"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(tmp_path / "key.pem"),
            "TEMPORAL_API_KEY": KEY,
        }
        address = process.stdout.readline().strip()
        yield types.SimpleNamespace(address=address, variables=variables)
        process.kill()


def test_case_runs_over_tls_with_a_certificate_and_an_api_key(
    front, config, sandbox, name, twilio_folder, monkeypatch, tmp_path
):
    for variable, value in front.variables.items():
        monkeypatch.setenv(variable, value)

    async def run():
        client = await connect(front.address)
        cases = Cases(client, task_queue=name, connectors={"twilio": twilio_folder})
        case = await cases.start(NOTIFY, CUSTOMER, id=name)
        return await case.result()

    with cluster.worker(front.address, config, queue=name, variables=front.variables):
        assert asyncio.run(run())["outcome"] == "delivered"
    assert len(sandbox.messages) == 1
    assert KEY not in (tmp_path / "worker.log").read_text("utf-8")


@pytest.mark.parametrize(
    "missing", ["TEMPORAL_TLS_SERVER_", "TEMPORAL_TLS_CLIENT_", "TEMPORAL_TLS_CLIENT_CERT_"]
)
def test_connection_that_is_not_trusted_is_one_sentence_without_the_key(
    front, monkeypatch, missing
):
    for variable, value in front.variables.items():
        if not variable.startswith(missing):
            monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidConfiguration) as caught:
        asyncio.run(connect(front.address))
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_server_without_tls_is_not_given_the_api_key(server, monkeypatch):
    monkeypatch.setenv("TEMPORAL_API_KEY", KEY)
    with pytest.raises(
        InvalidConfiguration, match="no Temporal server can be reached at"
    ) as caught:
        asyncio.run(connect(server.address))
    assert KEY not in str(caught.value)
