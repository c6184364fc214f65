"""Serve connectors over HTTP."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector_engines import startup
from connector_runtime.cli import Choice
from connector_runtime.errors import InvalidConfiguration

from .shared import configured, connectors, settings_of

if TYPE_CHECKING:
    from connector_engines.proxy import Proxy


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=7004, show_default=True, help="The port; 0 is any free one.")
@click.option("--key-file", type=click.Path(path_type=Path), help="A file with the API key alone.")
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    default="connector-proxy.sqlite",
    show_default=True,
    help="The file that knows which keys were sent; it holds no number and no text.",
)
@click.option(
    "--command-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=40.0,
    show_default=True,
    help="How long a caller waits for a command; keep it below what the engine waits.",
)
@click.option(
    "--most-mebibytes",
    type=click.FloatRange(min=0, min_open=True),
    default=16.0,
    show_default=True,
    help="How large a request may be, with the data of an engine's task.",
)
@click.option(
    "--stop-seconds",
    type=click.FloatRange(min=0),
    default=25.0,
    show_default=True,
    help="How long running commands may take to end, once it is told to stop.",
)
@configured
def proxy(
    choice: Choice,
    host: str,
    port: int,
    key_file: Path | None,
    ledger: Path,
    command_seconds: float,
    most_mebibytes: float,
    stop_seconds: float,
    config: str | None,
    environment: str | None,
) -> None:
    """Serve the connectors' actions over HTTP, in Spiff Arena's connector-proxy protocol.

    Callers give the API key, if there is one, in the header Spiff-Connector-Proxy-Api-Key. It
    comes from --key-file or the variable CONNECTOR_PROXY_API_KEY. Without one, the proxy listens
    on loopback addresses only.

    A caller that asks again with the same task (spiff__task_id) or the same header Idempotency-Key
    gets what the first call made: each is sent once, over restarts too, as long as --ledger stays
    the same file.

    SIGTERM and Ctrl-C stop it once the running commands have ended; a second one ends it at once.
    Exit status: 0 stopped, 2 wrong configuration, 5 commands were still under way, and may have
    been carried out.
    """
    from connector_engines.proxy import Proxy

    loaded = connectors(choice)
    settings = settings_of(loaded, config, environment)
    server = Proxy(
        loaded,
        settings,
        ledger=ledger,
        host=host,
        port=port,
        api_key=_api_key(key_file),
        command_seconds=command_seconds,
        most_bytes=int(most_mebibytes * 1024 * 1024),
        stop_seconds=stop_seconds,
    )
    # This program has the process for itself. Its log tells operators how each send ended.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # It must not raise: Python ignores what is raised in a destructor, for example. And it must
        # not set an Event, whose lock the interrupted code may hold.
        signal.signal(number, lambda number, _: told.append(number))
    _start(server)
    click.echo(f"{server.url} serves {', '.join(loaded)}")
    startup.check(loaded, settings)
    # No long sleep: a signal that comes just before it begins, or to another thread, does not
    # end it.
    while not told:
        time.sleep(0.1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # the second time ends it at once
    if not server.stop():
        os._exit(5)  # a normal exit would wait for their threads, however long they take


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
