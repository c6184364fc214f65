"""The engines' command line: run a BPMN process, look at its cases, serve connectors over HTTP."""

from __future__ import annotations

import datetime
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector_runtime import Connector, settings
from connector_runtime.cli import Choice, choosing, exit_status
from connector_runtime.errors import ConnectorError, InvalidConfiguration, InvalidInput

if TYPE_CHECKING:
    from .proxy import Proxy
    from .spiff import Case, Engine

_STOPPED = {"failed": 1, "waiting": 4, "running": 4, "interrupted": 5}


def main() -> None:
    """Run the command line; an expected fault ends it with its message and exit status."""
    try:
        cli(standalone_mode=True)
    except ImportError as error:
        extra = "proxy" if (error.name or "").startswith("aiohttp") else "spiff"
        click.echo(
            f"'{error.name}' is not installed; it comes with the extra [{extra}] of this package.",
            err=True,
        )
        sys.exit(2)
    except ConnectorError as error:
        click.echo(str(error), err=True)
        code = {"INVALID_PROCESS": 2}.get(error.code)
        sys.exit(code or exit_status(error))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@choosing
def cli(choice: Choice) -> None:
    """Run BPMN processes whose service tasks are connectors' actions, or serve those over HTTP.

    Exit status: 0 every case finished, 1 a case failed, 2 wrong input, configuration or process,
    4 a case still waits, 5 a call was interrupted and may have been carried out.
    """


def _configured(command: Any) -> Any:
    """Add the options that say which connectors there are, and their settings."""
    command = click.option("--environment", help="Which environment of the file.")(command)
    command = click.option("--config", help="A YAML file with 'environments:'.")(command)
    return choosing(command)


def _connectors(choice: Choice) -> dict[str, Connector]:
    loaded = choice.load()
    found = {connector.name: connector for connector in loaded}
    if len(found) < len(loaded):
        names = [connector.name for connector in loaded]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidConfiguration(f"--connector: two of them are named '{twice}'.")
    return found


def _settings(
    connectors: Iterable[str], config: str | None, environment: str | None
) -> dict[str, dict[str, Any]]:
    """Return each connector's settings: under its name in the environment, or all of it."""
    if config is None:
        if environment is not None:
            raise InvalidConfiguration("configuration: '--environment' needs '--config FILE'.")
        return {}
    found = settings.read(config, environment)
    names = list(connectors)
    if any(isinstance(value, dict) or name in names for name, value in found.items()):
        of_each = {name: found.get(name) or {} for name in names}
        for name in names:
            if not isinstance(of_each[name], dict):
                raise InvalidConfiguration(
                    f"configuration file '{config}': '{name}' must be a mapping of its settings."
                )
        return of_each
    if len(names) > 1:
        raise InvalidConfiguration(
            "configuration: with several connectors, the environment must hold one mapping for "
            f"each: {', '.join(names)}."
        )
    return dict.fromkeys(names, found)


def _watch(case: Case, element: str, name: str, what: str) -> None:
    click.echo(f"{case.id[:8]}  {name} ({element}): {what}", err=True)


def _engine(
    choice: Choice,
    config: str | None,
    environment: str | None,
    store: Path | None,
    quiet: bool,
) -> Engine:
    from .spiff import Engine, StoreInUse

    connectors = _connectors(choice)
    try:
        return Engine(
            connectors,
            _settings(connectors, config, environment),
            store=store,
            watch=None if quiet else _watch,
        )
    except StoreInUse as error:
        raise InvalidConfiguration(str(error)) from error


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", help="The case's data as JSON, @FILE, or - for standard input.")
@click.option("--process", help="Which process of the file, where it has several.")
@click.option("--store", type=click.Path(path_type=Path), help="Keep cases in this SQLite file.")
@click.option("--quiet", is_flag=True, help="Do not show the tasks as they happen.")
@_configured
def run(
    choice: Choice,
    file: Path,
    data: str | None,
    process: str | None,
    store: Path | None,
    quiet: bool,
    config: str | None,
    environment: str | None,
) -> None:
    """Run one case of a BPMN file and print its data."""
    with _engine(choice, config, environment, store, quiet) as engine:
        case = engine.start(file, _data(data), process)
        _run(engine, [case])
        click.echo(json.dumps(case.data, indent=2, ensure_ascii=not _unicode()))
        _finish([case])


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text")
def cases(store: Path, form: str) -> None:
    """List the cases of a store, also while another process runs them."""
    from .spiff.store import listing

    for case in listing(store):
        error = json.loads(case["error"]) if case["error"] else None
        if form == "jsonl":
            click.echo(json.dumps({**case, "error": error}))
            continue
        started = datetime.datetime.fromtimestamp(case["started"]).astimezone()
        reason = f"  {error['message']}" if error else ""
        stamp = started.isoformat(sep=" ", timespec="seconds")
        click.echo(f"{case['id']}  {case['status']:<11}  {stamp}  {case['name']}{reason}")


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--retry", multiple=True, metavar="CASE", help="Let this stopped case try again.")
@click.option(
    "--settle",
    nargs=2,
    multiple=True,
    metavar="CASE OUTPUT",
    help="Give the output (JSON) of the call that this case stands still at.",
)
@click.option("--task", help="Which call to --settle or --retry, where a case stands at several.")
@click.option("--quiet", is_flag=True, help="Do not show the tasks as they happen.")
@_configured
def resume(
    choice: Choice,
    store: Path,
    retry: tuple[str, ...],
    settle: tuple[tuple[str, str], ...],
    task: str | None,
    quiet: bool,
    config: str | None,
    environment: str | None,
) -> None:
    """Go on with the unfinished cases of a store.

    A call that was under way when its process ended is made again only if that does no harm;
    otherwise its case stays interrupted until it is named with --retry or --settle.
    """
    from .spiff.store import existing

    if task is not None and len(retry) + len(settle) != 1:
        raise InvalidInput("--task belongs to one --settle or --retry.")
    existing(store)  # a mistyped name must not become a store of its own
    with _engine(choice, config, environment, store, quiet) as engine:
        found = {case.id: case for case in engine.resume()}
        for case_id in retry:
            _named(found, case_id).retry(task)
        for case_id, output in settle:
            _named(found, case_id).settle(_data(output), task)
        _run(engine, found.values())
        _finish(found.values())


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=7004, show_default=True, help="The port; 0 is any free one.")
@click.option("--key-file", type=click.Path(path_type=Path), help="A file with the API key alone.")
@click.option(
    "--stop-seconds",
    type=click.FloatRange(min=0),
    default=25.0,
    show_default=True,
    help="How long running commands may take to end, once it is told to stop.",
)
@_configured
def proxy(
    choice: Choice,
    host: str,
    port: int,
    key_file: Path | None,
    stop_seconds: float,
    config: str | None,
    environment: str | None,
) -> None:
    """Serve the connectors' actions over HTTP, in Spiff Arena's connector-proxy protocol.

    Callers give the API key, if there is one, in the header Spiff-Connector-Proxy-Api-Key. It
    comes from --key-file or the variable CONNECTOR_PROXY_API_KEY. Without one, the proxy listens
    on loopback addresses only.

    SIGTERM and Ctrl-C stop it once the running commands have ended; a second one ends it at once.
    Exit status: 0 stopped, 2 wrong configuration, 5 commands were still under way, and may have
    been carried out.
    """
    from .proxy import Proxy

    connectors = _connectors(choice)
    found = _settings(connectors, config, environment)
    server = Proxy(
        connectors,
        found,
        host=host,
        port=port,
        api_key=_api_key(key_file),
        stop_seconds=stop_seconds,
    )
    # This process is ours, and its log is how an operator learns what became of a send.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        # It raises KeyboardInterrupt: a handler must not take a lock, so it can't set an Event.
        signal.signal(number, signal.default_int_handler)
    try:
        _start(server)
        click.echo(f"{server.url} serves {', '.join(connectors)}")
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # the second time ends it at once
    if not server.stop():
        os._exit(5)  # a usual exit would wait for their threads, however long that takes


def _start(server: Proxy) -> None:
    try:
        server.start()
    except (OSError, OverflowError) as error:
        raise InvalidConfiguration(
            f"configuration: {server.host} port {server.port} can't be listened on: "
            f"{str(error).rstrip('.')}."
        ) from error


def _api_key(file: Path | None) -> str | None:
    """Return the proxy's key; never from the command line, which every user of a machine sees."""
    if file is None:
        return os.environ.get("CONNECTOR_PROXY_API_KEY")
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InvalidConfiguration(f"--key-file: '{file}' can't be read: {reason}.") from None


def _named(found: dict[str, Case], case_id: str) -> Case:
    if case_id not in found:
        raise InvalidInput(f"there is no unfinished case '{case_id}'.")
    return found[case_id]


def _run(engine: Engine, chosen: Iterable[Case]) -> None:
    try:
        engine.run(chosen)
    except KeyboardInterrupt:
        click.echo("Interrupted; what was under way has ended and is kept.", err=True)
        sys.exit(130)


def _finish(chosen: Iterable[Case]) -> None:
    """Say what stopped the cases that stopped, and end with the gravest of their statuses."""
    status = 0
    for case in chosen:
        code = _STOPPED.get(case.status, 0)
        if code:
            reason = f": {case.error['message']}" if case.error else ""
            click.echo(f"{case.id}  {case.status}{reason}", err=True)
        status = max(status, code)
    if status:
        sys.exit(status)


def _data(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        found = json.loads(text)
    except OSError as error:
        raise InvalidInput(f"the data can't be read: {error.strerror}.") from error
    except ValueError:  # not chained: it keeps the text, which may hold a number
        raise InvalidInput("the data is not valid JSON; give an object, @FILE or -.") from None
    if not isinstance(found, dict):
        raise InvalidInput("the data must be a JSON object.")
    return found


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")
