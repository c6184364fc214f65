"""Many sends with faults at random, and the outcome of each: a part of `make soak`.

`python -m tests.faults.endurance --help`
"""

import argparse
import collections
import concurrent.futures
import os
import random
import threading
import time
from typing import Any, NamedTuple

from connector_runtime import ConnectorError, load
from tests.conftest import ROOT
from twilio_sandbox import Sandbox

PREFIX = "Sent from your Twilio trial account - "
RECIPIENTS = [f"+1415555{number:04}" for number in range(130, 137)]

# What can happen to a send. Without a note, it is carried out and its answer is lost or wrong.
OF_SENDS: list[tuple[str, dict[str, Any]]] = [
    ("withhold", {}),
    ("reset_before", {}),  # not carried out
    ("reset_after", {}),
    ("slow", {"seconds": 0.2}),  # in time
    ("slow", {"seconds": 4}),
    ("drip", {"seconds": 0.02}),
    ("drip", {"seconds": 0.02, "part": "head"}),
    ("early", {"status": 103}),
    ("early", {"status": 102, "count": None}),
    ("early", {"status": 204}),
    ("early", {"status": 304}),
    ("raw", {"text": "HTTP/1.1 201 Created\r\nContent-Length: 1000000000000000\r\n\r\n{"}),
    ("raw", {"text": "\x00\x01 no HTTP at all"}),
    ("html", {}),
    ("truncated", {}),
    ("body", {"patch": {"to": "+14155550198"}}),
    ("body", {"patch": {"price": "n/a"}}),
    ("body", {"value": []}),
    ("error", {"status": 500, "stored": True}),
    ("error", {"status": 500}),  # not carried out
    ("error", {"status": 503, "stored": True}),
    ("error", {"status": 503}),  # not carried out
    ("throttle", {}),  # not carried out
    ("throttle", {"retry_after": 0.1}),  # not carried out
    ("redirect", {}),  # not carried out
]
# What can happen to a look-up.
OF_READS: list[tuple[str, dict[str, Any]]] = [
    ("withhold", {}),
    ("reset_before", {}),
    ("error", {"status": 503}),
    ("throttle", {}),
    ("html", {}),
    ("truncated", {}),
    ("drip", {"seconds": 0.02}),
    ("repeated_page", {}),
]


class Outcome(NamedTuple):
    text: str
    sid: str | None  # of the message that was returned
    error: ConnectorError | None


def send(connection, sandbox, chance, lock, number):
    """Send one text as an engine does: again for as long as the connector says that it may."""
    text = f"text {number}"
    inputs = {"to": RECIPIENTS[number % len(RECIPIENTS)], "body": text}
    for _ in range(30):
        with lock:
            if chance.random() < 0.7:
                kind, options = chance.choice(OF_SENDS)
                sandbox.fail(kind, method="POST", **options)
            if chance.random() < 0.2:
                sandbox.fail("late", method="POST", seconds=chance.uniform(0, 1.5))
            if chance.random() < 0.15:
                kind, options = chance.choice(OF_READS)
                sandbox.fail(kind, method="GET", **options)
        try:
            return Outcome(text, connection.run("send_sms", inputs)["sid"], None)
        except ConnectorError as error:
            if not error.retryable:
                return Outcome(text, None, error)
            if error.outcome != "not_sent":
                raise AssertionError("what is retryable was not sent") from error
    raise AssertionError(f"{text} was refused thirty times")


def many_sends(count, seed, threads=32, resolve_seconds=15):
    """Make `count` sends with faults; return how often which outcome came.

    Raise AssertionError where a text was sent twice, or was stored and neither returned nor among
    the candidates of an unknown outcome, or where too many that were stored stayed unknown.
    """
    chance, lock = random.Random(seed), threading.Lock()
    with Sandbox(
        step_seconds=60,
        list_lag_seconds=0.3,
        order_jitter_seconds=1.5,
        trial_prefix=chance.random() < 0.5,
        clock_offset_seconds=chance.uniform(-300, 300),
    ) as sandbox:
        settings = {
            **sandbox.settings,
            "connectTimeoutSeconds": 5,
            "timeoutSeconds": 2,
            "resolveSeconds": resolve_seconds,
            "maxAttempts": 3,
        }
        with (
            load(ROOT).connect(settings) as connection,
            concurrent.futures.ThreadPoolExecutor(threads) as pool,
        ):
            outcomes = list(
                pool.map(lambda n: send(connection, sandbox, chance, lock, n), range(count))
            )
        stored = collections.defaultdict(list)
        for message in sandbox.messages:
            stored[message["body"].removeprefix(PREFIX)].append(message["sid"])
    assert set(stored) <= {outcome.text for outcome in outcomes}
    counts = collections.Counter()
    for text, sid, error in outcomes:
        sids = stored[text]
        assert len(sids) <= 1, f"{text} was sent {len(sids)} times"
        if error is None:
            assert sids == [sid], f"{text}: {sid} was returned, and {sids} stored"
            counts["returned"] += 1
        elif error.outcome == "unknown" and sids:
            assert sids[0] in error.candidates, f"{text} is not among its candidates"
            counts["stored and unknown"] += 1
        else:
            assert not sids, f"{text} was stored and said to be {error.outcome}"
            counts["not stored and " + error.outcome] += 1
    of_stored = counts["returned"] + counts["stored and unknown"]
    assert counts["stored and unknown"] * 100 < max(of_stored, 100), counts
    return dict(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sends", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    chosen = parser.parse_args()
    print(f"{chosen.sends} sends, seed {chosen.seed}", flush=True)
    started = time.perf_counter()
    counts = many_sends(chosen.sends, chosen.seed)
    print(f"none sent twice, none lost: {counts}; {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
