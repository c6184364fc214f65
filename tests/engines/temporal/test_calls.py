"""Attempts of a call: the first one, one after the worker has died, and one of another case."""

import asyncio
import contextlib
import dataclasses
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
import temporalio.worker
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from connector_engines.temporal import connect
from connector_engines.temporal.activities import Calls
from connector_engines.temporal.claims import call_id, claim
from connector_engines.temporal.workflow import CALL, CaseWorkflow
from connector_runtime.errors import InvalidInput, OutcomeUnknown
from tests.engines.conformance.table import FOLDER, SETTINGS
from tests.engines.temporal import cluster

SEND = {"to": "+14155550123", "body": "Hola"}
RESEND = 120


@pytest.fixture
def calling(server, sandbox, twilio_folder):
    """Run `do(attempt)` with a worker's calls. `attempt` runs one attempt of an activity."""

    def run(do, **more):
        settings = {**sandbox.settings, "maxAttempts": 1, "resolveSeconds": 1, **more}

        async def connected():
            client = await connect(server.address)
            made = Calls(client, {"twilio": twilio_folder}, {"twilio": settings}, threads=4)
            with contextlib.closing(made) as calls:
                return await do(lambda *given, **named: attempt(calls, *given, **named))

        return asyncio.run(connected())

    return run


async def attempt(
    calls,
    case,
    number=1,
    *,
    action="send_sms",
    inputs=SEND,
    ago=0.0,
    since=None,
    beats=None,
    **more,
):
    environment = ActivityEnvironment(client=calls.client)
    scheduled = datetime.now(timezone.utc) - timedelta(seconds=ago)
    environment.info = dataclasses.replace(
        environment.info,
        workflow_id=case,
        activity_id="1",
        attempt=number,
        scheduled_time=scheduled,
        task_queue="nobody",
    )
    if beats is not None:
        environment.on_heartbeat = lambda *_: beats.append(1)
    request = {
        "task": "task",
        "operator": f"twilio/{action}",
        "inputs": inputs,
        "version": None,
        "since": since,
        "resend": False,
        **more,
    }
    return await environment.run(calls.call, request)


def ago(seconds):
    return datetime.now(timezone.utc).timestamp() - seconds


def test_first_attempt_sends_at_once_and_beats(calling, sandbox, name):
    beats = []
    result = calling(lambda attempt: attempt(name, beats=beats))
    assert [result["output"]["sid"]] == [message["sid"] for message in sandbox.messages]
    assert beats


def test_second_attempt_adopts_what_the_first_one_made(calling, sandbox, name):
    sandbox.add(SEND)
    result = calling(lambda attempt: attempt(name, 2, ago=3))
    assert [result["output"]["sid"]] == [message["sid"] for message in sandbox.messages]


def test_second_attempt_adopts_nothing_from_before_it_was_scheduled(calling, sandbox, name):
    sandbox.add(
        {**SEND, "date_created": format_datetime(datetime.fromtimestamp(ago(180), timezone.utc))}
    )
    result = calling(lambda attempt: attempt(name, 2, ago=60))
    assert (result["error"]["code"], result["error"]["candidates"]) == ("OUTCOME_UNKNOWN", [])
    assert len(sandbox.messages) == 1


def test_second_attempt_sends_nothing_where_nothing_is_found(calling, sandbox, name):
    result = calling(lambda attempt: attempt(name, 2), resendAfterSeconds=RESEND)
    assert result["error"]["outcome"] == "unknown"
    # The case decides whether to send again, so it gets this value
    assert result["resend_after_seconds"] == RESEND
    assert not sandbox.messages


@pytest.mark.parametrize(
    ("number", "leave", "sent"),
    [(1, True, 1), (1, False, 0), (2, True, 0)],
    ids=["with-leave", "without-leave", "after-one-that-had-leave"],
)
def test_what_was_not_found_is_sent_again_by_leave_and_once(
    calling, sandbox, name, number, leave, sent
):
    """A worker may die just after it sent again, and the service may list that message late."""

    def do(attempt):
        return attempt(name, number, since=ago(RESEND + 5), resend=leave)

    result = calling(do, resendAfterSeconds=RESEND)
    assert ("output" in result) == (sent == 1)
    assert len(sandbox.messages) == sent


def test_read_is_made_again(calling, sandbox, name):
    message = sandbox.add(SEND) or sandbox.messages[0]

    async def do(attempt):
        asked = {"action": "get_sms_information", "inputs": {"sid": message["sid"]}}
        return [await attempt(name, number, **asked) for number in (1, 2)]

    assert [result["output"]["sid"] for result in calling(do)] == [message["sid"]] * 2


def test_two_cases_that_lost_the_same_text_do_not_adopt_one_message(calling, sandbox, name):
    sandbox.add(SEND)

    # Each has its own connections, like two workers.
    results = [calling(lambda attempt, c=c: attempt(f"{name}-{c}", 2, ago=3)) for c in range(2)]
    assert results[0]["output"]["sid"] == sandbox.messages[0]["sid"]
    assert (results[1]["error"]["code"], results[1]["error"]["candidates"]) == (
        "OUTCOME_UNKNOWN",
        [],
    )


def test_message_that_another_case_has_sent_is_not_adopted(calling, sandbox, name):
    calling(lambda attempt: attempt(f"{name}-first"))
    result = calling(lambda attempt: attempt(f"{name}-second", 2, ago=3))
    assert (result["error"]["code"], result["error"]["candidates"]) == ("OUTCOME_UNKNOWN", [])
    assert len(sandbox.messages) == 1


def test_message_to_the_same_number_that_another_case_has_sent_leaves_no_doubt(
    calling, sandbox, name
):
    """The text differs, so the service may have changed it. But another call has claimed it."""
    calling(lambda attempt: attempt(f"{name}-first", inputs={**SEND, "body": "Adios"}))

    def do(attempt):
        return attempt(f"{name}-second", since=ago(RESEND + 5), resend=True)

    assert calling(do, resendAfterSeconds=RESEND)["output"]["body"] == "Hola"
    assert len(sandbox.messages) == 2


def test_call_whose_message_was_adopted_by_another_says_so(
    calling, sandbox, server, name, answer_now
):
    """Without this, two calls could continue with the same message if one claims it late."""
    sandbox.fail("slow", method="POST", times=1, seconds=60)

    async def do(attempt):
        sending = asyncio.create_task(attempt(name))
        await cluster.until(lambda: sandbox.messages)
        (message,) = sandbox.messages
        client = await connect(server.address)
        assert await claim(client, "nobody", "twilio", message["sid"], "another/task")
        answer_now()
        return await sending

    assert calling(do)["error"]["code"] == "OUTCOME_UNKNOWN"


def test_same_call_claims_again_what_it_has(calling, sandbox, name):
    """Its worker may have died between the claim and the answer to Temporal."""
    calling(lambda attempt: attempt(name))
    result = calling(lambda attempt: attempt(name, 2, ago=3))
    assert result["output"]["sid"] == sandbox.messages[0]["sid"]


def test_worker_that_is_given_its_own_call_again_does_not_look(calling, sandbox, name):
    async def do(attempt):
        first = await attempt(name)
        sandbox.fail("error", method="GET", times=None)
        return first, await attempt(name, 2)

    first, second = calling(do)
    assert first == second
    assert len(sandbox.messages) == 1


def test_settled_message_of_another_case_is_refused(
    server, sandbox, on_cluster, name, twilio_folder, tmp_path
):
    path = FOLDER / "processes" / "unknown.bpmn"
    config = cluster.configuration(tmp_path, {**sandbox.settings, **SETTINGS})
    sandbox.add({**SEND, "to": "+14155550124"})
    sid = sandbox.messages[0]["sid"]

    async def run(cases):
        sandbox.fail("reset_before", method="POST", times=1)
        case = await cases.start(path, {"text": "Hola"}, id=name)
        while (await case.show())["status"] != "interrupted":
            await asyncio.sleep(0.05)
        await claim(cases.client, name, "twilio", sid, call_id("another", "task"))
        with twilio_folder.connect(sandbox.settings) as connection:
            output = connection.run("get_sms_information", {"sid": sid})
        with pytest.raises(InvalidInput, match="another call"):
            await case.settle(output)
        return await case.workflow.query(CaseWorkflow.show)

    with cluster.worker(server.address, config, queue=name):
        assert on_cluster(run, queue=name)["status"] == "interrupted"


def test_call_in_doubt_is_asked_for_again_since_when_it_began(server, on_cluster, name):
    """What the workflow passes to its activity. The activity itself is tested above."""
    requests = []

    @activity.defn(name=CALL)
    async def call(request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        if len(requests) == 1:
            return {"error": OutcomeUnknown("made up").to_dict(), "resend_after_seconds": 0.1}
        return {"output": {"sid": "made up"}}

    async def run(cases):
        started = datetime.now(timezone.utc).timestamp()
        worker = {"task_queue": name, "workflows": [CaseWorkflow], "activities": [call]}
        async with temporalio.worker.Worker(cases.client, **worker):
            case = await cases.start(FOLDER / "processes" / "unknown.bpmn", {"text": "x"}, id=name)
            await case.result()
        return started

    started = on_cluster(run, queue=name)
    first, second = requests
    assert (first["since"], first["resend"]) == (None, False)
    assert started - 5 < second["since"] < started + 20
    assert second["resend"]
    assert second["inputs"] == first["inputs"]
