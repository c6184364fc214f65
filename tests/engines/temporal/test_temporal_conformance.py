"""The processes of the table on a cluster. All later versions must replay their histories."""

import asyncio
import json
import os
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory

from connector_engines import bpmn
from connector_engines.temporal import Cases, connect
from connector_engines.temporal.workflow import NAME, SCRIPT_NAMES, CaseWorkflow
from tests.engines.conformance import table
from tests.engines.temporal import cluster
from twilio_sandbox import Sandbox

HISTORIES = cluster.ROOT / "tests" / "engines" / "temporal" / "histories"
RECORD = "RECORD_HISTORIES" in os.environ


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(step_seconds=0.05) as running:
        yield running


@pytest.fixture(scope="module")
def serving(server, sandbox, tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    config = cluster.configuration(folder, {**sandbox.settings, **table.SETTINGS})
    with cluster.worker(server.address, config, queue="conformance"):
        yield


@pytest.fixture(scope="module", autouse=True)
def script_names(twilio_folder):
    """A replay has no worker, so it must be told which names scripts may use."""
    SCRIPT_NAMES["conformance"] = bpmn.script_names({"twilio": twilio_folder})
    yield
    del SCRIPT_NAMES["conformance"]


async def stands(case):
    """Wait until a case can't continue by itself, and return what `show` returns."""
    while True:
        shown = await case.show()
        waits = shown["tasks"] or shown["waits_for"]
        moves = shown["status"] == "running" or (shown["status"] == "waiting" and not waits)
        if not moves:
            return shown
        # There is no event for this state of a case
        await asyncio.sleep(0.05)


async def act(case, kind, arguments, sandbox, connector):
    if kind == "settle":
        sid = table.output_of(sandbox, arguments[0]["text"])
        with connector.connect(sandbox.settings) as connection:
            await case.settle(connection.run("get_sms_information", {"sid": sid}))
    elif kind in ("message", "signal"):
        assert await getattr(case, kind)(*arguments)
    else:
        await getattr(case, kind)(*arguments)


@pytest.mark.parametrize("entry", table.entries(), ids=table.label)
def test_process_comes_to_what_the_table_says(entry, serving, server, sandbox, twilio_folder, name):
    table.prepare(sandbox, entry)

    async def run():
        client = await connect(server.address)
        cases = Cases(client, task_queue="conformance", connectors={"twilio": twilio_folder})
        case = await cases.start(entry.file, entry.data, id=name)
        shown = await finished_or_stands(case, entry)
        stood, error = shown["status"], shown["error"]
        for kind, *arguments in entry.people:
            await act(case, kind, arguments, sandbox, twilio_folder)
        if entry.status == "finished":
            await case.result()
        shown = await case.show()
        late = [result["element"] for result in shown["late"]]
        outcome = table.Outcome(stood, error, shown["status"], shown["data"], late)
        table.judge(sandbox, entry, outcome)
        return await case.workflow.fetch_history()

    history = asyncio.run(run())
    if RECORD:
        record(history, table.label(entry))
    asyncio.run(cluster.replay(history))


async def finished_or_stands(case, entry):
    if not entry.people and entry.status == "finished":
        await case.result()
        return await case.show()
    return await stands(case)


@pytest.mark.parametrize("example", ["notify_customer", "monthly_report"])
def test_example_runs_on_the_cluster(example, serving, server, sandbox, twilio_folder, name):
    sandbox.reset()
    customer = {"name": "Clinic 24", "phone": "+14155550123"}
    data = {"notify_customer": {"customer": customer, "poll_seconds": 0.05}, "monthly_report": {}}

    async def run():
        client = await connect(server.address)
        cases = Cases(client, task_queue="conformance", connectors={"twilio": twilio_folder})
        path = cluster.ROOT / "examples" / f"{example}.bpmn"
        case = await cases.start(path, data[example], id=name)
        return await case.result(), await case.workflow.fetch_history()

    result, history = asyncio.run(run())
    expected = {"notify_customer": "outcome", "monthly_report": "report"}[example]
    assert expected in result
    if RECORD:
        record(history, example)


def record(history, name):
    """Record a history without the name of the machine that it ran on."""
    fields = history.to_json_dict()
    for value in objects(fields):
        if "identity" in value:
            value["identity"] = "worker"
    HISTORIES.mkdir(exist_ok=True)
    text = json.dumps(fields, separators=(",", ":"))
    (HISTORIES / f"{name}.json").write_text(text + "\n", "utf-8")


def objects(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from objects(item)


KEPT = sorted(HISTORIES.glob("*.json"))


def test_there_is_a_history_of_every_process_and_example():
    labels = {table.label(entry) for entry in table.entries()}
    examples = {path.stem for path in (cluster.ROOT / "examples").glob("*.bpmn")}
    # It was drawn for Arena, whose results have other names
    examples.remove("notify_customer_arena")
    assert {path.stem for path in KEPT} >= labels | examples


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_history_is_replayed(path):
    """If this fails, a change would break running cases: put it behind `workflow.patched`.

    Record the histories again only before a first release, or for a new process in the table:
    RECORD_HISTORIES=1 pytest tests/engines/temporal/test_temporal_conformance.py
    """
    history = WorkflowHistory.from_json(path.stem, path.read_text("utf-8"))
    asyncio.run(cluster.replay(history))


def test_kept_histories_name_no_machine_and_no_setting():
    for path in KEPT:
        text = path.read_text("utf-8")
        named = {record["identity"] for record in objects(json.loads(text)) if "identity" in record}
        assert named == {"worker"}
        assert "@" not in text
        assert "auth" + "Token" not in text
        assert str(cluster.ROOT) not in text


@workflow.defn(name=NAME, sandboxed=False)
class WithPatch(CaseWorkflow):
    """The rules of a later version: its new cases wait a second before they begin."""

    @workflow.init
    def __init__(self, process: bytes, begin: Any, parts: bytes | None = None) -> None:
        super().__init__(process, begin, parts)

    @workflow.run
    async def run(self, process: bytes, begin: Any, parts: bytes | None = None) -> Any:
        if workflow.patched("wait-first"):
            await workflow.sleep(1)
        return await CaseWorkflow.run(self, process, begin, parts)


@workflow.defn(name=NAME, sandboxed=False)
class WithoutPatch(WithPatch):
    """The same change without `workflow.patched`."""

    @workflow.init
    def __init__(self, process: bytes, begin: Any, parts: bytes | None = None) -> None:
        super().__init__(process, begin, parts)

    @workflow.run
    async def run(self, process: bytes, begin: Any, parts: bytes | None = None) -> Any:
        await workflow.sleep(1)
        return await CaseWorkflow.run(self, process, begin, parts)


def test_old_history_replays_with_a_change_that_is_marked_and_not_with_one_that_is_not():
    history = WorkflowHistory.from_json("send", (HISTORIES / "send.json").read_text("utf-8"))
    asyncio.run(cluster.replay(history, WithPatch))
    with pytest.raises(workflow.NondeterminismError):
        asyncio.run(cluster.replay(history, WithoutPatch))
