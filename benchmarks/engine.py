"""Measure whether the time of a step in the BPMN engine depends only on what changed in the case.

    python benchmarks/engine.py [--quick] [--json FILE] [--only NAME]

Only ratios within one run are judged. The service is a simulator that takes almost no time. The
bytes are those that SQLite writes to its log, which is not emptied during the measurement.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lxml import etree
from SpiffWorkflow.bpmn import BpmnWorkflow
from SpiffWorkflow.bpmn.script_engine import PythonScriptEngine
from SpiffWorkflow.spiff.parser.process import SpiffBpmnParser

from benchmarks.run import ROOT, Report, alternate, command, server, settings
from connector_engines.embedded import Engine
from connector_runtime import load
from tests.engines.drawing import document, flows, loop, pause, script, service

ONE = (service(), flows("start>send>end"))
LOOK = service("look", "twilio/get_all_sms", "found").replace(
    '<spiffworkflow:parameter id="to" type="str" value="\'+14155550123\'" />'
    '<spiffworkflow:parameter id="body" type="str" value="\'Hola\'" />',
    "",
)
POLL = (
    script("first", "n = 0"),
    pause("wait", '"PT0.000001S"'),
    LOOK,
    script("count", "n = n + 1"),
    '<bpmn:exclusiveGateway id="way" default="flow_way_end" />',
    '<bpmn:sequenceFlow id="back" sourceRef="way" targetRef="wait"><bpmn:conditionExpression'
    ' xsi:type="bpmn:tFormalExpression">n &lt; rounds</bpmn:conditionExpression>'
    "</bpmn:sequenceFlow>",
    flows("start>first>wait>look>count>way>end"),
)
TWILIO = load(ROOT)


class Bench:
    """A folder for stores and drawings, and the address of the simulator of Twilio."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.settings = {"twilio": settings(url)}
        self.stores = 0

    def drawing(self, *elements: str) -> Path:
        path = self.folder / f"{abs(hash(elements))}.bpmn"
        path.write_text(document(*elements), "utf-8")
        return path

    def engine(self, stored: bool, **options: Any) -> Engine:
        self.stores += stored
        store = self.folder / f"{self.stores}.sqlite" if stored else None
        engine = Engine({"twilio": TWILIO}, self.settings, store=store, **options)
        if engine.store is not None:
            engine.store._database.execute("PRAGMA wal_autocheckpoint = 0")
        return engine


@contextmanager
def bench() -> Iterator[Bench]:
    with server() as url, tempfile.TemporaryDirectory() as folder:
        yield Bench(Path(folder), url)


def written(engine: Engine) -> int:
    """Return the bytes that the engine has written to its store so far."""
    if engine.store is None:
        return 0
    (_, _, path) = engine.store._database.execute("PRAGMA database_list").fetchone()
    return os.stat(f"{path}-wal").st_size


def rows(engine: Engine) -> int:
    """Return how many rows the engine has inserted, changed or deleted in its store so far."""
    return engine.store._database.total_changes if engine.store is not None else 0


def polling(report: Report, quick: bool) -> None:
    """One case that waits, makes a look-up and decides, 2,000 times."""
    rounds, window = (40, 10) if quick else (2000, 100)
    times, sizes = [], []

    def watch(case: Any, element: str, name: str, what: str) -> None:
        if (element, what) == ("count", "done"):
            times.append(time.perf_counter())
            sizes.append(written(engine))

    with bench() as place:
        engine = place.engine(True, watch=watch)
        with engine:
            case = engine.start(place.drawing(*POLL), {"rounds": rounds})
            case.run()
            assert (case.status, case.data["n"]) == ("finished", rounds)
    took = [later - earlier for earlier, later in itertools.pairwise(times)]
    wrote = [later - earlier for earlier, later in itertools.pairwise(sizes)]
    early, late = slice(window // 2, window * 3 // 2), slice(-window, None)
    what = f"a poll in a case, the {rounds}th against the {window}th"
    report.verdict(
        what, "time", statistics.median(took[late]) / statistics.median(took[early]), "≤", 2
    )
    report.verdict(what, "bytes", sum(wrote[late]) / sum(wrote[early]), "≤", 1.5)


def loops(report: Report, quick: bool) -> None:
    """A send for each item of a list, with few and with many items."""
    few, many = (10, 40) if quick else (50, 1000)
    for kind, sequential, most_time, most_bytes in (
        ("parallel", "false", 2, 1.5),
        ("sequential", "true", 3, 2),
    ):
        sends = service(to="'+14155550123'", body="str(number)", loop=loop(sequential))
        with bench() as place:
            path = place.drawing(sends, flows("start>send>end"))
            costs: dict[tuple[int, bool], list[float]] = {}
            sizes: dict[int, float] = {}
            for _ in range(1 if quick else 3):
                for count in (few, many):
                    for stored in (False, True):
                        repeat = 1 if quick else max(1, 200 // count)
                        with place.engine(stored) as engine:
                            started = time.perf_counter()
                            before = written(engine)
                            for _ in range(repeat):
                                case = engine.start(path, {"numbers": list(range(count))})
                                case.run()
                                assert len(case.data["results"]) == count
                            cost = (time.perf_counter() - started) / count / repeat
                            costs.setdefault((count, stored), []).append(cost)
                            if stored:
                                sizes[count] = (written(engine) - before) / count / repeat
            middle = {key: statistics.median(values) for key, values in costs.items()}
        what = f"{kind} loop, a send of {many} against one of {few}"
        report.verdict(
            what, "time, with the store", middle[many, True] / middle[few, True], "≤", most_time
        )
        report.verdict(what, "bytes", sizes[many] / sizes[few], "≤", most_bytes)
        report.verdict(
            what, "with the store against without", middle[many, True] / middle[many, False], "≤", 4
        )


def at_once(report: Report, quick: bool) -> None:
    """Many cases in one run."""
    few, many = (10, 40) if quick else (50, 1600)
    with bench() as place:
        path = place.drawing(*ONE)
        costs: dict[tuple[int, bool], list[float]] = {}
        wrote: dict[int, float] = {}
        for _ in range(1 if quick else 3):
            for count in (few, many):
                for stored in (False, True):
                    repeat = 1 if quick else max(1, 400 // count)
                    with place.engine(stored) as engine:
                        cost = []
                        for _ in range(repeat):
                            cases = [engine.start(path) for _ in range(count)]
                            before = rows(engine)
                            started = time.perf_counter()
                            engine.run(cases)
                            cost.append((time.perf_counter() - started) / count)
                            assert all(case.status == "finished" for case in cases)
                            wrote[count] = (rows(engine) - before) / count
                        costs.setdefault((count, stored), []).append(statistics.median(cost))
    what = f"cases at once, one of {many} against one of {few}"
    for stored in (False, True):
        middle = [statistics.median(costs[count, stored]) for count in (few, many)]
        name = "time, with the store" if stored else "time, without a store"
        report.verdict(what, name, middle[1] / middle[0], "≤", 1.5)
    report.verdict(what, "rows written", wrote[many] / wrote[few], "≤", 1.1)


REPORT = """
import json, resource, sys, time
from pathlib import Path
from connector_engines.embedded import Engine
from connector_runtime import load
who, settings, store, drawing = sys.argv[1:]
settings, twilio = json.loads(settings), load(Path.cwd())
started = time.perf_counter()
if who == "connector":
    with twilio.connect(settings) as connection:
        assert connection.run("get_all_sms")["messages"]
else:
    with Engine({"twilio": twilio}, {"twilio": settings}, store=store) as engine:
        case = engine.start(drawing)
        case.run()
        assert case.data["report"]["messages"]
took = time.perf_counter() - started
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def monthly_report(report: Report, quick: bool) -> None:
    """The example report of 100,000 messages. Its script removes them from the data."""
    messages = 2000 if quick else 100_000
    with server() as url, tempfile.TemporaryDirectory() as folder:
        timings: dict[str, list[list[float]]] = {"connector": [], "engine": []}
        sizes = []
        for turn in range(1 if quick else 3):
            store = Path(folder) / f"{turn}.sqlite"
            for who, values in timings.items():
                line = [sys.executable, "-c", REPORT, who, json.dumps(settings(url, messages))]
                line += [str(store), str(ROOT / "examples/monthly_report.bpmn")]
                done = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True)
                values.append(json.loads(done.stdout))
            sizes.append(store.stat().st_size / 1e6)
    what = f"the report over {messages} messages"
    for place, name, target in ((0, "time", 1.5), (1, "memory", 2.0)):
        pairs = zip(timings["engine"], timings["connector"], strict=True)
        value = statistics.median(ours[place] / theirs[place] for ours, theirs in pairs)
        report.verdict(what, f"{name}, against the connector alone", value, "≤", target)
    report.verdict(what, "MB left in the store", max(sizes), "≤", 2)


RESUME = """
import json, resource, sys, time
from pathlib import Path
from connector_engines.embedded import Engine
from connector_runtime import load
settings, store = sys.argv[1:]
settings, twilio = json.loads(settings), load(Path.cwd())
with Engine({"twilio": twilio}, {"twilio": settings}) as engine:
    pass  # what every engine costs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started = time.perf_counter()
with Engine({"twilio": twilio}, {"twilio": settings}, store=store) as engine:
    cases = engine.resume()
    first = next(iter(cases))
    took = time.perf_counter() - started
    assert first.status == "waiting"
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before]))
"""


def waiting(report: Report, quick: bool) -> None:
    """Open a store with many waiting cases, and read the first one."""
    few, many = (50, 500) if quick else (1000, 100_000)
    with bench() as place:
        path = place.drawing(service(), pause("wait", '"P30D"'), flows("start>send>wait>end"))
        timings: dict[int, list[list[float]]] = {few: [], many: []}
        stores = {}
        for count in (few, many):
            with place.engine(True) as engine:
                case = engine.start(path)
                wait_for(engine, case)
                assert engine.store is not None
                (_, _, file) = engine.store._database.execute("PRAGMA database_list").fetchone()
            stores[count] = file
            copy_cases(Path(file), count)
        for _ in range(1 if quick else 7):
            for count, values in timings.items():
                line = [sys.executable, "-c", RESUME, json.dumps(place.settings["twilio"])]
                done = subprocess.run(
                    [*line, stores[count]], cwd=ROOT, check=True, capture_output=True, text=True
                )
                values.append(json.loads(done.stdout))
    what = f"a store of {many} waiting cases against {few}"
    pairs = zip(timings[many], timings[few], strict=True)
    value = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
    report.verdict(what, "time to open and resume", value, "≤", 2)
    report.verdict(
        what, "MB more", statistics.median(values[1] for values in timings[many]), "≤", 30
    )


class Enough(BaseException):
    """Ends a run in the same way as Ctrl-C."""


def wait_for(engine: Engine, case: Any) -> None:
    """Run a case until it waits."""

    def watch(case: Any, element: str, name: str, what: str) -> None:
        if (element, what) == ("send", "done"):
            raise Enough

    engine._watch = watch
    with suppress(Enough):
        case.run()
    assert case.status == "waiting"


def copy_cases(file: Path, count: int) -> None:
    database = sqlite3.connect(file)
    database.execute(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO cases SELECT i, 'case' || i, process, name, status, due + i, error, started,"
        " changed FROM cases, n WHERE number = 1",
        (count,),
    )
    database.execute(
        "INSERT INTO parts SELECT cases.number, parts.name, content FROM cases, parts"
        " WHERE parts.number = 1 AND cases.number > 1 ORDER BY 1, 2"
    )
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


class Nothing(PythonScriptEngine):  # type: ignore[misc]
    def call_service(self, task: Any, **_: Any) -> str:
        return "{}"


class Timed:
    """A connection that measures its own time."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.seconds = 0.0

    def run(self, *inputs: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return self.connection.run(*inputs, **options)
        finally:
            self.seconds = time.perf_counter() - started

    def close(self) -> None:
        self.connection.close()


def one_task(report: Report, quick: bool) -> None:
    """Compare one service task with the connector alone, with SpiffWorkflow and with SQLite.

    The contenders take turns after each call, and the time of a call is measured where the engine
    makes it. Other processes on the machine can only make a time longer, most of all if it includes
    waiting for a thread or a disk. So each contender is judged by its lower quartile.
    """
    rounds = 8 if quick else 1500
    parser = SpiffBpmnParser()
    parser.add_bpmn_xml(etree.ElementTree(etree.fromstring(document(*ONE).encode())))
    spec, subprocesses = parser.get_spec("case"), parser.get_subprocess_specs("case")

    def spiff() -> None:
        workflow = BpmnWorkflow(spec, subprocesses, script_engine=Nothing())
        workflow.do_engine_steps()
        assert workflow.completed

    with bench() as place:
        path = place.drawing(*ONE)
        with place.engine(False) as memory, place.engine(True) as disk:
            case = disk.start(path)
            before = written(disk)
            case.run()
            # The case is committed twice: when its call begins and when it ends
            size = (written(disk) - before) // 2
            database = sqlite3.connect(place.folder / "bare.sqlite", isolation_level=None)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA wal_autocheckpoint = 0")
            database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
            # SQLite writes at least two frames, so only the rest is text
            text = "x" * max(size - 8240, 1)

            def commit() -> None:
                database.execute("BEGIN IMMEDIATE")
                database.execute("INSERT OR REPLACE INTO t VALUES (1, ?)", (text,))
                database.execute("COMMIT")

            process = memory.read(path)
            own: dict[str, list[float]] = {"engine": [], "engine with its store": []}
            calls = {}
            for name, opened in (("engine", memory), ("engine with its store", disk)):
                calls[name] = Timed(opened._connections["twilio"])
                opened._connections["twilio"] = calls[name]  # type: ignore[assignment]

            def finish(name: str, case: Any, started: float) -> None:
                case.run()
                own[name].append(time.perf_counter() - started - calls[name].seconds)
                assert case.status == "finished"

            def engine() -> None:
                started = time.perf_counter()
                finish("engine", memory.start(process), started)

            # Start the cases before the measurement: only the two commits of the task are measured.
            cases = [disk.start(path) for _ in range(rounds + 1)]

            def stored() -> None:
                finish("engine with its store", cases.pop(), time.perf_counter())

            times = alternate(
                {
                    "bare SpiffWorkflow": spiff,
                    "bare commit": commit,
                    "engine": engine,
                    "engine with its store": stored,
                },
                rounds,
            )
    what = "a case of one service task"
    report.times(what, times)
    cost = {name: statistics.quantiles(values)[0] for name, values in {**times, **own}.items()}
    allowed = 2 * cost["bare SpiffWorkflow"] + 2 * cost["bare commit"]
    value = cost["engine"] / cost["bare SpiffWorkflow"]
    report.verdict(what, "beside the call, against SpiffWorkflow", value, "≤", 1.5)
    value = cost["engine with its store"] / allowed
    report.verdict(what, "with the store, against twice that and two commits", value, "≤", 1)


if __name__ == "__main__":
    command(polling, loops, at_once, monthly_report, waiting, one_task)()
