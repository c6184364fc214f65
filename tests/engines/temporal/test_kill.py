"""A worker is killed in the middle of a send, and another worker finds the message."""

import asyncio
import os

from tests.engines.temporal import cluster
from tests.engines.temporal.endurance import kill_all_along

CUSTOMER = {"customer": {"name": "Clinic 24", "phone": "+14155550123"}, "poll_seconds": 0.05}


def test_worker_killed_in_the_middle_of_a_send_leads_to_adoption(
    server, config, sandbox, root, on_cluster, name
):
    sandbox.fail("slow", method="POST", times=1, seconds=60)

    async def run(cases):
        with cluster.worker(server.address, config, queue=name) as first:
            notify = root / "examples" / "notify_customer.bpmn"
            case = await cases.start(notify, CUSTOMER, id=name)
            await cluster.until(lambda: sandbox.messages)
            first.kill()
        with cluster.worker(server.address, config, identity="second", queue=name):
            return await case.result()

    data = on_cluster(run, queue=name)
    assert data["outcome"] == "delivered"
    assert [data["sms"]["sid"]] == [message["sid"] for message in sandbox.messages]


def test_kills_of_workers_and_of_the_server_send_no_text_twice(program, tmp_path):
    """A short form of what `make soak` does with 200 cases. Every history is replayed, too."""
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    asyncio.run(kill_all_along(tmp_path, 6, kills=3, server_kills=1, seed=seed))
