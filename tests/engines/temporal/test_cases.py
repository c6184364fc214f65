"""Long cases, wrong input, workers without a connector, two versions at once."""

import asyncio
import json
import random
import shutil
import subprocess
import sys
from base64 import b64encode

import pytest

from connector_engines.temporal import Cases, InvalidProcess, connect
from connector_runtime import load
from connector_runtime.errors import InvalidInput
from tests.conftest import copy_tree, free_port
from tests.engines.conformance.table import FOLDER
from tests.engines.drawing import document, flows, loop, script, service
from tests.engines.temporal import cluster

NOTIFY = cluster.ROOT / "examples" / "notify_customer.bpmn"
SEND = FOLDER / "processes" / "send.bpmn"


def sends(is_sequential):
    return (
        service("send", to="'+14155550123'", body="str(number)", loop=loop(is_sequential)),
        '<bpmn:userTask id="ask" />',
        flows("start>send>ask>end"),
    )


# A parallel loop begins so many calls that the history exceeds its limit of events before the first
# call ends.
@pytest.mark.parametrize(
    ("is_sequential", "count", "least"),
    [("true", 30, 4), ("false", 60, 2)],
    ids=["one by one", "at once"],
)
def test_long_case_goes_on_in_new_histories_with_all_that_is_under_way(
    program, config, sandbox, name, bpmn_file, twilio_folder, is_sequential, count, least
):
    path, numbers = bpmn_file(*sends(is_sequential)), list(range(count))

    # A worker makes 32 calls at a time, so others are running when the first ones end.
    sandbox.fail("slow", method="POST", times=None, seconds=0.2)

    async def run(address):
        client = await connect(address)
        cases = Cases(client, task_queue=name, connectors={"twilio": twilio_folder})
        case = await cases.start(path, {"numbers": numbers}, id=name)
        await wait_for_task(case)
        await case.complete("ask", {"answer": "yes"})
        data = await case.result()
        return data, await all_histories(client, name)

    suggest = ["limit.historyCount.suggestContinueAsNew=40"]
    with (
        cluster.Server(dynamic=suggest) as server,
        cluster.worker(server.address, config, queue=name),
    ):
        data, histories = asyncio.run(run(server.address))
        assert len(data["results"]) == count
        assert data["answer"] == "yes"
        assert sorted(int(message["body"]) for message in sandbox.messages) == numbers
        assert len(histories) >= least
        for history in histories:
            asyncio.run(cluster.replay(history))


def test_case_that_is_too_large_for_a_new_history_stops_and_says_so(
    program, config, sandbox, name, bpmn_file, twilio_folder
):
    path = bpmn_file(
        '<bpmn:userTask id="ask" />',
        service("send", to="'+14155550123'", body="str(number)", loop=loop("true")),
        flows("start>ask>send>end"),
    )
    # Random data can't be compressed much
    chance = random.Random(1)
    first, second = (b64encode(chance.randbytes(1_100_000)).decode() for _ in range(2))

    async def run(address):
        client = await connect(address)
        cases = Cases(client, task_queue=name, connectors={"twilio": twilio_folder})
        case = await cases.start(path, {"numbers": list(range(30)), "first": first}, id=name)
        await wait_for_task(case)
        await case.complete("ask", {"second": second})
        while (shown := await case.show())["status"] in ("waiting", "running"):
            await asyncio.sleep(0.05)
        return shown

    suggest = ["limit.historyCount.suggestContinueAsNew=40"]
    with (
        cluster.Server(dynamic=suggest) as server,
        cluster.worker(server.address, config, queue=name),
    ):
        shown = asyncio.run(run(server.address))
    assert shown["error"]["code"] == "TOO_LARGE", shown["error"]
    assert 0 < len(sandbox.messages) < 30


async def all_histories(client, name):
    """Every history of a case, the last one first. The server's list may show them late."""
    run_id, histories = None, []
    while run_id != "":
        history = await client.get_workflow_handle(name, run_id=run_id).fetch_history()
        histories.append(history)
        begun = history.events[0].workflow_execution_started_event_attributes
        run_id = begun.continued_execution_run_id
    return histories


async def wait_for_task(case):
    while not (await case.show())["tasks"]:
        await asyncio.sleep(0.05)


def test_worker_without_the_connector_leaves_the_case_waiting_and_says_so(
    server, config, sandbox, on_cluster, name, tmp_path
):
    newer = other_version(tmp_path, "1.7.0")

    async def run(cases):
        cases.connectors["twilio"] = load(newer)
        case = await cases.start(SEND, {"name": "Ana"}, id=name)
        with cluster.worker(server.address, config, queue=name):
            while not (held := (await case.show())["held"]):
                await asyncio.sleep(0.05)
            assert (await case.show())["status"] == "running"
        with cluster.worker(server.address, config, queue=name, identity="newer", connector=newer):
            return held, await case.result()

    held, data = on_cluster(run, queue=name)
    assert [(call["element"], call["why"]) for call in held] == [
        ("send", "this worker has twilio 1.0.0, the case needs 1.7.0")
    ]
    assert data["sms"]["body"] == "Hola Ana"
    assert len(sandbox.messages) == 1


def test_two_versions_serve_two_task_queues_at_once(
    server, config, sandbox, on_cluster, name, tmp_path
):
    newer = other_version(tmp_path, "2.0.0")

    async def run(cases):
        old, new = cases, Cases(cases.client, task_queue="new", connectors={"twilio": load(newer)})
        started = [
            await release.start(
                SEND, {"name": release.task_queue}, id=f"{name}-{release.task_queue}"
            )
            for release in (old, new)
        ]
        results = [await case.result() for case in started]
        histories = [await case.workflow.fetch_history() for case in started]
        return results, [list(identities(history)) for history in histories]

    with (
        cluster.worker(server.address, config, queue="old", identity="old"),
        cluster.worker(server.address, config, queue="new", identity="new", connector=newer),
    ):
        results, named = on_cluster(run, queue="old")
    assert [data["sms"]["body"] for data in results] == ["Hola old", "Hola new"]
    assert [set(workers) for workers in named] == [{"old"}, {"new"}]


def identities(history):
    for event in history.events:
        if event.HasField("activity_task_started_event_attributes"):
            yield event.activity_task_started_event_attributes.identity


def other_version(folder, version):
    """A copy of the connector with another version."""
    copy = folder / version
    for part in ("actions", "auth", "schemas"):
        copy_tree(cluster.ROOT / part, copy / part)
    manifest = json.loads((cluster.ROOT / "connector.json").read_text("utf-8"))
    (copy / "connector.json").write_text(json.dumps({**manifest, "version": version}), "utf-8")
    shutil.copy(cluster.ROOT / "icon.png", copy)
    return copy


def test_file_that_cannot_run_is_refused_before_a_workflow_starts(on_cluster, name, bpmn_file):
    path = bpmn_file(service(operator="twilio/send_fax"), flows("start>send>end"))

    async def run(cases):
        with pytest.raises(InvalidProcess, match="send_fax"):
            await cases.start(path, id=name)
        return await cases.client.count_workflows(f"WorkflowId = '{name}'")

    assert on_cluster(run).count == 0


def test_used_id_is_refused(on_cluster, name):
    async def run(cases):
        await cases.start(SEND, {"name": "Ana"}, id=name)
        with pytest.raises(InvalidInput, match="already"):
            await cases.start(SEND, {"name": "Ana"}, id=name)

    on_cluster(run, queue="nobody")


WORKER = """
import asyncio, json, os, sys
from connector_engines.temporal import Cases, Worker, connect
from connector_runtime import load

async def main(address, queue, path, settings):
    client, twilio = await connect(address), {"twilio": load(".")}
    more = {"settings": json.loads(settings), "script_names": {"shout": str.upper}}
    async with Worker(client, task_queue=queue, connectors=twilio, **more):
        cases = Cases(client, task_queue=queue, connectors=twilio)
        case = await cases.start(path, {"text": "hola"}, id=queue)
        print((await case.result())["text"])

asyncio.run(main(*sys.argv[1:]))
sys.stdout.flush()
os._exit(0)  # threads of the SDK may still run, and keep Python from ending
"""


def test_scripts_may_use_the_names_that_a_worker_is_given(server, sandbox, name, tmp_path):
    path = tmp_path / "shout.bpmn"
    path.write_text(document(script("louder", "text = shout(text)"), flows("start>louder>end")))
    settings = json.dumps({"twilio": sandbox.settings})
    line = [sys.executable, "-c", WORKER, server.address, name, str(path), settings]
    environ = {**cluster.environ(), "PYTHONHASHSEED": "0"}
    options = {"cwd": cluster.ROOT, "env": environ, "capture_output": True, "text": True}
    done = subprocess.run(line, timeout=200, check=False, **options)
    assert done.stdout == "HOLA\n", done.stderr


def test_process_ends_with_its_own_status_and_not_with_a_crash_of_the_sdk(server):
    line = cluster.command("show", "no-such-case", address=server.address)
    assert [run_line(line).returncode for _ in range(12)] == [2] * 12


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["show", "no-such-case"], 2, "Temporal does not know this case"),
        (["show", "case", "--namespace", "elsewhere"], 2, "elsewhere"),
        (["start", "missing.bpmn", "--id", "x", "--task-queue", "q"], 2, "can't be read"),
        (["start", SEND, "--id", "x", "--task-queue", "q", "--data", "[1]"], 2, "JSON object"),
        (["worker", "--task-queue", "q", "--namespace", "elsewhere"], 2, "elsewhere"),
        (["show", "case", "--key-file", "missing"], 2, "--key-file"),
    ],
    ids=["no-case", "namespace", "no-file", "data", "worker-namespace", "no-keys"],
)
def test_wrong_input_is_one_sentence_and_an_exit_status(server, config, arguments, status, says):
    more = ["--config", config] if arguments[0] == "worker" else []
    line = cluster.command(*arguments, *more, address=server.address)
    done = run_line(line)
    assert (done.returncode, says in done.stderr) == (status, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_unreachable_server_is_one_sentence_and_an_exit_status():
    line = cluster.command("show", "case", address=f"127.0.0.1:{free_port()}")
    done = run_line(line)
    assert done.returncode == 2
    assert "no Temporal server can be reached at '127.0.0.1:" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def run_line(line):
    more = {"cwd": cluster.ROOT, "env": cluster.environ(), "timeout": 200}
    return subprocess.run(line, check=False, capture_output=True, text=True, **more)


def test_command_line_starts_shows_and_completes(server, config, sandbox, name):
    path = FOLDER / "processes" / "user_task.bpmn"
    address = {"address": server.address}
    with cluster.worker(server.address, config, queue=name):
        start = cluster.command("start", path, "--id", name, "--task-queue", name, **address)
        assert run_line(start).stdout.strip() == name
        shown = json.loads(run_line(cluster.command("show", name, **address)).stdout)
        assert (shown["status"], shown["tasks"][0]["element"]) == ("waiting", "ask")
        data = json.dumps({"text": "Adios"})
        line = cluster.command("complete", name, "ask", "--data", data, **address)
        assert run_line(line).returncode == 0
        late = run_line(cluster.command("message", name, "nothing", **address))
        assert late.returncode != 0
    assert [message["body"] for message in sandbox.messages] == ["Adios"]


def test_worker_with_random_hashes_is_refused():
    program = (
        "from connector_engines.temporal import Worker\n"
        "try: Worker(None, task_queue='q', connectors={})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    environ = {**cluster.environ(), "PYTHONHASHSEED": "random"}
    line = [sys.executable, "-c", program]
    done = subprocess.run(
        line, check=True, cwd=cluster.ROOT, env=environ, capture_output=True, text=True
    )
    assert done.stdout.startswith("InvalidConfiguration a worker needs")
