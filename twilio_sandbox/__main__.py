"""Start the sandbox from a shell: `python -m twilio_sandbox`."""

from __future__ import annotations

import errno
import re
import signal
import sys
import threading

import click

from .numbers import SENDER

try:
    from .server import ACCOUNT_SID, AUTH_TOKEN, Sandbox
except ModuleNotFoundError as error:
    if error.name != "aiohttp":
        raise
    click.echo(
        "The sandbox needs the package 'aiohttp', which comes with the extra [sandbox].", err=True
    )
    sys.exit(2)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8010, show_default=True)
@click.option("--account-sid", default=ACCOUNT_SID, show_default=True)
@click.option("--auth-token", default=AUTH_TOKEN, show_default=True)
@click.option(
    "--step-seconds",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="How long a message stays queued, sending, sent.",
)
def main(port: int, account_sid: str, auth_token: str, step_seconds: float) -> None:
    """Run a local stand-in for Twilio's Messages resource, on 127.0.0.1, until interrupted.

    A --port of 0 takes any free one.
    """
    if not re.fullmatch("AC[0-9a-fA-F]{32}", account_sid):
        raise click.BadParameter("must be 'AC' and 32 hex digits", param_hint="--account-sid")
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    sandbox = Sandbox(
        port, account_sid=account_sid, auth_token=auth_token, step_seconds=step_seconds
    )
    try:
        sandbox.start()
    except OSError as problem:
        busy = problem.errno == errno.EADDRINUSE
        why = "is in use" if busy else f"cannot be used ({problem.strerror})"
        click.echo(f"Port {port} {why}; choose another with --port (0: any free one).", err=True)
        sys.exit(2)
    click.echo(f"Twilio sandbox listening on {sandbox.url}")
    click.echo(f"  accountId   {account_sid}")
    click.echo(f"  authToken   {auth_token}")
    click.echo(f"  from        {SENDER}")
    click.echo(f"  apiBaseUrl  {sandbox.url}")
    # A wait without an end could not be interrupted on Windows.
    while not interrupted.wait(1):
        pass
    sandbox.stop()


if __name__ == "__main__":
    main(prog_name="python -m twilio_sandbox")
