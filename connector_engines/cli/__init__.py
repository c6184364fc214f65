"""The engines' command line: one module for each group of commands."""

from __future__ import annotations

import os
import sys

import click

from connector_runtime.cli import Choice, choosing, exit_status
from connector_runtime.errors import ConnectorError

from . import cases, proxy, temporal

# The package whose absence stops a command, and the extra that brings it.
_EXTRAS = {"aiohttp": "proxy", "SpiffWorkflow": "spiff", "lxml": "spiff", "temporalio": "temporal"}


def main() -> None:
    """Run the command line; an expected fault ends it with its message and exit status."""
    try:
        _main()
    except SystemExit as end:
        if "temporalio" not in sys.modules or not isinstance(end.code, int | None):
            raise
        # The threads of Temporal's SDK may still run while Python is taken down. Then the process
        # crashes, and its exit status is that of the crash (seen in 10 to 40 of 100 runs).
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code or 0)


def _main() -> None:
    try:
        cli(standalone_mode=True)
    except ImportError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
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


COMMANDS = (
    *(cases.run, cases.start, cases.resume, cases.cases, cases.show, cases.tasks, cases.complete),
    *(cases.message, cases.settle, cases.retry, cases.purge),
    *(proxy.proxy, temporal.temporal),
)
for command in COMMANDS:
    cli.add_command(command)
