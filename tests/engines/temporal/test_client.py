"""TLS and API keys from Temporal's own environment configuration."""

import asyncio
import ssl
import threading

import pytest
import trustme

from connector_engines.temporal import Cases, connect
from connector_runtime.errors import InvalidConfiguration
from tests.engines.temporal import cluster

NOTIFY = cluster.ROOT / "examples" / "notify_customer.bpmn"
CUSTOMER = {"customer": {"name": "Ana", "phone": "+14155550123"}, "poll_seconds": 0.05}
KEY = "made-up-api-key"


class TlsFront:
    """Accepts TLS connections of clients with a certificate, and forwards them to the server."""

    def __init__(self, context, behind):
        self.context = context
        self.behind = behind
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self):
        self.thread.start()
        made = asyncio.start_server(self.carry, "127.0.0.1", 0, ssl=self.context)
        self.listening = asyncio.run_coroutine_threadsafe(made, self.loop).result(20)
        self.address = f"127.0.0.1:{self.listening.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_):
        async def end():
            self.listening.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def carry(self, reader, writer):
        host, _, port = self.behind.rpartition(":")
        to_server = await asyncio.open_connection(host, int(port))

        async def copy(source, target):
            while piece := await source.read(65536):
                target.write(piece)
                await target.drain()

        ways = {
            asyncio.ensure_future(copy(reader, to_server[1])),
            asyncio.ensure_future(copy(to_server[0], writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, to_server[1]):
                end.transport.abort()


@pytest.fixture
def front(server, tmp_path):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    caller = authority.issue_cert("caller.example")
    caller.private_key_pem.write_to_path(tmp_path / "key.pem")
    for pem in caller.cert_chain_pems:
        pem.write_to_path(tmp_path / "caller.pem", append=True)
    with TlsFront(context, server.address) as running:
        running.variables = {
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(tmp_path / "authority.pem"),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(tmp_path / "caller.pem"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(tmp_path / "key.pem"),
            "TEMPORAL_API_KEY": KEY,
        }
        yield running


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
    "missing", ["TEMPORAL_TLS_SERVER_CA_CERT_PATH", "TEMPORAL_TLS_CLIENT_CERT_PATH"]
)
def test_connection_that_is_not_trusted_is_one_sentence_without_the_key(
    front, monkeypatch, missing
):
    for variable, value in front.variables.items():
        if variable != missing:
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
