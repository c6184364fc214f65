"""Show the way from a new account to the first SMS, then the three actions and two BPMN processes.

Everything uses the command lines and the sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from twilio_sandbox import Sandbox
from twilio_sandbox.setup import RECIPIENT

ROOT = Path(__file__).parent.parent


STEPS = {
    5: "request a number from the US that can send SMS",
    6: "enable Colombia under Geo Permissions",
    7: "add the recipient under Verified Caller IDs, and enter the code",
}


def main() -> None:
    with using(Sandbox(scenario="new")) as sandbox:
        print(f"A simulator of Twilio listens on {sandbox.url}; nothing leaves this machine.")
        set_up(sandbox)
    with using(Sandbox()) as sandbox:
        use(sandbox)


@contextlib.contextmanager
def using(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Run a sandbox, with a copy of the example's settings that has its address."""
    with sandbox, tempfile.TemporaryDirectory() as folder:
        # The example's settings fit the sandbox; only its port is another one each time.
        text = (ROOT / "examples" / "connector.yaml").read_text("utf-8")
        config = Path(folder, "connector.yaml")
        config.write_text(text.replace("http://127.0.0.1:8010", sandbox.url), "utf-8")
        os.environ["DEMO_CONFIG"] = str(config)
        yield sandbox


def set_up(sandbox: Sandbox) -> None:
    """Check what is missing in a new trial account, set it up, and send the first SMS."""
    heading("A trial account was just opened. Can it send to Colombia?")
    connector("check", "--to", RECIPIENT)
    for step, what in STEPS.items():
        heading(f"Step {step}, in Twilio's console: {what}. Then:")
        # A person would do this step in the console
        sandbox.do_step(step)
        connector("check", "--to", RECIPIENT)
    heading("The first SMS")
    body = "Your appointment is tomorrow at 10:00."
    connector("run", "send_sms", "--set", f"to={RECIPIENT}", "--set", f"body={body}")
    # Move the sandbox's clock forward instead of waiting
    sandbox.advance(60)
    sid = sandbox.messages[0]["sid"]
    connector("run", "get_sms_information", "--set", f"sid={sid}", "--format", "table")


def use(sandbox: Sandbox) -> None:
    """Show the three actions and two processes, with an account that is ready."""
    send = ("run", "send_sms", "--set", "to=+14155550123", "--set")

    heading("What would be sent?")
    connector(*send, "body=Your appointment is tomorrow at 10:00.", "--dry-run")
    heading("Send SMS")
    connector(*send, "body=Your appointment is tomorrow at 10:00.", "--format", "table")
    connector("run", "send_sms", "--set", "to=+14155550124", "--set", "body=Hola", quiet=True)
    heading("Send SMS to somebody who has opted out, and what the code means in Spanish")
    connector("run", "send_sms", "--set", "to=+15005550004", "--set", "body=Hola")
    connector("explain", "21610", "--lang", "es")
    heading("Get SMS information, once it has been delivered")
    sandbox.advance(60)
    sid = sandbox.messages[-1]["sid"]
    connector("run", "get_sms_information", "--set", f"sid={sid}", "--format", "table")
    heading("Get All SMS")
    connector("run", "get_all_sms", "--format", "table")
    heading("A BPMN process that sends, waits until it is delivered, and branches")
    customer = {"customer": {"name": "Clinic 24", "phone": "+14155550125"}, "poll_seconds": 0.5}
    engine("run", "examples/notify_customer.bpmn", "--data", json.dumps(customer))
    heading("The same for somebody whose number is not verified")
    customer["customer"]["phone"] = "+15005550010"
    engine("run", "examples/notify_customer.bpmn", "--data", json.dumps(customer))
    heading("A BPMN process that reports the month")
    sandbox.advance(60)
    engine("run", "examples/monthly_report.bpmn")
    heading("What went over the wire")
    for request in sandbox.requests:
        form = json.dumps(request["form"], ensure_ascii=False) if request["form"] else ""
        print(f"{request['method']:<5}{request['path']}  {form}  HTTP {request['status']}")


def heading(text: str) -> None:
    print(f"\n── {text}", flush=True)


def connector(*arguments: str, quiet: bool = False) -> None:
    command("connector", "connector_runtime", *arguments, quiet=quiet)


def engine(*arguments: str) -> None:
    command("connector-engine", "connector_engines", *arguments)


def command(name: str, module: str, *arguments: str, quiet: bool = False) -> None:
    """Run a command line as a user does, and show the command and its output."""
    configured = ["--config", os.environ["DEMO_CONFIG"], "--environment", "development"]
    if arguments[0] == "explain":
        # This command has no option for an environment: a code means the same in all of them
        configured = []
    if not quiet:
        print(f"$ {name} {shlex.join(arguments)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, *configured],
        cwd=ROOT,
        check=False,
        env={**os.environ, "COLUMNS": "132"},
        stdout=subprocess.DEVNULL if quiet else None,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        print(f"(exit status {done.returncode})", flush=True)


if __name__ == "__main__":
    main()
