"""The thread that runs the cases: it never waits for ever, and Ctrl-C makes it lose no call."""

import os
import random
import threading
import time
from types import SimpleNamespace

import pytest

from connector_engines.embedded import driver
from tests.engines.drawing import flows, service

SIMPLE = (service(), flows("start>send>end"))


@pytest.mark.parametrize("due", [None, 3600])
def test_wait_is_short_so_that_each_interruption_is_noticed(due):
    engine = SimpleNamespace(clock=SimpleNamespace(now=time.time))
    waiting = driver.Driver(engine, [], lazily=False)
    waiting.next_stored = due and time.time() + due
    thread = threading.Thread(target=waiting._wait, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_wait_that_is_over_at_once_ends():
    """A queue of Python 3.10 to 3.12 waits for ever here: once in some thousands of times."""
    seed = int(os.environ.get("SEED", "20261130"))
    print(f"seed {seed}")
    chance = random.Random(seed)
    engine = SimpleNamespace(clock=SimpleNamespace(now=time.time))

    def wait():
        for _ in range(30_000):
            waiting = driver.Driver(engine, [], lazily=False)
            waiting.next_stored = time.time() + chance.choice([0, 3e-6])
            waiting._wait()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_ctrl_c_before_the_end_of_a_call_is_taken_loses_nothing(engine, bpmn, sent, monkeypatch):
    interrupted = []

    def take(running, signal):
        if signal is not None and not interrupted:
            interrupted.append(signal)
            raise KeyboardInterrupt
        original(running, signal)

    original = driver.Driver._take
    monkeypatch.setattr(driver.Driver, "_take", take)
    case = engine.start(bpmn(*SIMPLE), {})
    with pytest.raises(KeyboardInterrupt):
        case.run()
    case.run()
    assert (case.status, len(sent()), len(interrupted)) == ("finished", 1, 1)
