"""Cases that are saved as text, stored in SQLite, killed and resumed in another process."""

import concurrent.futures
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from connector_engines.embedded import CaseStopped, Engine, StoreInUse
from connector_engines.embedded.store import StoreFailed, listing
from connector_runtime.errors import InvalidConfiguration, InvalidInput
from tests.conftest import ROOT
from tests.engines import endurance
from tests.engines.drawing import boundary, flows, loop, pause, script, service
from twilio_sandbox import Sandbox

BEGUN = '"state": "begun"'
SIMPLE = (service(), flows("start>send>end"))
PAUSE = """<bpmn:intermediateCatchEvent id="pause"><bpmn:timerEventDefinition id="timer">
  <bpmn:timeDuration xsi:type="bpmn:tFormalExpression">"PT0.05S"</bpmn:timeDuration>
  </bpmn:timerEventDefinition></bpmn:intermediateCatchEvent>"""


@pytest.fixture
def settings(sandbox):
    return {
        "twilio": {**sandbox.settings, "timeoutSeconds": 20, "maxAttempts": 1, "resolveSeconds": 0}
    }


@pytest.fixture
def store(tmp_path):
    return tmp_path / "cases.sqlite"


@pytest.fixture
def opened(twilio_folder, settings, store):
    """Open an engine with the test's store. A test may do this several times."""

    def open_engine(**options):
        return Engine({"twilio": twilio_folder}, settings, store=store, **options)

    return open_engine


class Stop(BaseException):
    """Ends a run in the same way as Ctrl-C."""


def stop_at(element, what):
    def watch(case, reached, name, happened):
        if (reached, happened) == (element, what):
            raise Stop

    return watch


def test_case_goes_on_from_every_point_at_which_it_was_saved(twilio_folder):
    texts = []

    def watch(case, element, name, what):
        text = case.save()
        texts.append((text, BEGUN in text and "sms" not in case.data))

    with Sandbox(step_seconds=0.01) as sandbox:
        settings = {"twilio": {**sandbox.settings, "resolveSeconds": 0}}
        with Engine({"twilio": twilio_folder}, settings, watch=watch) as engine:
            case = engine.start(endurance.NOTIFY, endurance.data(1))
            texts.append((case.save(), False))
            case.run()
        assert len(texts) > 10
        assert {sending for _, sending in texts} == {True, False}
        # First the cases whose send had begun: the other cases send the same text once more.
        for text, sending in sorted(texts, key=lambda pair: not pair[1]):
            assert sandbox.auth_token not in text
            before = len(sandbox.messages)
            with Engine({"twilio": twilio_folder}, settings) as engine:
                loaded = engine.load_case(text)
                assert loaded.id == case.id
                engine.run([loaded])
                assert loaded.status == "finished", loaded.error
                assert loaded.data["outcome"] == "delivered"
            # A send that had begun was found, not sent again
            assert not sending or len(sandbox.messages) == before


@pytest.mark.parametrize("sequential", ["true", "false"], ids=["sequential", "parallel"])
def test_loop_goes_on_from_every_point_at_which_it_was_saved(
    twilio_folder, settings, sandbox, bpmn, sequential
):
    numbers = [f"+1415555012{digit}" for digit in range(4)]
    texts = []

    def watch(case, element, name, what):
        texts.append((case.save(), len(sandbox.messages)))

    process = bpmn(
        service(to="number", body="'Hola'", loop=loop(sequential)), flows("start>send>end")
    )
    with Engine({"twilio": twilio_folder}, settings, watch=watch) as engine:
        case = engine.start(process, {"numbers": numbers})
        texts.append((case.save(), 0))
        case.run()
    finished = 0
    for text, before in texts:
        had = len(sandbox.messages)
        with Engine({"twilio": twilio_folder}, settings) as engine:
            loaded = engine.load_case(text)
            engine.run([loaded])
        if BEGUN in text:
            # The cases of the other texts have sent the same text in the meantime
            assert loaded.status in ("finished", "interrupted")
        else:
            assert loaded.status == "finished", loaded.error
            assert sorted(result["to"] for result in loaded.data["results"]) == numbers
            finished += 1
            # Each message was sent once
            assert before + len(sandbox.messages) - had == len(numbers)
    assert 0 < finished < len(texts)


def test_saved_case_needs_no_file_of_its_process(twilio_folder, settings, bpmn):
    path = bpmn(*SIMPLE)
    with Engine({"twilio": twilio_folder}, settings) as engine:
        text = engine.start(path).save()
    path.unlink()
    with Engine({"twilio": twilio_folder}, settings) as engine:
        case = engine.load_case(text)
        case.run()
        assert case.status == "finished"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', "null"])
def test_text_that_is_no_saved_case_is_refused(twilio_folder, settings, text):
    with (
        Engine({"twilio": twilio_folder}, settings) as engine,
        pytest.raises(ValueError, match="no saved case"),
    ):
        engine.load_case(text)


def test_saved_case_is_not_loaded_beside_itself(opened, bpmn):
    with opened() as engine:
        case = engine.start(bpmn(*SIMPLE))
        text = case.save()
        with pytest.raises(ValueError, match="in the store, already"):
            engine.load_case(text)
    with opened() as engine, pytest.raises(ValueError, match="in the store, already"):
        engine.load_case(text)


def test_case_is_in_the_store_before_it_runs(opened, bpmn, store):
    with opened() as engine:
        case = engine.start(bpmn(*SIMPLE), {"customer": "Clinic 24"})
    (row,) = listing(store)
    assert (row["id"], row["status"], row["name"]) == (case.id, "running", "case")


def test_call_is_noted_before_it_begins_and_its_result_before_the_next(
    opened, bpmn, store, sandbox
):
    seen = []

    def state():
        database = sqlite3.connect(store)
        texts = [text for (text,) in database.execute("SELECT content FROM parts")]
        database.close()
        return " ".join(texts).replace('":"', '": "')

    class Watching:
        """A connection that reads the store during a call."""

        def __init__(self, connection):
            self.connection = connection

        def run(self, action, inputs, **options):
            seen.append((action, BEGUN in state(), '"sms"' in state()))
            return self.connection.run(action, inputs, **options)

        def close(self):
            self.connection.close()

    with opened() as engine:
        engine._connections["twilio"] = Watching(engine._connections["twilio"])
        case = engine.start(
            bpmn(
                service(),
                service("look", "twilio/get_sms_information", "found", sid="sms['sid']"),
                flows("start>send>look>end"),
            )
        )
        case.run()
    assert seen == [("send_sms", True, False), ("get_sms_information", True, True)]
    (row,) = listing(store)
    assert row["status"] == "finished"


def test_no_secret_is_in_the_store(opened, bpmn, store, sandbox, settings):
    with opened() as engine:
        engine.run([engine.start(bpmn(*SIMPLE))])
    for path in store.parent.glob("cases.sqlite*"):
        assert sandbox.auth_token.encode() not in path.read_bytes()


def test_waiting_case_is_resumed(opened, bpmn, sandbox):
    after = script("after", "way = 'after'")
    path = bpmn(service(), PAUSE, after, flows("start>send>pause>after>end"))
    with opened(watch=stop_at("send", "done")) as engine:
        case = engine.start(path)
        with pytest.raises(Stop):
            case.run()
    with opened() as engine:
        (resumed,) = engine.resume()
        assert resumed.id == case.id
        resumed.run()
        assert resumed.data["way"] == "after"
        assert list(engine.resume()) == []
    assert len(sandbox.messages) == 1


def test_resume_returns_open_cases_as_they_are(opened, bpmn):
    with opened() as engine:
        case = engine.start(bpmn(*SIMPLE))
        assert list(engine.resume()) == [case]


def test_failed_case_stays_failed_until_it_is_retried(opened, bpmn, sandbox, sent):
    sandbox.fail("throttle", method="POST")
    with opened() as engine:
        case = engine.start(bpmn(*SIMPLE))
        with pytest.raises(CaseStopped):
            case.run()
    with opened() as engine:
        (case,) = engine.resume()
        assert case.status == "failed"
        assert case.error["code"] == "THROTTLED"
        engine.run([case])
        assert len(sent()) == 1
        case.retry()
        case.run()
        assert case.status == "finished"
    assert len(sandbox.messages) == 1


def test_retries_are_counted_across_processes(opened, bpmn, sandbox, sent):
    sandbox.fail("throttle", method="POST", times=None)
    path = bpmn(service(retry=(2, 0)), flows("start>send>end"))
    with opened(watch=lambda *_: None) as engine:
        case = engine.start(path)
        engine._watch = stop_at("send", "THROTTLED, again in 0 s")
        with pytest.raises(Stop):
            case.run()
    with opened() as engine:
        (case,) = engine.resume()
        engine.run([case])
        assert case.status == "failed"
    assert len(sent()) == 3


@pytest.mark.parametrize("has_left", [True, False], ids=["on its way", "just begun"])
def test_interruption_waits_for_the_calls_under_way_and_keeps_them(
    opened, bpmn, sandbox, sent, has_left
):
    sandbox.fail("slow", method="POST", seconds=0.3)

    def watch(case, element, name, what):
        if (element, what) == ("send", "begins"):
            while has_left and not sent():
                time.sleep(0.01)
            raise Stop

    with opened(threads=1, watch=watch) as engine:
        cases = [engine.start(bpmn(*SIMPLE)) for _ in range(2)]
        with pytest.raises(Stop):
            engine.run(cases)
        assert [case.status for case in cases] == ["running", "running"]
        begun = [call.since for case in cases for call in case.rules.calls.values()]
        # A call that was never made has no `since`
        assert begun == [None] * (1 if sent() else 2)
    assert len(sent()) in ([1] if has_left else [0, 1])
    with opened() as engine:
        cases = list(engine.resume())
        engine.run(cases)
        assert [case.status for case in cases] == ["finished", "finished"]
    assert len(sent()) == 2


def test_case_broken_off_in_the_middle_of_a_step_is_resumed_from_the_store(
    opened, bpmn, sandbox, sent
):
    with opened() as engine:
        case = engine.start(bpmn(*SIMPLE))

        def broken_off(task, what="done"):
            if what == "done" and task.task_spec.name == "send":
                raise Stop

        case.rules._tell = broken_off
        with pytest.raises(Stop):
            case.run()
        (resumed,) = engine.resume()
        assert resumed is not case
    with opened() as engine:
        (resumed,) = engine.resume()
        engine.run([resumed])
        # Its message was found
        assert resumed.status == "finished"
    assert len(sent()) == 1


def test_second_engine_does_not_get_the_store(opened, store):
    with opened(), pytest.raises(StoreInUse, match="another process has these cases open"):
        opened()
    opened().close()


def test_store_of_a_newer_format_is_refused_by_its_number(opened, store):
    opened().close()
    database = sqlite3.connect(store)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(InvalidConfiguration, match="format 99"):
        opened()


def test_store_of_the_first_format_is_brought_to_this_one(opened, store, sandbox, twilio_folder):
    database = sqlite3.connect(store)
    database.executescript((Path(__file__).parent / "stores" / "format1.sql").read_text("utf-8"))
    database.close()
    with pytest.raises(InvalidConfiguration, match="format 1; 'resume' brings it to 2"):
        list(listing(store))
    with opened() as engine:
        cases = {case.process.name: case for case in engine.resume()}
        assert cases.keys() == {"waiting", "failed", "inside", "underway"}
        assert cases["waiting"].data["sms"]["status"] == "queued"
        assert cases["failed"].error["code"] == "REFUSED"
        engine.run(cases.values())
        assert cases["waiting"].data["way"] == "after"
        assert cases["failed"].status == "failed"
        assert cases["inside"].status == "finished"
        # Its message was stored in the other account, so it is not found here
        assert cases["underway"].status == "interrupted"
        assert sorted(message["to"] for message in sandbox.messages) == [
            "+14155550121",
            "+14155550122",
        ]
    with opened() as engine:
        assert len(engine.resume()) == 2
    assert [row["status"] for row in listing(store)].count("finished") == 3


def test_data_that_cannot_be_saved_stops_the_case_and_sends_nothing_twice(opened, bpmn, sandbox):
    path = bpmn(service(script="odd = {1: 2, (3, 4): 5}"), flows("start>send>end"))
    with opened() as engine:
        case = engine.start(path)
        with pytest.raises(CaseStopped, match="keys must be"):
            case.run()
    with opened() as engine:
        (case,) = engine.resume()
        assert case.status == "failed"
        case.retry()
        engine.run([case])
        assert (case.status, case.error["code"]) == ("failed", "PROCESS_FAULT")
    assert len(sandbox.messages) == 1


@pytest.mark.parametrize(
    "odd",
    [
        (script("odd", "odd = {(3, 4): 5}"), service(), flows("start>odd>send>end")),
        (service(to="nobody", body="'Hola'"), flows("start>send>end")),
    ],
    ids=["it can not be kept", "its inputs can not be had"],
)
def test_call_that_does_not_begin_leaves_its_thread_to_others(opened, bpmn, sandbox, odd):
    with opened(threads=1) as engine:
        cases = [engine.start(bpmn(*odd)), engine.start(bpmn(*SIMPLE))]
        engine.run(cases)
        assert [case.status for case in cases] == ["failed", "finished"]
    assert len(sandbox.messages) == 1


def test_call_that_does_not_begin_leaves_its_thread_to_those_of_another_run(opened, bpmn, sandbox):
    class Odd(dict):
        """Can't be stored. It raises only when the other run waits for the only thread."""

        def items(self):
            while not any(driver.wanted for driver in engine.drivers):
                # There is no event for this
                time.sleep(0.01)
            raise TypeError("it is odd")

    path = bpmn(script("odd", "odd = Odd(a=1)"), service(), flows("start>odd>send>end"))
    with opened(threads=1, script_names={"Odd": Odd}) as engine:
        cases = [engine.start(path), engine.start(bpmn(*SIMPLE))]
        with concurrent.futures.ThreadPoolExecutor() as runs:
            first = runs.submit(engine.run, cases[:1])
            while engine.callers.take():
                engine.callers.give()
            second = runs.submit(engine.run, cases[1:])
            first.result(), second.result()
        assert [case.status for case in cases] == ["failed", "finished"]
    assert len(sandbox.messages) == 1


def test_no_call_begins_unless_its_mark_is_kept(opened, bpmn, store, sandbox):
    path = bpmn(script("odd", "odd = range(3)"), service(), flows("start>odd>send>end"))
    with opened() as engine:
        case = engine.start(path)
        engine.run([case])
        assert case.status == "failed"
        assert "range" in case.error["message"]
    assert [row["status"] for row in listing(store)] == ["failed"]
    for _ in range(2):
        with opened() as engine:
            (case,) = engine.resume()
            engine.run([case])
            assert case.status == "failed"
    assert sandbox.messages == []


def saved_during(twilio_folder, settings, process, data, calls):
    """Return a case that was saved while this many calls were running, as after a kill."""
    texts = []

    def watch(case, element, name, what):
        text = case.save()
        if text.count(BEGUN) == calls:
            texts.append(text)

    with Engine({"twilio": twilio_folder}, settings, watch=watch) as engine:
        engine.run([engine.start(process, data)])
    return texts[-1]


@pytest.fixture
def two_lost(twilio_folder, settings, bpmn, sandbox):
    """Two cases as they were saved while their equal sends were under way; neither arrived."""
    sandbox.fail("slow", times=None, seconds=0.3)
    process = bpmn(*SIMPLE)
    texts = [saved_during(twilio_folder, settings, process, {}, 1) for _ in range(2)]
    sandbox.reset()
    return texts


@pytest.fixture
def send_once(twilio_folder, settings):
    return lambda: twilio_folder.run(
        "send_sms", {"to": "+14155550123", "body": "Hola"}, settings["twilio"]
    )


@pytest.fixture
def fork(bpmn):
    """Two branches at once: a send that is refused, and a slow one."""

    def draw(first):
        return bpmn(
            '<bpmn:parallelGateway id="fork" /><bpmn:parallelGateway id="join" />',
            first,
            service("slow", result="slow_sms"),
            flows("start>fork>send>join>end", "fork>slow>join"),
        )

    return draw


def test_failure_of_a_branch_does_not_hide_an_interrupted_send(
    opened, twilio_folder, settings, fork, sandbox, store
):
    sandbox.fail("slow", times=None, seconds=0.2)
    text = saved_during(twilio_folder, settings, fork(service(to="'nobody'", body="'x'")), {}, 1)
    # Now it is as if the message had not been sent before the kill
    sandbox.reset()
    with opened() as engine:
        case = engine.load_case(text)
        engine.run([case])
        assert (case.status, case.error["task"]) == ("interrupted", "slow")
        assert case.error["code"] == "OUTCOME_UNKNOWN"
    with opened() as engine:
        (case,) = engine.resume()
        assert {call["element"]: call["why"] for call in case.stopped} == {
            "slow": "interrupted",
            "send": "failed",
        }
        (slow, _) = case.stopped
        assert (slow["candidates"], slow["inputs"]["to"]) == ([], "+14155550123")
        assert slow["looked_until"]
        assert slow["since"]
        # This repeats the call that failed, not the one that may have been carried out
        case.retry()
        engine.run([case])
        assert case.status == "interrupted"
        assert sandbox.messages == []
        twilio_folder.run("send_sms", {"to": "+14155550199", "body": "x"}, settings["twilio"])
        case.settle(message_of(twilio_folder, settings), "slow")
        assert (case.status, case.error["task"]) == ("failed", "send")
    assert [row["status"] for row in listing(store)] == ["failed"]


def test_failures_of_two_branches_are_settled_and_retried_one_by_one(
    opened, fork, sandbox, settings, twilio_folder
):
    sandbox.fail("error", "POST", times=2, status=400, code=21608)
    with opened() as engine:
        case = engine.start(fork(service()))
        engine.run([case])
        assert {call["element"]: call["why"] for call in case.stopped} == {
            "slow": "failed",
            "send": "failed",
        }
        twilio_folder.run("send_sms", {"to": "+14155550123", "body": "Hola"}, settings["twilio"])
        case.settle(message_of(twilio_folder, settings), "send")
        assert (case.status, case.error["task"]) == ("failed", "slow")
    with opened() as engine:
        (case,) = engine.resume()
        assert (case.status, case.error["task"]) == ("failed", "slow")
        case.retry("slow")
        case.run()
        assert case.status == "finished"
    assert len(sandbox.messages) == 2


def message_of(twilio, settings):
    """The newest message, as the connector returns it."""
    return twilio.run("get_all_sms", {}, settings["twilio"])["messages"][0]


def test_interrupted_sends_of_a_loop_are_found_or_settled_by_what_they_sent(
    twilio_folder, settings, bpmn, sandbox
):
    sandbox.fail("slow", times=None, seconds=0.3)
    numbers = [f"+1415555012{digit}" for digit in range(3)]
    process = bpmn(service(to="number", body="'Hola'", loop=loop("false")), flows("start>send>end"))
    text = saved_during(twilio_folder, settings, process, {"numbers": numbers}, 3)
    with Engine({"twilio": twilio_folder}, settings) as engine:
        with engine.connectors["twilio"].connect(settings["twilio"]) as connection:
            by_number = {message["to"]: message for message in connection.stream("get_all_sms")}
        sandbox.reset()
        case = engine.load_case(text)
        engine.run([case])
        assert case.status == "interrupted"
        assert sorted(call["inputs"]["to"] for call in case.stopped) == numbers
        assert len({call["task"] for call in case.stopped}) == 3
        with pytest.raises(InvalidInput, match="3 calls have stopped: name the one to settle"):
            case.settle({**by_number[numbers[0]], "to": "+14155550199"}, "send")
        case.settle(by_number[numbers[0]])
        by_name = next(call for call in case.stopped if call["inputs"]["to"] == numbers[1])
        case.settle(by_number[numbers[1]], by_name["task"])
        with pytest.raises(InvalidInput, match="no call of 'nothing'"):
            case.retry("nothing")
        (left,) = case.stopped
        case.retry(left["task"])
        engine.run([case])
        assert case.status == "finished"
        assert sorted(result["to"] for result in case.data["results"]) == numbers
    assert len(sandbox.messages) == 1


def test_each_of_several_equal_sends_adopts_a_message_of_its_own(
    twilio_folder, settings, sandbox, two_lost, send_once
):
    """Of two equal sends, one arrived: one call gets it, and the other stays unknown."""
    send_once()
    with Engine({"twilio": twilio_folder}, settings) as engine:
        cases = [engine.load_case(text) for text in two_lost]
        engine.run(cases)
        assert sorted(case.status for case in cases) == ["finished", "interrupted"]
    assert len(sandbox.messages) == 1


def test_send_that_the_process_left_is_not_forgotten(
    opened, twilio_folder, settings, bpmn, sandbox, store
):
    sandbox.fail("slow", times=None, seconds=1.5)
    process = bpmn(
        service(),
        boundary("late", "send", timer="PT0.05S"),
        script("gone_on", "gone_on = True"),
        '<bpmn:endEvent id="other_end" />',
        flows("start>send>end", "late>gone_on>other_end"),
    )
    text = saved_during(twilio_folder, settings, process, {}, 1)
    assert '"gone_on": {"v": true}' in text
    with opened() as engine:
        message = message_of(twilio_folder, settings)
        sandbox.reset()
        case = engine.load_case(text)
        engine.run([case])
        assert (case.status, case.error["task"]) == ("interrupted", "send")
    with opened() as engine:
        (case,) = engine.resume()
        case.settle(message)
        assert (case.status, case.late[0]["result"]["sid"]) == ("finished", message["sid"])
    assert [row["status"] for row in listing(store)] == ["finished"]
    assert sandbox.messages == []


def test_case_whose_process_left_a_send_is_not_finished_before_it_ends(
    opened, bpmn, sandbox, store
):
    sandbox.fail("slow", times=None, seconds=60)
    process = bpmn(
        service(),
        boundary("late", "send", timer="PT0.05S"),
        script("gone_on", "gone_on = True"),
        '<bpmn:endEvent id="other_end" />',
        flows("start>send>end", "late>gone_on>other_end"),
    )
    statuses = []

    def watch(case, element, name, what):
        statuses.append(next(listing(store))["status"])
        if (element, what) == ("gone_on", "done"):
            while not sandbox.messages:
                time.sleep(0.01)
            sandbox.stop()  # it answers at once

    with opened(watch=watch) as engine:
        case = engine.start(process)
        case.run()
    assert set(statuses) == {"running"}
    assert next(listing(store))["status"] == "finished"


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "deleted"])
def test_store_that_vanished_is_noticed_before_the_next_call_begins(
    opened, bpmn, store, sandbox, replace
):
    path = bpmn(service(), service("other"), flows("start>send>other>end"))

    def watch(case, element, name, what):
        if (element, what) == ("send", "begins"):
            store.unlink()
            if replace:
                store.touch()

    with opened(watch=watch) as engine:
        case = engine.start(path)
        with pytest.raises(StoreFailed, match="deleted or replaced while it was in use"):
            case.run()
    assert len(sandbox.messages) == 1


@pytest.mark.parametrize("is_reopened", [True, False], ids=["in a new engine", "in this engine"])
def test_full_disk_says_so_and_the_case_goes_on_once_there_is_room(
    opened, bpmn, store, sandbox, is_reopened
):
    with opened() as engine:
        case = engine.start(bpmn(script("much", "text = 'x' * 500000"), service(), flows(
            "start>much>send>end")))  # fmt: skip
        database = engine.store._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFailed, match="the disk is full") as failed:
            case.run()
        assert str(store) in str(failed.value)
        assert sandbox.messages == []
        database.execute("PRAGMA max_page_count = 100000")
        if not is_reopened:
            case.run()
    with opened() as engine:
        engine.run(engine.resume())
    assert [row["status"] for row in listing(store)] == ["finished"]
    assert len(sandbox.messages) == 1


def test_damaged_row_costs_one_case_by_name_and_exit_status_1(configured, opened, bpmn, store):
    with opened() as engine:
        bad, good = (engine.start(bpmn(*SIMPLE)).id for _ in range(2))
    database = sqlite3.connect(store)
    number = "(SELECT number FROM cases WHERE id = ?)"
    database.execute(f"UPDATE parts SET content = '[' WHERE number = {number}", (bad,))
    database.commit()
    database.close()
    for _ in range(2):
        done = engine_command("resume", store, "--quiet", *configured)
        assert done.returncode == 1
        assert f"{bad}  unreadable: it can't be read back (JSONDecodeError)." in done.stderr
    assert {row["id"]: row["status"] for row in listing(store)} == {
        bad: "unreadable",
        good: "finished",
    }


@pytest.mark.parametrize("jump", [-86400, 86400], ids=["back", "ahead"])
def test_clock_that_is_set_delays_no_timer(opened, bpmn, monkeypatch, jump):
    """The system clock is changed by a day while a case waits for a second."""
    wall, ahead = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: wall() + ahead[0])
    path = bpmn(service(), PAUSE.replace("PT0.05S", "PT1S"), flows("start>send>pause>end"))

    def watch(case, element, name, what):
        if (element, what) == ("send", "done"):
            ahead[0] = jump

    with opened(watch=watch) as engine:
        case = engine.start(path)
        began = time.monotonic()
        case.run()
        assert case.status == "finished"
        assert time.monotonic() - began < 20


def test_call_that_became_due_during_a_slow_commit_is_repeated_at_once(opened, bpmn, sandbox):
    """Another case of the store is due much later, which is no reason to wait."""
    sandbox.fail("throttle", method="POST", times=1)
    moments = {}

    def watch(case, element, name, what):
        moments[what] = time.monotonic()
        if what == "THROTTLED, again in 1 s":
            while time.monotonic() < moments[what] + 1.1:
                time.sleep(0.05)
        if (element, what) == ("send", "done"):
            raise Stop

    with opened(watch=watch) as engine:
        later = PAUSE.replace("PT0.05S", "P1D")
        engine.start(bpmn(later, flows("start>pause>end")))
        engine.start(bpmn(service(retry=(1, 1)), flows("start>send>end")))
        with pytest.raises(Stop):
            engine.run(engine.resume())
    assert moments["done"] - moments["THROTTLED, again in 1 s"] < 15


def test_output_that_comes_while_its_case_is_being_stored_is_stored_with_the_next_commit(
    opened, bpmn, monkeypatch
):
    with opened() as engine:
        case = engine.start(bpmn(*SIMPLE))
        action = engine.connectors["twilio"].actions["send_sms"]
        put = engine.store.put

        def put_slowly(changes):
            numbers = put(changes)
            engine.claim(case, "a call", action, {"sid": "SM" + "a" * 32}, is_new=True)
            monkeypatch.setattr(engine.store, "put", put)
            return numbers

        monkeypatch.setattr(engine.store, "put", put_slowly)
        engine.commit([case])
        assert engine.store.output("SM" + "a" * 32) is None
        engine.commit([case])
        assert engine.store.output("SM" + "a" * 32) == "a call"


def test_large_values_of_rounds_that_are_over_are_not_kept_in_memory(opened, bpmn):
    with opened() as engine:
        case = engine.start(
            bpmn(
                script("first", "n = 0"),
                pause("wait", '"PT0.001S"'),
                script("count", "n = n + 1; text = str(n) * 300"),
                '<bpmn:exclusiveGateway id="way" default="flow_way_ask" />',
                '<bpmn:sequenceFlow id="back" sourceRef="way" targetRef="wait">'
                '<bpmn:conditionExpression xsi:type="bpmn:tFormalExpression">n &lt; 12'
                "</bpmn:conditionExpression></bpmn:sequenceFlow>",
                '<bpmn:userTask id="ask" />',
                flows("start>first>wait>count>way>ask>end"),
            )
        )
        case.run()
        assert case.data["n"] == 12
        assert len(case.keeper._names._names) <= 2
        assert len(case.keeper._users) <= 2
        assert len(case.keeper._kept) < 20


def test_purged_case_leaves_the_case_alone_that_got_its_number(opened, bpmn):
    with opened() as engine:
        purged = engine.start(bpmn(*SIMPLE))
        purged.run()
        assert engine.purge(-1) == 1
        other = engine.start(bpmn(*SIMPLE))
        assert other.number == purged.number
        engine.commit([purged])
        assert engine.store.row(other.id).status == "running"
        assert engine.store.row(purged.id).status == "finished"


def test_outputs_of_sends_are_not_kept_in_memory_once_they_are_stored(opened, bpmn):
    with opened() as engine:
        case = engine.start(bpmn(*SIMPLE))
        case.run()
        assert not engine._outputs
        assert engine.has_other(case.data["sms"]["sid"], "another call")


def test_send_under_way_at_a_kill_is_found_although_the_clock_was_set_back(
    twilio_folder, settings, bpmn, sandbox, monkeypatch
):
    """Messages have the time of the service, so the look-up must not use the time of the engine."""
    wall, ahead, texts = time.time, [0.0], []
    monkeypatch.setattr(time, "time", lambda: wall() + ahead[0])
    sandbox.fail("slow", times=None, seconds=0.3)

    def watch(case, element, name, what):
        text = case.save()
        if BEGUN in text:
            texts.append(text)

    with Engine({"twilio": twilio_folder}, settings, watch=watch) as engine:
        case = engine.start(bpmn(*SIMPLE))
        ahead[0] = -86400
        case.run()
    with Engine({"twilio": twilio_folder}, settings) as engine:
        case = engine.load_case(texts[-1])
        case.run()
        assert case.status == "finished"
    assert len(sandbox.messages) == 1


def test_message_that_was_not_found_is_sent_again_after_its_time(
    opened, bpmn, twilio_folder, settings, sandbox
):
    """The start of the call is set two minutes back, so that the test need not wait."""
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    sandbox.reset()
    saved = json.loads(text)
    (call,) = (part for name, part in saved["parts"].items() if name.startswith("c"))
    call["since"] -= 125
    with opened(resend_after_seconds=120) as engine:
        case = engine.load_case(json.dumps(saved))
        case.run()
        assert case.status == "finished"
    assert len(sandbox.messages) == 1


def test_message_that_was_not_found_is_looked_for_again_before_it_is_sent_again(
    opened, bpmn, twilio_folder, settings, sandbox
):
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    sandbox.reset()
    events = []

    def watch(case, element, name, what):
        events.append(what)
        if "looked for again" in what:
            raise Stop

    with opened(resend_after_seconds=120, watch=watch) as engine:
        case = engine.load_case(text)
        with pytest.raises(Stop):
            case.run()
        assert case.status == "running"
        assert 100 < case.rules.due() - time.time() < 122
    assert sandbox.messages == []
    assert events[-1].startswith("OUTCOME_UNKNOWN, looked for again in 1")


def test_resending_earlier_than_two_minutes_is_refused(opened):
    with pytest.raises(InvalidConfiguration, match="resendAfterSeconds"):
        opened(resend_after_seconds=60)


def test_case_that_can_not_be_read_back_keeps_no_other_from_going_on(opened, bpmn, store, caplog):
    with opened() as engine:
        cases = [engine.start(bpmn(*SIMPLE)) for _ in range(2)]
        bad, good = (case.id for case in cases)
    database = sqlite3.connect(store)
    database.execute(
        "UPDATE parts SET content = '{}' WHERE number = (SELECT number FROM cases WHERE id = ?)",
        (bad,),
    )
    database.commit()
    database.close()
    with opened() as engine:
        (case,) = engine.resume()
        assert case.id == good
        case.run()
    assert f"case {bad} can't be read back" in caplog.text
    assert {row["id"]: row["status"] for row in listing(store)} == {
        bad: "unreadable",
        good: "finished",
    }


def test_interrupted_call_of_a_connector_that_is_not_loaded_stays_interrupted(
    twilio_folder, settings, bpmn, sandbox
):
    sandbox.fail("slow", times=None, seconds=0.2)
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    with Engine({}, {}) as engine:
        case = engine.load_case(text)
        engine.run([case])
        assert (case.status, case.error["code"]) == ("interrupted", "OUTCOME_UNKNOWN")
        assert "the connector 'twilio' is not loaded" in case.error["message"]


def killed_during(store, settings, sandbox, method):
    """Start a case in another process and kill that process during the answer to this request."""
    sandbox.fail("slow", method=method, seconds=60)
    with endurance.worker(store, settings["twilio"], 1) as process:
        assert process.stdout.readline() == "ready\n"
        while not any(request["method"] == method for request in sandbox.requests):
            assert process.poll() is None


def test_send_under_way_at_a_kill_is_found_and_not_sent_again(
    opened, store, settings, sandbox, sent
):
    settings["twilio"]["timeoutSeconds"] = 100
    killed_during(store, settings, sandbox, "POST")
    with opened() as engine:
        (case,) = engine.resume()
        assert case.status == "running"
        engine._watch = lambda _, element, *__: element == "look_up" and sandbox.advance(60)
        case.run()
        assert case.data["outcome"] == "delivered"
        assert case.data["sms"]["sid"] == sandbox.messages[0]["sid"]
    assert len(sent()) == 1


def test_send_under_way_at_a_kill_that_never_arrived_stands_still_and_says_so(
    opened, bpmn, twilio_folder, settings, sandbox, sent
):
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    message = message_of(twilio_folder, settings)
    sandbox.reset()
    with opened() as engine:
        case = engine.load_case(text)
        with pytest.raises(CaseStopped) as stopped:
            case.run()
        assert stopped.value.code == "OUTCOME_UNKNOWN"
        assert (stopped.value.outcome, stopped.value.task) == ("unknown", "send")
        assert sent() == []
        with pytest.raises(InvalidInput, match="'sid' is required"):
            case.settle({"status": "queued"})
    with opened() as engine:
        # The message may appear late, so it is looked up once more
        engine.run(engine.resume())
        (case,) = engine.resume()
        assert case.status == "interrupted"
        case.settle(message)
        case.run()
        assert case.data["sms"]["sid"] == message["sid"]
    assert sent() == []


def test_message_that_a_task_of_an_earlier_run_has_is_not_adopted(
    sandbox, opened, two_lost, send_once
):
    """Two equal sends got no answer, and one message exists. Each engine has its own connection."""
    send_once()
    statuses = []
    for text in two_lost:
        with opened() as engine:
            case = engine.load_case(text)
            engine.run([case])
            statuses.append(case.status)
    assert statuses == ["finished", "interrupted"]
    assert len(sandbox.messages) == 1


def test_message_that_somebody_settles_during_a_look_up_is_not_adopted_too(
    twilio_folder, settings, two_lost, send_once
):
    with Engine({"twilio": twilio_folder}, settings) as engine:
        settled, looking = [engine.load_case(text) for text in two_lost]
        engine.run([settled])
        send_once()

        class Settling:
            """Settles the other case with the message that was found, before the engine gets it."""

            def __init__(self, connection):
                self.connection = connection

            def run(self, action, inputs, **options):
                output = self.connection.run(action, inputs, **options)
                settled.settle(output)
                return output

            def close(self):
                self.connection.close()

        engine._connections["twilio"] = Settling(engine._connections["twilio"])
        engine.run([looking])
        assert ("sms" in settled.data, looking.status) == (True, "interrupted")


def test_equal_message_that_another_task_has_does_not_make_the_look_up_ambiguous(
    twilio_folder, settings, bpmn, sandbox, opened
):
    with opened() as engine:
        first = engine.start(bpmn(*SIMPLE))
        first.run()
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    with opened() as engine:
        case = engine.load_case(text)
        case.run()
        assert case.data["sms"]["sid"] not in (None, first.data["sms"]["sid"])
    assert len(sandbox.messages) == 2


def test_look_up_asks_for_what_was_sent_and_not_for_what_would_be_sent_now(
    twilio_folder, settings, bpmn, sandbox
):
    names = {"words": iter(["first", "second"]).__next__}
    path = bpmn(service(to="'+14155550123'", body="words()"), flows("start>send>end"))
    texts = []

    def watch(case, *_):
        texts.append(case.save())

    with Engine({"twilio": twilio_folder}, settings, watch=watch, script_names=names) as engine:
        engine.start(path).run()
    begun = next(text for text in texts if BEGUN in text)
    with Engine({"twilio": twilio_folder}, settings, script_names=names) as engine:
        case = engine.load_case(begun)
        case.run()
        assert case.data["sms"]["body"] == "first"
    assert len(sandbox.messages) == 1


def test_interrupted_case_of_the_store_is_looked_up_again_by_resume(
    opened, bpmn, twilio_folder, settings, sandbox
):
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    sandbox.reset()
    with opened() as engine:
        engine.run([engine.load_case(text)])
        assert [case.status for case in engine.resume()] == ["interrupted"]
    twilio_folder.run("send_sms", {"to": "+14155550123", "body": "Hola"}, settings["twilio"])
    with opened() as engine:
        engine.run(engine.resume())
        assert len(engine.resume()) == 0
    assert len(sandbox.messages) == 1


def test_what_is_sent_again_and_lost_again_is_not_sent_a_third_time(
    opened, bpmn, twilio_folder, settings, sandbox, sent
):
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    sandbox.reset()
    sandbox.fail("error", method="POST", times=None, stored=False)
    saved = json.loads(text)
    (call,) = (part for name, part in saved["parts"].items() if name.startswith("c"))
    call["since"] -= 125
    with opened(resend_after_seconds=120) as engine:
        case = engine.load_case(json.dumps(saved))
        for _ in range(2):
            engine.run([case])
            assert (case.status, len(sent())) == ("interrupted", 1)


def test_message_that_appears_late_is_found_when_the_case_is_run_again(
    opened, bpmn, twilio_folder, settings, sandbox, sent
):
    sandbox.behave(list_lag_seconds=2)
    text = saved_during(twilio_folder, settings, bpmn(*SIMPLE), {}, 1)
    with opened() as engine:
        case = engine.load_case(text)
        engine.run([case])
        assert (case.status, case.stopped[0]["candidates"]) == ("interrupted", [])
        deadline = time.monotonic() + 20
        while case.status == "interrupted":
            assert time.monotonic() < deadline
            engine.run([case])
        assert (case.status, len(sent())) == ("finished", 1)


def test_look_up_under_way_at_a_kill_is_made_again(opened, store, settings, sandbox, sent):
    settings["twilio"]["timeoutSeconds"] = 100
    killed_during(store, settings, sandbox, "GET")
    with opened() as engine:
        (case,) = engine.resume()
        assert case.status == "running"
        sandbox.advance(300)
        case.run()
        assert case.data["outcome"] == "delivered"
    assert len(sent()) == 1


def test_kills_at_random_moments_lose_nothing_and_send_nothing_twice(tmp_path):
    seed = int(os.environ.get("SEED", "20261123"))
    print(f"seed {seed}")
    endurance.kill_and_resume(tmp_path, count=40, kills=6, seed=seed)


def test_many_cases_at_once_lose_nothing_and_send_nothing_twice():
    endurance.many(100)


def engine_command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "connector_engines", *map(str, arguments)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
    )


@pytest.fixture
def configured(sandbox, tmp_path):
    path = tmp_path / "settings.yaml"
    settings = {**sandbox.settings, "resolveSeconds": 0}
    lines = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in settings.items())
    path.write_text(f"environments:\n  test:\n{lines}", "utf-8")
    return ["--config", path, "--environment", "test"]


def test_command_runs_a_case_and_shows_its_tasks(configured, sandbox, bpmn):
    done = engine_command("run", bpmn(*SIMPLE), "--data", '{"a": 1}', *configured)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sms"]["status"] == "queued"
    shown = [line.split("  ", 1)[1] for line in done.stderr.splitlines()]
    assert shown == [
        "start (start): done",
        "The task send (send): begins",
        "The task send (send): done",
        "end (end): done",
    ]
    assert engine_command("run", bpmn(*SIMPLE), "--quiet", *configured).stderr == ""


def test_command_lists_resumes_and_retries_cases(configured, sandbox, bpmn, store):
    path = bpmn(service(to="'+15005550004'", body="'x'"), flows("start>send>end"))
    done = engine_command("run", path, "--store", store, *configured)
    assert done.returncode == 1
    assert "code 21610" in done.stderr
    case = json.loads(engine_command("cases", store, "--format", "jsonl").stdout)
    assert case["status"] == "failed"
    assert case["error"]["code"] == "REFUSED"
    listed = engine_command("cases", store)
    assert listed.stdout.startswith(f"{case['id']}  failed")
    assert engine_command("resume", store, *configured).returncode == 1
    assert len(sandbox.requests) == 1
    assert engine_command("resume", store, "--retry", case["id"], *configured).returncode == 1
    assert len(sandbox.requests) == 2
    message = {
        **dict.fromkeys(("date_created", "date_updated", "date_sent", "account_sid", "to", "from")),
        **dict.fromkeys(("body", "api_version", "price", "price_unit", "error_code", "uri")),
        "error_message": None,
        "sid": "SM" + "b" * 32,
        "status": "delivered",
    }
    done = engine_command("resume", store, "--settle", case["id"], json.dumps(message), *configured)
    assert done.returncode == 0, done.stderr
    assert "finished" in engine_command("cases", store).stdout
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "none.bpmn"], "'accountId' is required"),
        (["cases", "none.sqlite"], "no such store"),
        (["resume", "none.sqlite"], "no such store"),
        (["run", "none.bpmn", "--environment", "test"], "needs '--config FILE'"),
    ],
)
def test_command_says_what_is_wrong_with_its_arguments(arguments, said):
    done = engine_command(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("data", "said"),
    [("{", "not valid JSON"), ("[]", "must be a JSON object"), ("@none", "can't be read")],
)
def test_command_says_what_is_wrong_with_the_data(configured, bpmn, data, said):
    done = engine_command("run", bpmn(*SIMPLE), "--data", data, *configured)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_command_refuses_a_process_with_its_reasons(configured, bpmn):
    done = engine_command(
        "run", bpmn(service(operator="x/y"), flows("start>send>end")), *configured
    )
    assert done.returncode == 2
    assert "'send' calls the connector 'x', which is not loaded (twilio)" in done.stderr


def test_command_tells_when_the_store_is_taken(configured, bpmn, opened, store):
    with opened():
        done = engine_command("run", bpmn(*SIMPLE), "--store", store, *configured)
    assert done.returncode == 2
    assert "another process has these cases open" in done.stderr


def test_second_engine_does_not_get_the_store_by_another_name(
    twilio_folder, settings, opened, store
):
    link, other = store.with_name("link.sqlite"), store.with_name("other.sqlite")
    link.symlink_to(store)
    with opened():
        with pytest.raises(StoreInUse):
            Engine({"twilio": twilio_folder}, settings, store=link)
        assert list(listing(link)) == []
        other.hardlink_to(store)
        with pytest.raises(InvalidConfiguration, match="hard links"):
            Engine({"twilio": twilio_folder}, settings, store=other)
    with pytest.raises(InvalidConfiguration, match="hard links"):
        opened()
    other.unlink()
    Engine({"twilio": twilio_folder}, settings, store=link).close()
    assert sorted(path.name for path in store.parent.iterdir() if "-owner" in path.name) == [
        "cases.sqlite-owner"
    ]


def foreign(path, mode="DELETE"):
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA journal_mode = {mode}")
    # Many databases use version 1
    database.execute("PRAGMA user_version = 1")
    database.execute("CREATE TABLE notes (note TEXT)")
    database.commit()
    database.close()
    return path


NO_STORES = {
    "no database": lambda folder: folder / "text",
    "folder": lambda folder: folder,
    "missing folder": lambda folder: folder / "missing" / "cases.sqlite",
    "no file": lambda _: Path("/dev/null"),
    "link to itself": lambda folder: folder / "circle",
    "a database of others": lambda folder: foreign(folder / "others"),
    "a database of others with a log": lambda folder: foreign(folder / "others", "WAL"),
}


@pytest.fixture
def strange(tmp_path):
    """A folder with what is no store, and what is in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "text").write_bytes(b"\xff no database \n" * 1000)
    (folder / "circle").symlink_to("circle")

    def contents():
        return {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    return folder, contents


@pytest.mark.parametrize("make", NO_STORES.values(), ids=NO_STORES)
def test_what_is_no_store_is_refused_and_stays_as_it_is(twilio_folder, settings, strange, make):
    folder, contents = strange
    path = make(folder)
    before = contents()
    with pytest.raises(InvalidConfiguration) as engine:
        Engine({"twilio": twilio_folder}, settings, store=path)
    with pytest.raises(InvalidConfiguration) as listed:
        next(iter(listing(path)), None)
    for caught in (engine, listed):
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert contents() == before


@pytest.mark.parametrize("command", ["run", "cases", "resume"])
def test_command_refuses_what_is_no_store_in_one_line(configured, bpmn, strange, command):
    folder, contents = strange
    path = foreign(folder / "others", "WAL")
    before = contents()
    lines = {
        "run": ["run", bpmn(*SIMPLE), "--store", path, *configured],
        "cases": ["cases", path],
        "resume": ["resume", path, *configured],
    }
    done = engine_command(*lines[command])
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{path}: ")
    assert contents() == before


@pytest.mark.parametrize("command", ["cases", "resume"])
def test_empty_file_is_no_store_until_an_engine_makes_it_one(configured, opened, store, command):
    store.touch()
    options = configured if command == "resume" else []
    done = engine_command(command, store, *options)
    assert (done.returncode, "no such store" in done.stderr) == (2, True)
    assert (store.read_bytes(), store.with_name(store.name + "-owner").exists()) == (b"", False)
    opened().close()
    assert list(listing(store)) == []


def test_listing_a_store_writes_nothing(opened, bpmn, store):
    def contents():
        return {path.name: path.read_bytes() for path in store.parent.glob("cases.sqlite*")}

    with opened() as engine:
        engine.start(bpmn(*SIMPLE))
    closed = contents()
    assert len(list(listing(store))) == 1
    assert contents() == closed


READ_ONLY = """
import os, pathlib, sys
from connector_engines.embedded.store import Store, listing
from connector_runtime.errors import InvalidConfiguration
if os.geteuid() == 0:
    os.setuid(65534)  # root may write everything
path = pathlib.Path(sys.argv[1])
print(*(case["status"] for case in listing(path)))
try:
    Store(path)
except InvalidConfiguration as error:
    print(error)
"""


def test_user_who_may_only_read_lists_cases_and_does_not_get_them(opened, bpmn, store):
    with opened() as engine:
        engine.run([engine.start(bpmn(*SIMPLE))])
    # Another user may not enter pytest's folder
    folder = Path(tempfile.mkdtemp())
    try:
        kept = shutil.copy(store, folder)
        for path, mode in ((kept, 0o444), (folder, 0o555)):
            os.chmod(path, mode)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, kept],
            cwd=ROOT,
            check=False,
            capture_output=True,
            encoding="utf-8",
        )
        assert done.stdout == f"finished\n{kept}: this user may not write it.\n", done.stderr
        assert [path.name for path in folder.iterdir()] == ["cases.sqlite"]
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_store_may_be_read_by_its_owner_alone(opened, bpmn, store):
    before = os.umask(0)
    try:
        with opened() as engine:
            engine.start(bpmn(*SIMPLE))
            modes = {path.name: path.stat().st_mode & 0o777 for path in store.parent.glob("cases*")}
    finally:
        os.umask(before)
    assert modes.keys() >= {f"cases.sqlite{end}" for end in ("", "-owner", "-shm", "-wal")}
    assert set(modes.values()) == {0o600}


def test_command_settles_and_retries_the_named_one_of_several_calls(
    configured, twilio_folder, settings, sandbox, bpmn, opened, store
):
    both = bpmn(
        '<bpmn:parallelGateway id="fork" />',
        service("one"),
        service("two"),
        flows("start>fork", "fork>one>end", "fork>two>end"),
    )
    text = saved_during(twilio_folder, settings, both, {}, 2)
    output = json.dumps(message_of(twilio_folder, settings))
    sandbox.reset()
    with opened() as engine:
        case = engine.load_case(text)
        engine.run([case])
    line = ["settle", store, case.id, output, *configured]
    done = engine_command(*line)
    assert (done.returncode, "2 calls have stopped" in done.stderr) == (2, True), done.stderr
    done = engine_command(*line, "--task", "one")
    assert done.returncode == 0, done.stderr
    done = engine_command("resume", store, *configured)
    assert (done.returncode, "(two)" in done.stderr) == (5, True), done.stderr
    assert engine_command("retry", store, case.id, "--task", "one").returncode == 2
    assert sandbox.messages == []
    retry = ["resume", store, "--retry", case.id, "--task", "two", *configured]
    done = engine_command(*retry)
    assert (done.returncode, len(sandbox.messages)) == (0, 1), done.stderr
    done = engine_command("resume", store, "--task", "two", *configured)
    assert (done.returncode, done.stderr) == (2, "--task belongs to one --settle or --retry.\n")


@pytest.mark.parametrize("settings_of_all", ["twilio: 5", "twilio: 5\n    other: {from: x}"])
def test_command_names_the_file_whose_settings_of_a_connector_are_none(
    tmp_path, bpmn, settings_of_all
):
    path = tmp_path / "wrong.yaml"
    path.write_text(f"environments:\n  test:\n    {settings_of_all}\n")
    done = engine_command("run", bpmn(*SIMPLE), "--config", path)
    assert done.returncode == 2
    assert done.stderr == (
        f"configuration file '{path}', environment 'test': 'twilio' must be a mapping of its "
        "settings.\n"
    )


def test_result_of_a_loop_that_an_expression_changes_in_place_is_kept(opened, bpmn):
    change = "str(number if number != 34 else results[0].update(seen=34))"
    path = bpmn(
        service(to="'+14155550123'", body=change, loop=loop("true")), flows("start>send>end")
    )
    ended = []

    def watch(case, element, name, what):
        ended.extend([element] if (element, what) == ("send", "done") else [])
        if len(ended) == 38:
            raise Stop

    with opened(watch=watch) as engine:
        case = engine.start(path, {"numbers": list(range(40))})
        with pytest.raises(Stop):
            case.run()
    with opened() as engine:
        (case,) = engine.resume()
        case.run()
        assert [result.get("seen") for result in case.data["results"]] == [34, *[None] * 39]
