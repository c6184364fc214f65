"""Run BPMN cases in this process, and manage those of a store.

A command that changes a store must be the only one that has it open; otherwise it says so.
"""

from __future__ import annotations

import datetime
import itertools
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
    from connector_engines.embedded.engine import Stored

_STOPPED = {"failed": 1, "unreadable": 1, "waiting": 4, "running": 4, "interrupted": 5}


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
        _finish(case)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--store", required=True, type=click.Path(path_type=Path), help="The SQLite file.")
@click.option("--data", help="The case's data as JSON, @FILE, or - for standard input.")
@click.option("--process", help="Which process of the file, where it has several.")
@configured
def start(
    choice: Choice,
    file: Path,
    store: Path,
    data: str | None,
    process: str | None,
    config: str | None,
    environment: str | None,
) -> None:
    """Start a case without running it, and print its id; 'resume' runs it."""
    with _engine(choice, config, environment, store, quiet=True) as engine:
        click.echo(engine.start(file, data_of(data), process).id)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["text", "jsonl"]), default="text")
@click.option("--status", help="Only cases of this status.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--after", metavar="CASE", help="Only those that began after this one.")
def cases(store: Path, form: str, status: str | None, limit: int | None, after: str | None) -> None:
    """List the cases of a store, the oldest first, also while another process runs them."""
    from connector_engines.embedded.store import listing

    for case in itertools.islice(listing(store, status=status, after=after), limit):
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
@click.argument("case")
def show(store: Path, case: str) -> None:
    """Print all that is known of a case as JSON: its data, its tasks, what stopped it."""
    with _stored(store) as engine:
        details = engine.case(case)
        known = {
            "id": details.id,
            "process": details.process.name,
            "status": details.status,
            "error": details.error,
            "stopped": details.stopped,
            "late": details.late,
            "tasks": details.tasks,
            "waits_for": [
                {"kind": kind, "name": name} for kind, name in sorted(details.rules.waits)
            ],
            "data": details.data,
        }
    click.echo(json.dumps(known, indent=2, ensure_ascii=not unicode_shown()))


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("case", required=False)
def tasks(store: Path, case: str | None) -> None:
    """List the tasks that wait for people, one JSON object a line; of one case or of all."""
    with _stored(store) as engine:
        for opened in [engine.case(case)] if case else engine.resume():
            for task in opened.tasks:
                line = json.dumps({"case": opened.id, **task}, ensure_ascii=not unicode_shown())
                click.echo(line)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("case")
@click.argument("task")
@click.option("--data", help="What was entered, as JSON, @FILE, or - for standard input.")
def complete(store: Path, case: str, task: str, data: str | None) -> None:
    """End a task that waits for somebody: its own id or its element's; 'resume' goes on."""
    with _stored(store) as engine:
        engine.case(case).complete(task, data_of(data))


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--data", help="What the message holds, as JSON, @FILE, or - for standard input.")
@click.option("--correlation", help="Which cases are meant: an object of names and values.")
@click.option("--signal", is_flag=True, help="It is a signal: for all cases that wait for it.")
def message(
    store: Path, name: str, data: str | None, correlation: str | None, signal: bool
) -> None:
    """Give a message to the cases that wait for it, and print their ids; 'resume' goes on.

    Where none waits, a case begins of each process in the store that starts with it. Exit status 4
    where nobody takes it.
    """
    if signal and correlation:
        raise InvalidInput("--correlation: a signal is for all cases that wait for it.")
    with _stored(store) as engine:
        if signal:
            received = engine.signal(name, data_of(data))
        else:
            received = engine.message(name, data_of(data), data_of(correlation))
        for case in received:
            click.echo(case.id)
        if not received:
            click.echo(f"no case waits for '{name}', and no process starts with it.", err=True)
            sys.exit(4)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("case")
@click.argument("output")
@click.option("--task", help="Which call, where the case has stopped at several.")
@configured
def settle(
    choice: Choice,
    store: Path,
    case: str,
    output: str,
    task: str | None,
    config: str | None,
    environment: str | None,
) -> None:
    """Give the output (JSON, @FILE or -) of the call that stopped a case."""
    existing_store(store)
    with _engine(choice, config, environment, store, quiet=True) as engine:
        engine.case(case).settle(data_of(output), task)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("case")
@click.option("--task", help="Which call, where the case has stopped at several.")
def retry(store: Path, case: str, task: str | None) -> None:
    """Let a case try again what stopped it; 'resume' runs it.

    A call that may have been carried out is made once more: look first.
    """
    with _stored(store) as engine:
        engine.case(case).retry(task)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--older-than",
    required=True,
    metavar="DAYS",
    type=click.FloatRange(min=0),
    help="Only cases that finished so many days ago.",
)
def purge(store: Path, older_than: float) -> None:
    """Delete finished cases and what is kept of them, and print how many."""
    with _stored(store) as engine:
        click.echo(engine.purge(older_than * 86400))


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--retry", multiple=True, metavar="CASE", help="Let this stopped case try again.")
@click.option(
    "--settle",
    nargs=2,
    multiple=True,
    metavar="CASE OUTPUT",
    help="Give the output (JSON) of the call that stopped this case.",
)
@click.option("--task", help="Which call to --settle or --retry, where a case stands at several.")
@click.option(
    "--resend-after",
    metavar="SECONDS",
    type=click.FloatRange(min=120),
    help="Send again what was not found so long after it was sent.",
)
@click.option("--quiet", is_flag=True, help="Do not show the tasks as they happen.")
@configured
def resume(
    choice: Choice,
    store: Path,
    retry: tuple[str, ...],
    settle: tuple[tuple[str, str], ...],
    task: str | None,
    resend_after: float | None,
    quiet: bool,
    config: str | None,
    environment: str | None,
) -> None:
    """Go on with the unfinished cases of a store.

    Calls that were under way when their process ended are looked up. Where one is not found, its
    case stays interrupted until you name it with --retry or --settle.
    """
    if task is not None and len(retry) + len(settle) != 1:
        raise InvalidInput("--task belongs to one --settle or --retry.")
    existing_store(store)
    with _engine(choice, config, environment, store, quiet, resend_after) as engine:
        for case_id in retry:
            engine.case(case_id).retry(task)
        for case_id, output in settle:
            engine.case(case_id).settle(data_of(output), task)
        _run(engine, engine.resume())
        _finish_all(engine)


def _watch(case: Case, element: str, name: str, what: str) -> None:
    click.echo(f"{case.id[:8]}  {name} ({element}): {what}", err=True)


def _engine(
    choice: Choice,
    config: str | None,
    environment: str | None,
    store: Path | None,
    quiet: bool,
    resend_after: float | None = None,
) -> Engine:
    from connector_engines.embedded import Engine, StoreInUse

    loaded = connectors(choice)
    try:
        return Engine(
            loaded,
            settings_of(loaded, config, environment),
            store=store,
            watch=None if quiet else _watch,
            resend_after_seconds=resend_after,
        )
    except StoreInUse as error:
        raise InvalidConfiguration(str(error)) from error


def _stored(store: Path) -> Engine:
    """Open a store to look at its cases or to change them, without a connector."""
    from connector_engines.embedded import Engine, StoreInUse

    existing_store(store)
    try:
        return Engine({}, store=store)
    except StoreInUse as error:
        raise InvalidConfiguration(str(error)) from error


def existing_store(store: Path) -> None:
    """Raise InvalidConfiguration for a mistyped name: no new store must be made of it."""
    from connector_engines.embedded.store import existing

    existing(store)


def _run(engine: Engine, chosen: Iterable[Case] | Stored) -> None:
    try:
        engine.run(chosen)
    except KeyboardInterrupt:
        click.echo("Interrupted; what was under way has ended and is kept.", err=True)
        sys.exit(130)


def _finish(case: Case) -> None:
    """Say what stopped a case, and end with the exit status that says so."""
    status = _STOPPED.get(case.status, 0)
    if status:
        reason = f": {case.error['message']}" if case.error else ""
        click.echo(f"{case.id}  {case.status}{reason}", err=True)
        sys.exit(status)


def _finish_all(engine: Engine) -> None:
    """Say what stopped the cases of a store, and end with the gravest of their statuses."""
    assert engine.store is not None
    status, waiting = 0, 0
    for row in engine.store.unfinished():
        status = max(status, _STOPPED.get(row.status, 0))
        if row.status in ("waiting", "running"):
            waiting += 1
            continue
        reason = f": {json.loads(row.error)['message']}" if row.error else ""
        click.echo(f"{row.id}  {row.status}{reason}", err=True)
    if waiting:
        click.echo(f"waiting cases: {waiting}", err=True)
    if status:
        sys.exit(status)
