"""The command line: look at a connector, run its actions, check an environment."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from . import check_report, errors, installed, terminal
from .checking import FAILS, LANGUAGES
from .connection import Action, Connection, Connector
from .loading import load

_REFUSED = (errors.CredentialsRefused, errors.Forbidden, errors.NotFound, errors.Refused)
_WRONG = (
    errors.InvalidPackage,
    errors.InvalidConfiguration,
    errors.UnknownAction,
    errors.InvalidInput,
)


DONE_UNSEEN = 6  # the exit status when a write was done and its output could not be shown


def exit_status(error: errors.ConnectorError) -> int:
    """2 wrong input or configuration, 3 refused, 4 may be repeated, 5 outcome unknown, else 1."""
    if isinstance(error, _WRONG):
        return 2
    if isinstance(error, _REFUSED):
        return 3
    if error.retryable:
        return 4
    return 5 if error.outcome == "unknown" else 1


def main() -> None:
    """Run the command line; a ConnectorError ends it with its message and exit status."""
    terminal.prepare()
    try:
        cli(standalone_mode=True)
    except errors.ConnectorError as error:
        terminal.error(str(error))
        sys.exit(exit_status(error))
    except terminal.Unwritable as problem:
        if not isinstance(problem.__cause__, BrokenPipeError):  # a reader may end early
            terminal.error(f"The output can't be written: {problem}.")
        terminal.abandon()
        sys.exit(1)


class Choice(NamedTuple):
    """Which connectors a command line names, and what it asks of their package files."""

    connectors: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    keys: tuple[Path, ...] = ()

    def load(self) -> list[Connector]:
        """Load what is named, or the default. Raise InvalidPackage or InvalidConfiguration."""
        named: list[str | Path] = [*self.connectors] or [installed.default()]
        if self.hashes and len(self.hashes) != len(named):
            raise errors.InvalidConfiguration("--sha256: give one for each connector, in order.")
        hashes = self.hashes or [None] * len(named)
        keys = [_key(path) for path in self.keys] if self.keys else None
        return [
            load(connector, sha256=sha256, trusted_keys=keys)
            for connector, sha256 in zip(named, hashes, strict=True)
        ]

    def load_one(self) -> Connector:
        """Load the only connector that is named, or the default."""
        if len(self.connectors) > 1:
            raise errors.InvalidConfiguration("--connector: give one; this command runs only one.")
        return self.load()[0]


def _key(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise errors.InvalidConfiguration(
            f"--trusted-key: '{path}' can't be read: {why}."
        ) from None


def choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command choose connectors; its first argument is then the Choice.

    On a group and on its commands, the options are taken before a command's name and after it.
    """

    @click.option(
        "--connector",
        "connectors",
        multiple=True,
        metavar="CONNECTOR",
        help="An installed connector's name, or a folder or package file.",
    )
    @click.option(
        "--sha256",
        "hashes",
        multiple=True,
        metavar="HASH",
        help="What its package's SHA-256 must be.",
    )
    @click.option(
        "--trusted-key",
        "keys",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A public key (PEM): one of those given must have signed the package.",
    )
    @functools.wraps(command)
    def chosen(
        context: click.Context,
        connectors: tuple[str, ...],
        hashes: tuple[str, ...],
        keys: tuple[Path, ...],
        **arguments: Any,
    ) -> Any:
        before = context.obj or Choice()
        context.obj = Choice(
            before.connectors + connectors, before.hashes + hashes, before.keys + keys
        )
        return command(context.obj, **arguments)

    return click.pass_context(chosen)


def _log_attempts(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    log = logging.getLogger("connector_runtime")
    if wanted and not log.handlers:
        log.setLevel(logging.INFO)
        log.addHandler(logging.StreamHandler())


def _verbose(command: Any) -> Any:
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_log_attempts,
        help="Show each attempt on standard error.",
    )(command)


class _Group(click.Group):
    """Offers what installed distributions add: the entry points `connector_runtime.commands`.

    So a kit that builds connectors adds to this program, which knows nothing of it.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        from importlib.metadata import entry_points

        added = {point.name for point in entry_points(group="connector_runtime.commands")}
        return sorted({*super().list_commands(context), *added})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own
        from importlib.metadata import entry_points

        for point in entry_points(group="connector_runtime.commands", name=name):
            command: click.Command = point.load()
            return command
        return None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@_verbose
@choosing
def cli(choice: Choice) -> None:
    """Run the actions of a connector.

    Without --connector, it is the one beside this program, or else the only one that is
    installed.

    Exit status: 0 done, 2 wrong input or configuration, 3 refused by the service, 4 not done and
    may be repeated, 5 outcome unknown (look before you repeat it), 6 done, but its output could not
    be shown (do not repeat it), 1 anything else.
    """


@cli.command()
def connectors() -> None:
    """List the connectors that are installed, with the distribution that each comes from."""
    there = installed.names()
    width = max(map(len, there), default=0)
    for name in there:
        try:
            connector = load(name)
            about = f"{connector.version}  {', '.join(connector.actions)}"
        except errors.InvalidPackage as error:
            about = f"can't be loaded: {error}"
        terminal.line(f"{name:<{width}}  {about}  ({installed.offered_by(name)})")
    if not there:
        terminal.error("None is installed. --connector takes a folder or a package file too.")


@cli.command()
@choosing
def actions(choice: Choice) -> None:
    """List the connector's actions."""
    connector = choice.load_one()
    width = max(map(len, connector.actions))
    for action in connector.actions.values():
        terminal.line(f"{action.name:<{width}}  {action.display_name}: {action.description}")


@cli.command()
@click.argument("action")
@choosing
def describe(choice: Choice, action: str) -> None:
    """Show an action's inputs and outputs."""
    described = choice.load_one().action(action)
    terminal.line(f"{described.display_name} ({described.name})\n{described.description}")
    terminal.line(described.documentation)
    terminal.line("\nInputs" + ("" if described.input_schema["properties"] else ": none"))
    for line in _fields(described.input_schema, described.globals):
        terminal.line(line)
    terminal.line("\nOutputs")
    for line in _fields(described.output_schema, ()):
        terminal.line(line)


def _fields(schema: dict[str, Any], from_globals: tuple[str, ...], level: int = 0) -> Iterator[str]:
    """Give the lines that describe an object's fields; `level` 1 is a list's items."""
    indent = "  " + "      " * level
    for name, field in schema["properties"].items():
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        needed = ""
        if from_globals and name in from_globals:
            needed = ", required here or as global parameter"
        elif level == 0 and name in schema.get("required", ()) and "null" not in kinds:
            needed = ", required"
        yield f"{indent}{name} ({' or '.join(kinds)}{needed})"
        yield f"{indent}  {field['description']}"
        if field.get("examples") and field["type"] != "array":
            yield f"{indent}  Example: {json.dumps(field['examples'][0], ensure_ascii=False)}"
        if field["type"] == "array":
            yield from _fields(field["items"], (), level + 1)


def _in_language(command: Any) -> Any:
    return click.option("--lang", "language", type=click.Choice(LANGUAGES), default="en")(command)


def _configured(command: Any) -> Any:
    """Add the two options that choose an environment."""
    command = click.option("--environment", help="Which environment of the file.")(
        _verbose(command)
    )
    return click.option("--config", help="A YAML file with 'environments:'.")(command)


def _connect(
    connector: Connector, config: str | None, environment: str | None, ledger: Path | None = None
) -> Connection:
    if config is None and environment is not None:
        raise errors.InvalidConfiguration("configuration: '--environment' needs '--config FILE'.")
    if config is None:
        return connector.connect({}, ledger=ledger)
    from . import environments  # without a file of settings, YAML is not needed

    return connector.connect(
        environments.of_each(config, environment, [connector.name])[connector.name], ledger=ledger
    )


@cli.command()
@click.argument("action")
@click.option("--input", "source", help="The input as JSON, @FILE, or - for standard input.")
@click.option("--set", "fields", multiple=True, metavar="NAME=VALUE", help="One input field.")
@_configured
@click.option("--format", "form", type=click.Choice(["json", "jsonl", "table"]), default="json")
@click.option("--dry-run", is_flag=True, help="Show the request and send nothing.")
@click.option("--key", help="Names this call: with the same key it is carried out only once.")
@click.option("--ledger", type=click.Path(path_type=Path), help="The file that keeps the keys.")
@choosing
def run(
    choice: Choice,
    action: str,
    source: str | None,
    fields: tuple[str, ...],
    config: str | None,
    environment: str | None,
    form: str,
    dry_run: bool,
    key: str | None,
    ledger: Path | None,
) -> None:
    """Run an action and print its output."""
    connector = choice.load_one()
    chosen = connector.action(action)
    inputs = _inputs(chosen, source, fields)
    with _connect(connector, config, environment, ledger) as connection:
        if dry_run:
            terminal.json_line(connection.preview(action, inputs), indent=2)
        elif chosen.streams:
            _show_list(connector, chosen, connection.stream(action, inputs), form)
        else:
            _run_and_show(connection, chosen, inputs, form, key)


def _show_list(connector: Connector, action: Action, items: Iterator[Any], form: str) -> None:
    items = _counted(items)
    if form == "json":
        terminal.json_line({action.streams: list(items)}, indent=2)
    elif form == "jsonl":
        for item in items:
            terminal.json_line(item)
    else:
        codes: set[Any] = set()
        rows = _noting(items, action.codes, codes)
        terminal.table(rows, action.summary or _columns(action))
        _write_codes(connector, codes)


def _run_and_show(
    connection: Connection, action: Action, inputs: dict[str, Any], form: str, key: str | None
) -> None:
    try:
        output = connection.run(action.name, inputs, key=key)
    except KeyboardInterrupt:
        if action.effect == "read":
            raise
        raise errors.OutcomeUnknown(
            f"Interrupted: {action.name} may have been carried out. Look before you run it again."
        ) from None
    try:
        _show_output(connection.connector, action, output, form)
    except BaseException as error:  # any fault: to run the action again would do it twice
        if action.effect == "read":
            raise
        _say_done(action, output, error)


def _show_output(connector: Connector, action: Action, output: dict[str, Any], form: str) -> None:
    if form == "table":
        rows = ({"field": name, "value": value} for name, value in output.items())
        terminal.table(rows, ("field", "value"))
        _write_codes(connector, {output[name] for name in action.codes})
    else:
        terminal.json_line(output, indent=2 if form == "json" else None)


def _say_done(action: Action, output: dict[str, Any], error: BaseException) -> NoReturn:
    """End the program with what is most important of an output that could not be shown."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    which = f" ('{action.identifier}' {output[action.identifier]})" if action.identifier else ""
    why = str(error) if isinstance(error, terminal.Unwritable) else type(error).__name__
    terminal.error(
        f"{action.name} was carried out{which}, but its output could not be shown: {why}. "
        "Do not repeat it."
    )
    terminal.abandon()
    sys.exit(DONE_UNSEEN)


@cli.command()
@click.argument("action")
@click.option("--since", required=True, help="ISO 8601 with a time zone: 2026-11-24T10:00:00Z.")
@click.option("--input", "source", help="The input as JSON, @FILE, or - for standard input.")
@click.option("--set", "fields", multiple=True, metavar="NAME=VALUE", help="One input field.")
@_configured
@choosing
def find(
    choice: Choice,
    action: str,
    since: str,
    source: str | None,
    fields: tuple[str, ...],
    config: str | None,
    environment: str | None,
) -> None:
    """Look up what a call with this input has made since a moment; nothing is changed.

    'matches' are what it surely made, 'candidates' name all that it may have made.
    """
    connector = choice.load_one()
    inputs = _inputs(connector.action(action), source, fields)
    try:
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", since))
    except ValueError:
        raise errors.InvalidInput(
            "--since: give a moment with its time zone, such as 2026-11-24T10:00:00Z."
        ) from None
    with _connect(connector, config, environment) as connection:
        told = connection.find(action, inputs, since=moment)
    terminal.json_line(told._asdict(), indent=2)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--settle", nargs=2, metavar="KEY ID", help="This is what the call of KEY has made.")
@click.option("--release", metavar="KEY", help="The call of KEY made nothing: let it be tried.")
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table")
@_configured
@choosing
def ledger(
    choice: Choice,
    file: Path,
    settle: tuple[str, str] | None,
    release: str | None,
    form: str,
    config: str | None,
    environment: str | None,
) -> None:
    """List the keys of a ledger whose outcome is not known, and resolve one.

    A key is resolved by itself when its call is run again with it. If you found out in another
    way what the call made, use --settle: it reads that from the service, so it needs --config. If
    the call made nothing, use --release.
    """
    from .ledger import Ledger

    if settle is not None:
        connector = choice.load_one()
        with _connect(connector, config, environment, file) as connection:
            connection.settle(*settle)
        return
    with contextlib.closing(Ledger(file, math.inf)) as book:
        if release is not None:
            book.release(release)
            return
        entries = [
            {
                "key": entry.key,
                "action": entry.action,
                "state": "under way" if book.is_under_way(entry.key) else entry.state,
                "began": datetime.fromtimestamp(entry.began, timezone.utc).isoformat(
                    timespec="seconds"
                ),
                "candidates": list(entry.candidates),
            }
            for entry in book.entries()
        ]
    if form == "jsonl":
        for entry in entries:
            terminal.json_line(entry)
    elif entries:
        rows = ({**entry, "candidates": " ".join(entry["candidates"])} for entry in entries)
        terminal.table(rows, ("key", "action", "state", "began", "candidates"))
    else:
        terminal.line("Every key's outcome is known.")


@cli.command()
@click.option("--to", "recipients", multiple=True, metavar="NUMBER", help="A recipient to check.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
@_in_language
@_configured
@choosing
def check(
    choice: Choice,
    recipients: tuple[str, ...],
    form: str,
    language: str,
    config: str | None,
    environment: str | None,
) -> None:
    """Check the set-up of an environment, step by step; nothing is sent or changed.

    Exit status: 0 nothing fails (the last line says what is not known), 3 something fails.
    """
    with _connect(choice.load_one(), config, environment) as connection:
        findings = connection.check(recipients, language)
    if form == "json":
        terminal.json_line([finding._asdict() for finding in findings], indent=2)
    else:
        for line in check_report.lines(findings, language):
            terminal.line(line)
    if any(finding.verdict == FAILS for finding in findings):
        sys.exit(3)


@cli.command()
@click.argument("code")
@_in_language
@choosing
def explain(choice: Choice, code: str, language: str) -> None:
    """Say what one of the service's codes means, and what to do."""
    connector = choice.load_one()
    described = connector.explain(code, language)
    if described is None:
        raise errors.InvalidInput(f"{connector.name} knows no code '{code[:20]}'.")
    for line in check_report.explanation(described, language):
        terminal.line(line)


def _inputs(action: Action, source: str | None, fields: tuple[str, ...]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    if source is not None:
        try:
            if source == "-":
                source = sys.stdin.read()
            elif source.startswith("@"):
                source = Path(source[1:]).read_text("utf-8")
            inputs = json.loads(source)
        except OSError as error:
            raise errors.InvalidInput(
                f"--input: the file can't be read: {error.strerror}."
            ) from error
        except ValueError:  # not chained: it keeps the text, which may hold a number or a body
            raise errors.InvalidInput(
                "--input: it is not valid JSON; give an object, @FILE or -."
            ) from None
        inputs = {} if inputs is None else inputs
        if not isinstance(inputs, dict):
            raise errors.InvalidInput(f"{action.name} input: it must be an object with fields.")
    properties = action.input_schema["properties"]
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            raise errors.InvalidInput("--set: give it as NAME=VALUE.")
        inputs[name] = value
        if properties.get(name, {}).get("type", "string") != "string":
            try:
                inputs[name] = json.loads(value)
            except ValueError:
                inputs[name] = value  # validation reports a wrong value
    return inputs


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    """Pass the items on, with a count on stderr where somebody is looking."""
    count = 0
    for item in items:
        count += 1
        if count % 1000 == 0 and sys.stderr.isatty():
            click.echo(f"\r{count:,} read", nl=False, err=True)
        yield item
    if sys.stderr.isatty():
        click.echo(f"\r{count:,} read", err=True)


def _noting(
    items: Iterable[dict[str, Any]], names: Iterable[str], seen: set[Any]
) -> Iterator[dict[str, Any]]:
    """Pass the items on, and note the values of these fields."""
    for item in items:
        seen.update(item[name] for name in names)
        yield item


def _write_codes(connector: Connector, codes: Iterable[Any]) -> None:
    """Say below a table what the service's codes in it mean."""
    for code in sorted(str(code) for code in codes if code is not None):
        described = connector.explain(code)
        if described is not None:
            for line in check_report.explanation(described, "en"):
                terminal.line(line)


def _columns(action: Action) -> tuple[str, ...]:
    items = action.output_schema["properties"][action.streams or ""]["items"]
    return tuple(items["properties"])
