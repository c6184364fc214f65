"""Start the sandbox from a shell: `python -m twilio_sandbox`."""

from __future__ import annotations

import errno
import re
import signal
import sys
import time

import click

from .setup import RECIPIENT, SCENARIOS

try:
    from .server import ACCOUNT_SID, AUTH_TOKEN, Sandbox
except ModuleNotFoundError as error:
    if error.name != "aiohttp":
        raise
    click.echo(
        "The sandbox needs the package 'aiohttp', which comes with the extra [sandbox].", err=True
    )
    sys.exit(2)

VOICE_URL = "https://example.com/voice.xml"


def _list_scenarios(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        width = max(map(len, SCENARIOS))
        for name, scenario in SCENARIOS.items():
            click.echo(f"{name:<{width}}  {scenario.description}")
        context.exit()


@click.command()
@click.option(
    "--scenario",
    type=click.Choice(list(SCENARIOS)),
    default="ready",
    show_default=True,
    metavar="NAME",
    help="How the account is set up; --scenarios lists them.",
)
@click.option(
    "--scenarios", is_flag=True, is_eager=True, expose_value=False, callback=_list_scenarios,
    help="List the scenarios and end.",
)  # fmt: skip
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
@click.option(
    "--print-config",
    is_flag=True,
    help="Print the environment as YAML for 'connector --config', and end.",
)
def main(
    scenario: str,
    port: int,
    account_sid: str,
    auth_token: str,
    step_seconds: float,
    print_config: bool,
) -> None:
    """Run a local simulator of Twilio's messaging, on 127.0.0.1, until interrupted.

    A --port of 0 takes any free one.
    """
    if not re.fullmatch("AC[0-9a-fA-F]{32}", account_sid):
        raise click.BadParameter("must be 'AC' and 32 hex digits", param_hint="--account-sid")
    if print_config and port == 0:
        raise click.BadParameter("must be a port of its own to print it", param_hint="--port")
    sandbox = Sandbox(
        port,
        scenario=scenario,
        account_sid=account_sid,
        auth_token=auth_token,
        step_seconds=step_seconds,
    )
    if print_config:
        click.echo(_config(sandbox), nl=False)
        return
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not an Event: to set it takes a lock that the interrupted code may hold.
        signal.signal(number, lambda number, _: told.append(number))
    try:
        sandbox.start()
    except OSError as problem:
        busy = problem.errno == errno.EADDRINUSE
        why = "is in use" if busy else f"cannot be used ({problem.strerror})"
        click.echo(f"Port {port} {why}; choose another with --port (0: any free one).", err=True)
        sys.exit(2)
    for line in _announcement(sandbox, scenario):
        click.echo(line)
    # No long sleep: a signal that comes just before it begins, or to another thread, does not
    # end it.
    while not told:
        time.sleep(0.1)
    sandbox.stop()


def _announcement(sandbox: Sandbox, scenario: str) -> list[str]:
    settings = sandbox.settings
    lines = [f"Twilio sandbox listening on {sandbox.url} ({sandbox.scenario.description})"]
    lines += [f"  {name:<11} {value}" for name, value in settings.items()]
    variables = {
        "TWILIO_ACCOUNT_SID": settings["accountId"],
        "TWILIO_AUTH_TOKEN": settings["authToken"],
        "TWILIO_FROM": settings["from"],
        "TWILIO_SANDBOX_URL": sandbox.url,
    }
    word = "$env:{}='{}'" if sys.platform == "win32" else "export {}={}"
    lines += ["", "For a file that takes its settings from ${VARIABLES}:"]
    lines += ["  " + word.format(name, value) for name, value in variables.items()]
    lines += [
        "For a file of its own:",
        f"  python -m twilio_sandbox --print-config --scenario {scenario} --port {sandbox.port}"
        " > sandbox.yaml",
        f"  connector check --config sandbox.yaml --environment sandbox --to {RECIPIENT}",
        "To do a step (1 to 7) of the set-up, as in the console:",
        f"  curl -X POST {sandbox.url}/_sandbox/steps/5",
    ]
    return lines


def _config(sandbox: Sandbox) -> str:
    """Return the scenario's settings as the YAML text of a file for `connector --config`."""
    lines = ["environments:", "  sandbox:"]
    settings = {**sandbox.settings, "voice_url": VOICE_URL}
    lines += [f'    {name}: "{value}"' for name, value in settings.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(prog_name="python -m twilio_sandbox")
