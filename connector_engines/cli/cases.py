"""Run BPMN cases in this process, and look after those of a store."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector_runtime.cli import Choice
from connector_runtime.errors import InvalidConfiguration, InvalidInput

from .shared import configured, connectors, data_of, settings_of, unicode_shown

if TYPE_CHECKING:
    from connector_engines.embedded import Case, Engine

_STOPPED = {"failed": 1, "waiting": 4, "running": 4, "interrupted": 5}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--data", help="The case's data as JSON, @FILE, or - for standard input.")
@click.option("--process", help="Which process of the file, where it has several.")
@click.option("--store", type=click.Path(path_type=Path), help="Keep cases in this SQLite file.")
@click.option("--quiet", is_flag=True, help="Do not show the tasks as they happen.")
@configured
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
        case = engine.start(file, data_of(data), process)
        _run(engine, [case])
        click.echo(json.dumps(case.data, indent=2, ensure_ascii=not unicode_shown()))
        _finish([case])


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text")
def cases(store: Path, form: str) -> None:
    """List the cases of a store, also while another process runs them."""
    from connector_engines.embedded.store import listing

    for case in listing(store):
        error = json.loads(case["error"]) if case["error"] else None
        if form == "jsonl":
            click.echo(json.dumps({**case, "error": error}))
            continue
        started = datetime.datetime.fromtimestamp(case["started"]).astimezone()
        reason = f"  {error['message']}" if error else ""
        stamp = started.isoformat(sep=" ", timespec="seconds")
        click.echo(f"{case['id']}  {case['status']:<11}  {stamp}  {case['name']}{reason}")


@click.command()
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
@configured
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
    from connector_engines.embedded.store import existing

    if task is not None and len(retry) + len(settle) != 1:
        raise InvalidInput("--task belongs to one --settle or --retry.")
    existing(store)  # a mistyped name must not become a store of its own
    with _engine(choice, config, environment, store, quiet) as engine:
        found = {case.id: case for case in engine.resume()}
        for case_id in retry:
            _named(found, case_id).retry(task)
        for case_id, output in settle:
            _named(found, case_id).settle(data_of(output), task)
        _run(engine, found.values())
        _finish(found.values())


def _watch(case: Case, element: str, name: str, what: str) -> None:
    click.echo(f"{case.id[:8]}  {name} ({element}): {what}", err=True)


def _engine(
    choice: Choice,
    config: str | None,
    environment: str | None,
    store: Path | None,
    quiet: bool,
) -> Engine:
    from connector_engines.embedded import Engine, StoreInUse

    loaded = connectors(choice)
    try:
        return Engine(
            loaded,
            settings_of(loaded, config, environment),
            store=store,
            watch=None if quiet else _watch,
        )
    except StoreInUse as error:
        raise InvalidConfiguration(str(error)) from error


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
