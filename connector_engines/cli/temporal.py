"""Run BPMN cases on a Temporal cluster, and manage them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector_engines import startup
from connector_runtime.cli import Choice
from connector_runtime.errors import InvalidConfiguration

from .shared import configured, connectors, data_of, settings_of, unicode_shown

if TYPE_CHECKING:
    from temporalio.client import Client

    from connector_engines.temporal import CaseHandle

_KEYS = "CONNECTOR_TEMPORAL_KEYS"


@click.group()
def temporal() -> None:
    """Run BPMN cases on a Temporal cluster: serve a task queue, start cases, manage them.

    The server's address, namespace, TLS and API key come from Temporal's own variables
    (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, …) or its configuration file, where no
    option says otherwise. With --key-file, or keys in CONNECTOR_TEMPORAL_KEYS, all data in
    Temporal's history is encrypted; workers and all commands need the same keys and the same
    --storage.
    """


def _connected(command: Any) -> Any:
    for option in (
        click.option("--storage", metavar="FOLDER", help="Keep large values in this folder."),
        click.option(
            "--key-file",
            type=click.Path(path_type=Path),
            help="Keys in Base64, one a line: the first encrypts, all decrypt.",
        ),
        click.option("--namespace", help="Temporal's namespace."),
        click.option("--address", metavar="HOST:PORT", help="Where Temporal's server is."),
    ):
        command = option(command)
    return command


@temporal.command()
@click.option("--task-queue", required=True, help="Which cases and calls it takes.")
@click.option("--identity", help="Its name in Temporal's histories, in place of process and host.")
@_connected
@configured
def worker(
    choice: Choice,
    task_queue: str,
    identity: str | None,
    config: str | None,
    environment: str | None,
    **server: Any,
) -> None:
    """Serve a task queue: run its cases, make their calls.

    SIGTERM and Ctrl-C stop it once the calls that are under way have ended; a second one ends it at
    once. Calls that it leaves behind are looked up by the worker that takes them over.
    """
    if sys.flags.hash_randomization:  # see Worker: sets must have the same order in all workers
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        line = [sys.executable, "-m", "connector_engines", *sys.argv[1:]]
        os.execve(sys.executable, line, environ)  # noqa: S606 - this same command again
    loaded = connectors(choice)
    settings = settings_of(loaded, config, environment)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")

    async def serve(client: Client) -> None:
        from connector_engines.temporal import Worker

        serving = Worker(
            client,
            task_queue=task_queue,
            connectors=loaded,
            settings=settings,
            identity=identity,
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop_or_end, stop, number)
        async with serving:
            versions = ", ".join(
                f"{name} {connector.version}" for name, connector in loaded.items()
            )
            click.echo(f"task queue '{task_queue}': {versions}")
            startup.check(loaded, settings)
            await stop.wait()

    _run(server, serve)


@temporal.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--id", "case_id", required=True, help="The case's name, which never changes.")
@click.option("--task-queue", required=True, help="Whose workers run it.")
@click.option("--data", help="The case's data as JSON, @FILE, or - for standard input.")
@click.option("--process", help="Which process of the file, where it has several.")
@_connected
@configured
def start(
    choice: Choice,
    file: Path,
    case_id: str,
    task_queue: str,
    data: str | None,
    process: str | None,
    config: str | None,
    environment: str | None,
    **server: Any,
) -> None:
    """Check a BPMN file, or a folder of BPMN and DMN files, and start a case of it.

    With --config, the global parameters that are set there count as given, and no others.
    """
    loaded, given = connectors(choice), data_of(data)
    settings = settings_of(loaded, config, environment) if config is not None else None

    async def begin(client: Client) -> None:
        from connector_engines.temporal import Cases

        cases = Cases(client, task_queue=task_queue, connectors=loaded, settings=settings)
        case = await cases.start(file, given, id=case_id, process=process)
        click.echo(case.id)

    _run(server, begin)


@temporal.command()
@click.argument("case")
@_connected
def show(case: str, **server: Any) -> None:
    """Print all that is known of a case as JSON: its data, its tasks, what stopped it."""

    async def print_it(handle: CaseHandle) -> None:
        click.echo(json.dumps(await handle.show(), indent=2, ensure_ascii=not unicode_shown()))

    _of(case, server, {}, print_it)


@temporal.command()
@click.argument("case")
@click.argument("output")
@click.option("--task", help="Which call, where the case has stopped at several.")
@_connected
@configured
def settle(
    choice: Choice,
    case: str,
    output: str,
    task: str | None,
    config: str | None,
    environment: str | None,
    **server: Any,
) -> None:
    """Give the output (JSON, @FILE or -) of the call that stopped a case."""
    given = data_of(output)
    _of(case, server, connectors(choice), lambda handle: handle.settle(given, task))


@temporal.command()
@click.argument("case")
@click.option("--task", help="Which call, where the case has stopped at several.")
@_connected
def retry(case: str, task: str | None, **server: Any) -> None:
    """Let a case try again what stopped it.

    A call that may have been carried out is made once more: look first.
    """
    _of(case, server, {}, lambda handle: handle.retry(task))


@temporal.command()
@click.argument("case")
@click.argument("task")
@click.option("--data", help="What was entered, as JSON, @FILE, or - for standard input.")
@_connected
def complete(case: str, task: str, data: str | None, **server: Any) -> None:
    """End a task that waits for somebody: its own id or its element's."""
    given = data_of(data)
    _of(case, server, {}, lambda handle: handle.complete(task, given))


@temporal.command()
@click.argument("case")
@click.argument("name")
@click.option("--data", help="What the message holds, as JSON, @FILE, or - for standard input.")
@click.option("--correlation", help="What the case must have: an object of names and values.")
@click.option("--signal", "is_signal", is_flag=True, help="It is a signal, not a message.")
@_connected
def message(
    case: str,
    name: str,
    data: str | None,
    correlation: str | None,
    is_signal: bool,
    **server: Any,
) -> None:
    """Give a message to a case. Exit status 4 where it does not wait for one of this name."""
    payload, meant = data_of(data), data_of(correlation)

    async def give(handle: CaseHandle) -> None:
        if is_signal:
            taken = await handle.signal(name, payload)
        else:
            taken = await handle.message(name, payload, meant)
        if not taken:
            click.echo(f"case '{case}' does not wait for '{name}'.", err=True)
            sys.exit(4)

    _of(case, server, {}, give)


def _of(
    case_id: str,
    server: dict[str, Any],
    loaded: dict[str, Any],
    do: Callable[[CaseHandle], Coroutine[Any, Any, None]],
) -> None:
    async def on(client: Client) -> None:
        from connector_engines.temporal import Cases

        await do(Cases(client, task_queue="", connectors=loaded).case(case_id))

    _run(server, on)


def _run(server: dict[str, Any], do: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    from connector_engines.temporal import Encryption, Folder, connect, converter

    keys = _keys(server["key_file"])
    storage = server["storage"]
    data_converter = converter(
        encryption=Encryption.from_text(keys) if keys else None,
        storage=Folder(storage) if storage else None,
    )

    async def connected() -> None:
        await do(
            await connect(server["address"], server["namespace"], data_converter=data_converter)
        )

    asyncio.run(connected())


def _keys(file: Path | None) -> str | None:
    """Return the keys; never from the command line, which every user of a machine sees."""
    if file is None:
        return os.environ.get(_KEYS)
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InvalidConfiguration(f"--key-file: '{file}' can't be read: {reason}.") from None


def _stop_or_end(stop: asyncio.Event, number: int) -> None:
    if stop.is_set():
        os._exit(128 + number)
    stop.set()
