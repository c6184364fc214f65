"""A long test with many cases on a cluster, whose workers and server are killed; for `make soak`.

`python -m tests.engines.temporal.endurance --help`
"""

import argparse
import asyncio
import collections
import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

from temporalio.service import RPCError

from connector_engines.temporal import Cases, Folder, connect, converter
from connector_runtime import load
from connector_runtime.errors import InvalidConfiguration
from tests.engines.drawing import document, flows, pause, script, service
from tests.engines.temporal import cluster
from twilio_sandbox import Sandbox

NOTIFY = cluster.ROOT / "examples" / "notify_customer.bpmn"
REPORT = cluster.ROOT / "examples" / "monthly_report.bpmn"
# Temporal's server rounds each timer up to a second, so only every hundredth round waits.
POLL = (
    script("first", "n = 0"),
    pause("wait", '"PT0.1S"'),
    service("look", "twilio/get_sms_information", "sms", sid="sid"),
    script("count", "n = n + 1"),
    '<bpmn:exclusiveGateway id="way" default="flow_way_end" />',
    '<bpmn:sequenceFlow id="back" sourceRef="way" targetRef="wait"><bpmn:conditionExpression'
    ' xsi:type="bpmn:tFormalExpression">n &lt; rounds and n % 100 == 0</bpmn:conditionExpression>'
    "</bpmn:sequenceFlow>",
    '<bpmn:sequenceFlow id="at_once" sourceRef="way" targetRef="look"><bpmn:conditionExpression'
    ' xsi:type="bpmn:tFormalExpression">n &lt; rounds and n % 100 != 0</bpmn:conditionExpression>'
    "</bpmn:sequenceFlow>",
    flows("start>first>wait>look>count>way>end"),
)


def data(number):
    phone = f"+141555501{number % 100:02}"
    return {"customer": {"name": f"Case {number}", "phone": phone}, "poll_seconds": 0.2}


class Workers:
    """Two workers. A new worker replaces one that is killed."""

    def __init__(self, address, config):
        self.address, self.config = address, config
        self.processes = []
        self.count = 0

    def start(self):
        self.count += 1
        line = cluster.command(
            *("worker", "--task-queue", cluster.QUEUE, "--config", self.config),
            *("--identity", f"worker {self.count}"),
            address=self.address,
        )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(line, cwd=cluster.ROOT, env=cluster.environ(), **quiet)
        self.processes.append(process)

    def kill(self, chance):
        process = self.processes.pop(chance.randrange(len(self.processes)))
        process.kill()
        process.wait()

    def revive(self):
        """A worker that found no server has ended by itself."""
        self.processes = [process for process in self.processes if process.poll() is None]
        while len(self.processes) < 2:
            self.start()

    async def keep(self):
        """Restart the workers that have ended, as a supervisor does.

        A worker that started while the server was down ends by itself.
        """
        while True:
            self.revive()
            await asyncio.sleep(1)


async def kill_all_along(folder, count, kills, server_kills, seed, resend_after=None):
    """Run cases while workers and the server are killed; return how many sent their message.

    Without `resend_after`, a case whose call was killed before the send reports that at its end.

    Raise AssertionError unless every text was stored at most once and is known to its case, every
    case finished without a person's help, and every history replays.
    """
    chance = random.Random(seed)
    with Sandbox(step_seconds=0.1) as sandbox:
        sandbox.fail("slow", method="POST", times=None, seconds=0.3)
        # A call that was killed before the send is sent after this time, so no person is needed.
        more = {"resendAfterSeconds": resend_after} if resend_after else {"resolveSeconds": 5}
        config = cluster.configuration(folder, {**sandbox.settings, **more})
        server = cluster.Server(file=Path(folder) / "temporal.sqlite")
        await asyncio.to_thread(server.start)
        workers = Workers(server.address, config)
        try:
            workers.revive()
            client = await connect(server.address)
            cases = Cases(
                client, task_queue=cluster.QUEUE, connectors={"twilio": load(cluster.ROOT)}
            )
            moments = ["worker"] * kills + ["server"] * server_kills
            chance.shuffle(moments)
            started = []
            for number, what in enumerate(moments):
                # Start some of the cases each time, so that every kill interrupts some.
                for case in range(len(started), count * (number + 1) // len(moments)):
                    started.append(await cases.start(NOTIFY, data(case), id=f"case-{case}"))
                # The time of the kill must be random
                await asyncio.sleep(chance.uniform(0, 1.5))
                if what == "server":
                    server.kill()
                    await asyncio.to_thread(server.start)
                else:
                    workers.kill(chance)
                workers.revive()
            reviving = asyncio.create_task(workers.keep())
            ended = [await finished(case) for case in started]
            reviving.cancel()
            for case in started:
                history = await case.workflow.fetch_history()
                await cluster.replay(history)
        finally:
            for process in workers.processes:
                process.kill()
                process.wait()
            server.kill()
        bodies = collections.Counter(message["body"] for message in sandbox.messages)
        for number, result in enumerate(ended):
            if result["outcome"] != "delivered":
                print(f"case-{number}: {json.dumps(result)}", flush=True)
        outcomes = collections.Counter(result["outcome"] for result in ended)
        assert max(bodies.values()) == 1, "a message was sent twice"
        assert outcomes["delivered"] == len(bodies), (outcomes, len(bodies))
        assert outcomes["delivered"] + outcomes["may have been sent"] == count, outcomes
        return outcomes["delivered"]


async def finished(case):
    """Wait until a case is finished, while the server is killed and started again."""
    while True:
        try:
            return await case.result()
        except (RPCError, InvalidConfiguration):
            # The server is just starting
            await asyncio.sleep(1)


async def poll(folder, rounds):
    """Run one case with `rounds` of timer, call and gateway; return the seconds and the runs."""
    path = Path(folder) / "poll.bpmn"
    path.write_text(document(*POLL), "utf-8")
    with Sandbox() as sandbox:
        message = sandbox.add({"body": "Hola", "to": "+14155550123"})
        given = {"rounds": rounds, "sid": message["sid"]}
        data, seconds, runs = await one_case(folder, sandbox, path, given)
    assert data["n"] == rounds
    return seconds, runs


async def report(folder, count):
    """Run the report of an account with so many messages, with a storage folder.

    Return the seconds.
    """
    with Sandbox() as sandbox:
        sandbox.seed(count)
        data, seconds, _ = await one_case(folder, sandbox, REPORT, {}, storage=f"{folder}/storage")
        sent = [message for message in sandbox.messages if message["direction"] != "inbound"]
    assert data["report"]["messages"] == len(sent)
    return seconds


async def one_case(folder, sandbox, path, given, storage=None):
    """Run a case on its own server and worker. Return its data, the seconds and the runs."""
    config = cluster.configuration(folder, sandbox.settings)
    more = ("--storage", storage) if storage else ()
    server = cluster.Server()
    await asyncio.to_thread(server.start)
    try:
        with cluster.worker(server.address, config, *more):
            driver = converter(storage=Folder(storage)) if storage else None
            client = await connect(server.address, data_converter=driver)
            twilio = {"twilio": load(cluster.ROOT)}
            cases = Cases(client, task_queue=cluster.QUEUE, connectors=twilio)
            started = time.perf_counter()
            case = await cases.start(path, given, id="one")
            data = await case.result()
            seconds = time.perf_counter() - started
            runs = await client.count_workflows("WorkflowId = 'one'")
            return data, seconds, runs.count
    finally:
        server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--server-kills", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    chosen = parser.parse_args()
    counts = f"{chosen.cases} cases, {chosen.kills} + {chosen.server_kills} kills"
    print(f"{counts}, seed {chosen.seed}", flush=True)
    if chosen.cases:
        with tempfile.TemporaryDirectory() as folder:
            counts = (chosen.cases, chosen.kills, chosen.server_kills)
            sent = asyncio.run(kill_all_along(folder, *counts, chosen.seed, resend_after=120))
        assert sent == chosen.cases
        print("every message exactly once, every history replays", flush=True)
    if chosen.messages:
        with tempfile.TemporaryDirectory() as folder:
            seconds = asyncio.run(report(folder, chosen.messages))
        print(f"a report of {chosen.messages} messages in {seconds:.0f} s", flush=True)
    if chosen.rounds:
        with tempfile.TemporaryDirectory() as folder:
            seconds, runs = asyncio.run(poll(folder, chosen.rounds))
        print(f"{chosen.rounds} rounds in {seconds:.0f} s and {runs} histories")


if __name__ == "__main__":
    main()
