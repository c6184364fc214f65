"""A case never takes the time, identifiers or random values from the machine.

An engine that repeats a case from its history must get the same result each time. `bpmn.given`
passes these values to SpiffWorkflow in the places below. If a new version of SpiffWorkflow takes
them in a new place, this test fails.
"""

import ast
import contextlib
import os
import random
import sys
import time
import uuid
from datetime import datetime
from pathlib import Path

import pytest
import SpiffWorkflow

from connector_engines import bpmn, drawings
from tests.engines.conformance import table

ASKS = {"time", "monotonic", "perf_counter", "now", "utcnow", "today", "urandom", "getrandbits"}
ASKS |= {"uuid1", "uuid3", "uuid4", "uuid5", "random", "randint", "choice", "shuffle", "getenv"}
# Each place where SpiffWorkflow uses the machine's time, identifiers or random values, and why that
# is safe.
KNOWN = {
    "SpiffWorkflow/bpmn/serializer/migration/version_1_2.py dt.time": "of old files; not used",
    "SpiffWorkflow/bpmn/serializer/migration/version_1_3.py uuid4": "of old files; not used",
    "SpiffWorkflow/bpmn/specs/event_definitions/timer.py dt.time": "a part of a given value",
    "SpiffWorkflow/bpmn/specs/event_definitions/timer.py datetime.now": "replaced by `given`",
    "SpiffWorkflow/task.py time.time": "replaced by `given`",
    "SpiffWorkflow/task.py uuid4": "replaced by `given`",
}


def asking(path):
    """Yield the calls in a module that may use the machine's time, identifiers or random values."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in ASKS:
            yield node.func.id
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ASKS:
            yield ast.unparse(node.func)


def places():
    root = Path(SpiffWorkflow.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for call in asking(path):
            yield f"{path.relative_to(root.parent).as_posix()} {call}"


def test_spiffworkflow_asks_the_machine_only_in_the_known_places():
    assert set(places()) == set(KNOWN)


def test_known_places_are_replaced():
    given = sys.modules["connector_engines.bpmn.given"]
    assert SpiffWorkflow.task.uuid4 is given._new_id
    assert SpiffWorkflow.task.time.time is given.moment
    assert SpiffWorkflow.bpmn.specs.event_definitions.timer.datetime is given.datetime


@contextlib.contextmanager
def watching(asked):
    """Record each call of a C function for the time or random values, and who called it."""
    watched = {time.time, time.monotonic, time.time_ns, os.urandom, random.random, uuid.uuid4}
    names = {"now", "utcnow", "today", "getrandbits"}

    def see(frame, event, function):
        if event == "c_call":
            owner = getattr(function, "__self__", None)
            is_date = function.__name__ in names and not isinstance(owner, type(sys))
            if function in watched or is_date:
                asked.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {function.__name__}")

    sys.setprofile(see)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("ask", [time.time, uuid.uuid4, datetime.now, random.random])
def test_watch_sees_who_asks(ask):
    asked = []
    with watching(asked):
        ask()
    assert asked


@pytest.mark.parametrize("entry", table.entries(), ids=table.label)
def test_case_asks_the_machine_for_nothing(entry, twilio_folder):
    connectors = {"twilio": twilio_folder}
    content = drawings.contents(entry.file)
    process = bpmn.parse(content, connectors, {"twilio": {"from": "+15005550006"}}, None)
    numbers, asked = iter(range(1, 10_000)), []

    def new_id():
        return uuid.UUID(int=next(numbers))

    def steps():
        case = bpmn.Case.start("case", process, entry.data, 1e9, new_id)
        for step in range(1, 8):
            now = 1e9 + 100 * step
            case.advance(now)
            for task in case.wanted(now):
                request = case.begin(task, now)
                if request is not None:
                    case.end(task, {"sid": "SM" + "0" * 32, "status": "delivered"}, now)
            for task in case.tasks:
                case.complete(task["task"], {"text": "x"}, now)
        return bpmn.case_parts(case)

    with watching(asked):
        first = steps()
    assert asked == []
    numbers = iter(range(1, 10_000))
    assert steps() == first
