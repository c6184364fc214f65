"""A long test of the engine with many cases and many kills, for `make soak`.

A short run of it is one of the tests.

`python -m tests.engines.endurance --help`
"""

import argparse
import collections
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from connector_engines.embedded import Engine
from connector_engines.embedded.store import listing
from connector_runtime import load
from twilio_sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent
NOTIFY = ROOT / "examples" / "notify_customer.bpmn"


def data(number):
    """The data of one case. Its name and so its message differ from all others."""
    phone = f"+141555501{number % 100:02}"
    return {"customer": {"name": f"Case {number}", "phone": phone}, "poll_seconds": 0.05}


def work(store, settings, count):
    """The work of the killed process: resume stored cases, start missing ones, run all."""
    known = sum(1 for _ in listing(store)) if store.is_file() else 0
    with Engine({"twilio": load(ROOT)}, {"twilio": settings}, store=store) as engine:
        print("ready", flush=True)
        for number in range(known, count):
            engine.start(NOTIFY, data(number))
        engine.run(engine.resume())
    print("done", flush=True)


@contextlib.contextmanager
def worker(store, settings, count):
    """A process that runs the work. It is killed at the end if it is still running."""
    arguments = [sys.executable, "-m", "tests.engines.endurance", "--work", str(store)]
    process = subprocess.Popen(
        [*arguments, "--cases", str(count), "--settings", json.dumps(settings)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        # This is SIGKILL, except on Windows
        process.kill()
        process.communicate()


def kill_and_resume(folder, count, kills, seed):
    """Run `count` cases, kill their process at `kills` random times, and return how they ended.

    Raise AssertionError if a message was sent twice, or a case reports something wrong.
    """
    chance = random.Random(seed)
    store = Path(folder) / "cases.sqlite"
    killed = 0
    with Sandbox(step_seconds=0.05) as sandbox:
        sandbox.fail("slow", times=None, seconds=0.1)
        settings = {**sandbox.settings, "timeoutSeconds": 30, "resolveSeconds": 2}
        for number in range(kills):
            # Each run gets more of the cases, so that every kill interrupts work.
            with worker(store, settings, count * (number + 1) // kills) as process:
                assert process.stdout.readline() == "ready\n"
                # The time of the kill must be random
                time.sleep(chance.uniform(0, 0.25))
                killed += process.poll() is None
        with worker(store, settings, count) as process:
            assert process.stdout.readline() == "ready\n"
            assert process.stdout.readline() == "done\n"
            assert process.wait(60) == 0
        assert killed == kills, "a run ended before its kill: give it more cases"
        statuses = collections.Counter(case["status"] for case in listing(store))
        assert set(statuses) <= {"finished", "interrupted"}, statuses
        assert statuses.total() == count
        bodies = collections.Counter(message["body"] for message in sandbox.messages)
        assert max(bodies.values()) == 1, "a message was sent twice"
        outcomes = collections.Counter(check(store, settings, bodies))
    return dict(outcomes)


def check(store, settings, bodies):
    """Return how each case ended. Raise AssertionError if a case reports something wrong.

    A finished case has sent its text, and the text was delivered. Any other case reports that its
    message was never found, and that message was never stored. No case needs `settle`.
    """
    with Engine({"twilio": load(ROOT)}, {"twilio": settings}, store=store) as engine:
        for row in list(listing(store)):
            case = engine.case(row["id"])
            outcome = case.data.get("outcome")
            if outcome == "delivered":
                assert bodies[case.data["text"]] == 1
                yield "delivered"
            else:
                assert outcome == "may have been sent", (case.status, outcome, case.error)
                assert case.data["sms_error"]["candidates"] == []
                assert bodies[case.data["text"]] == 0, "it was stored, and not found"
                yield "never sent, and says so"


def many(count):
    """Run `count` cases at once in one process. Return the time in seconds."""
    with Sandbox(step_seconds=0.05) as sandbox:
        settings = {"twilio": sandbox.settings}
        with Engine({"twilio": load(ROOT)}, settings, threads=32) as engine:
            cases = [engine.start(NOTIFY, data(number)) for number in range(count)]
            started = time.perf_counter()
            engine.run(cases)
            seconds = time.perf_counter() - started
        outcomes = collections.Counter(case.data.get("outcome") for case in cases)
        bodies = {message["body"] for message in sandbox.messages}
        assert outcomes == {"delivered": count}, outcomes
        assert len(bodies) == len(sandbox.messages) == count
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(chosen.work, chosen.settings, chosen.cases)
        return
    print(f"{chosen.cases} cases, {chosen.kills} kills, seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result = kill_and_resume(folder, chosen.cases, chosen.kills, chosen.seed)
    print(f"no message twice, nothing to settle: {result}", flush=True)
    seconds = many(chosen.at_once)
    print(f"{chosen.at_once} cases at once: none lost, none sent twice; {seconds:.1f} s")


if __name__ == "__main__":
    main()
