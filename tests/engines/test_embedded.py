"""BPMN processes in the engine, against the sandbox."""

import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from SpiffWorkflow.bpmn.specs.control import BoundaryEventJoin

from connector_engines.embedded import CaseStopped, Engine
from connector_runtime import load
from connector_runtime.errors import InvalidConfiguration, InvalidInput
from tests.conftest import copy_tree
from tests.engines.drawing import boundary, clock, error, flows, loop, pause, script, service

CUSTOMER = {"customer": {"name": "Clinic 24", "phone": "+14155550123"}, "poll_seconds": 0.01}
SIMPLE = (service(), flows("start>send>end"))


def customer(phone):
    return {**CUSTOMER, "customer": {"name": "Clinic 24", "phone": phone}}


@pytest.fixture
def notify(root):
    return root / "examples" / "notify_customer.bpmn"


def test_customer_is_notified_and_the_delivery_awaited(engine, notify, sandbox):
    case = engine.start(notify, CUSTOMER)
    watched = engine._watch

    def deliver(case, element, name, what):
        watched(case, element, name, what)
        if (element, what) == ("look_up", "done"):
            sandbox.advance(60)

    engine._watch = deliver
    case.run()
    assert case.status == "finished"
    assert case.data["sms"]["status"] == "delivered"
    assert case.data["outcome"] == "delivered"
    assert case.data["looks"] >= 2
    assert case.data["sms"]["body"].startswith("Hello Clinic 24, ")


@pytest.mark.parametrize(
    ("phone", "outcome"),
    [
        ("+15005550010", "number not verified"),
        ("+15005550004", "opted out"),
        ("+15005550009", "refused"),
    ],
)
def test_refusal_takes_the_branch_of_its_reason(engine, notify, phone, outcome, sent):
    case = engine.start(notify, customer(phone))
    case.run()
    assert case.data["outcome"] == outcome
    assert case.data["sms_error"]["code"] == "REFUSED"
    assert len(sent()) == 1


def test_undelivered_message_takes_its_branch(engine, notify, sandbox):
    case = engine.start(notify, customer("+15005553003"))
    engine._watch = lambda case, element, name, what: sandbox.advance(60)
    case.run()
    assert case.data["outcome"] == "not delivered"
    assert case.data["sms"]["error_code"] == "30003"


def test_unavailable_twilio_takes_its_branch_after_the_retries(engine, notify, sandbox, sent, bpmn):
    sandbox.fail("throttle", method="POST", times=None)
    text = notify.read_text("utf-8").replace('backoff_base="2"', 'backoff_base="0"')
    path = bpmn()
    path.write_text(text, "utf-8")
    case = engine.start(path, CUSTOMER)
    case.run()
    assert case.data["outcome"] == "Twilio unavailable"
    assert case.data["sms_error"]["code"] == "THROTTLED"
    # One attempt and three retries
    assert len(sent()) == 4


def test_unknown_outcome_is_never_retried(engine, notify, sandbox, sent):
    sandbox.fail("error", method="POST", stored=True)
    case = engine.start(notify, CUSTOMER)
    case.run()
    assert case.data["outcome"] == "may have been sent"
    assert case.data["sms_error"]["outcome"] == "unknown"
    assert len(sent()) == 1
    assert len(sandbox.messages) == 1


def test_status_that_cannot_be_had_is_said_so(engine, notify, sandbox):
    sandbox.fail("body", method="GET", text="not JSON")
    case = engine.start(notify, CUSTOMER)
    case.run()
    assert case.data["outcome"] == "sent, not confirmed"


def test_monthly_report_counts_and_sums(engine, root, sandbox):
    for number in ("+14155550123", "+14155550124", "+15005553003"):
        engine.start(root / "examples" / "notify_customer.bpmn", customer(number))
    with engine.connectors["twilio"].connect(sandbox.settings) as connection:
        for number in ("+14155550123", "+14155550124", "+15005553003"):
            connection.run("send_sms", {"to": number, "body": "Hola"})
    sandbox.advance(300)
    case = engine.start(root / "examples" / "monthly_report.bpmn")
    case.run()
    prices = [float(message["price"]) for message in sandbox.messages]
    assert case.data == {
        "report": {
            "messages": 3,
            "by_status": {"delivered": 2, "undelivered": 1},
            "cost": round(-sum(prices), 5),
            "currencies": ["USD"],
        }
    }


def test_retry_is_carried_out_and_the_result_kept(engine, bpmn, sandbox, sent, watched):
    sandbox.fail("throttle", method="POST", times=2)
    case = engine.start(bpmn(service(retry=(2, 0)), flows("start>send>end")))
    case.run()
    assert case.status == "finished"
    assert len(sent()) == 3
    assert len(sandbox.messages) == 1
    assert watched.count(("send", "THROTTLED, again in 0 s")) == 2


def test_longer_wait_that_the_service_asks_for_is_respected(engine, bpmn, sandbox, watched):
    sandbox.fail("throttle", method="POST", retry_after=1)
    case = engine.start(bpmn(service(retry=(1, 0)), flows("start>send>end")))
    case.run()
    assert case.status == "finished"
    assert ("send", "THROTTLED, again in 1 s") in watched


@pytest.mark.parametrize("retry", [None, (0, 2)], ids=["no-retry", "zero-retries"])
def test_without_retry_nothing_is_repeated(engine, bpmn, sandbox, sent, retry):
    sandbox.fail("throttle", method="POST")
    case = engine.start(bpmn(service(retry=retry), flows("start>send>end")))
    with pytest.raises(CaseStopped):
        case.run()
    assert len(sent()) == 1


def test_refusal_is_not_retried(engine, bpmn, sent):
    case = engine.start(
        bpmn(service(retry=(3, 0), to="'+15005550004'", body="'x'"), flows("start>send>end"))
    )
    with pytest.raises(CaseStopped):
        case.run()
    assert len(sent()) == 1


def test_uncaught_error_names_the_task_and_the_case_can_be_retried(engine, bpmn, sandbox, sent):
    sandbox.fail("throttle", method="POST")
    path = bpmn(*SIMPLE)
    case = engine.start(path)
    with pytest.raises(CaseStopped) as stopped:
        case.run()
    assert stopped.value.code == "THROTTLED"
    assert stopped.value.task == "send"
    assert str(stopped.value).startswith(
        f"{path.name}: 'The task send' (send): Twilio is receiving"
    )
    assert case.status == "failed"
    assert case.error["retryable"] is True
    with pytest.raises(CaseStopped):
        # A failed case does not continue without `retry`
        case.run()
    assert len(sent()) == 1
    case.retry()
    case.run()
    assert case.status == "finished"
    assert case.error is None
    assert len(sandbox.messages) == 1


def test_exact_code_is_caught_before_any_code(engine, bpmn):
    outside = error("any") + error("refused", "REFUSED") + error("other", "THROTTLED")
    case = engine.start(
        bpmn(
            service(to="'+15005550004'", body="'x'"),
            boundary("on_any", "send", "any"),
            boundary("on_refused", "send", "refused"),
            boundary("on_other", "send", "other"),
            script("exact", "way = 'exact'"),
            script("all", "way = 'all'"),
            script("wrong", "way = 'wrong'"),
            flows("start>send>end", "on_any>all>end", "on_refused>exact>end", "on_other>wrong>end"),
            outside=outside,
        )
    )
    case.run()
    assert case.data["way"] == "exact"
    assert case.data["fault"]["provider_code"] == "21610"


@pytest.mark.parametrize("reference", ["any", None], ids=["error-without-code", "no-reference"])
def test_boundary_event_without_a_code_catches_all(engine, bpmn, sandbox, reference):
    sandbox.fail("html", method="POST")  # OUTCOME_UNKNOWN
    case = engine.start(
        bpmn(
            service(),
            boundary("on_error", "send", reference),
            script("caught", "way = 'caught'"),
            flows("start>send>end", "on_error>caught>end"),
            outside=error("any"),
        )
    )
    case.run()
    assert case.data["way"] == "caught"
    assert "sms" not in case.data


def test_boundary_event_of_another_task_does_not_catch(engine, bpmn):
    case = engine.start(
        bpmn(
            '<bpmn:parallelGateway id="fork" />',
            service("good"),
            boundary("on_good", "good"),
            service("bad", to="'+15005550004'", body="'x'"),
            script("caught", "way = 'caught'"),
            flows("start>fork>good>end", "fork>bad>end", "on_good>caught>end"),
        )
    )
    with pytest.raises(CaseStopped) as stopped:
        case.run()
    assert stopped.value.task == "bad"
    assert "way" not in case.data


def test_error_is_caught_around_a_subprocess(engine, bpmn):
    inner = (
        '<bpmn:startEvent id="in" /><bpmn:endEvent id="out" />'
        + service(to="'+15005550004'", body="'x'")
        + flows("in>send>out")
    )
    case = engine.start(
        bpmn(
            f'<bpmn:subProcess id="inside">{inner}</bpmn:subProcess>',
            boundary("on_error", "inside", "refused"),
            script("caught", "way = fault['provider_code']"),
            flows("start>inside>end", "on_error>caught>end"),
            outside=error("refused", "REFUSED"),
        )
    )
    case.run()
    assert case.status == "finished"
    assert case.data["way"] == "21610"


NUMBERS = {"numbers": [f"+1415555012{digit}" for digit in range(5)]}


@pytest.mark.parametrize("sequential", ["true", "false"], ids=["sequential", "parallel"])
def test_service_task_for_each_item_of_a_list(engine, bpmn, sandbox, sequential):
    case = engine.start(
        bpmn(service(to="number", body="'Hola'", loop=loop(sequential)), flows("start>send>end")),
        NUMBERS,
    )
    case.run()
    # A parallel loop appends each result when its call ends, so the order can differ.
    assert sorted(result["to"] for result in case.data["results"]) == NUMBERS["numbers"]
    assert len(sandbox.messages) == 5


def test_error_of_one_item_is_caught_by_the_event_of_the_loop(engine, bpmn):
    case = engine.start(
        bpmn(
            service(to="number", body="'Hola'", loop=loop("true")),
            boundary("on_error", "send", "any"),
            script("caught", "way = 'caught'"),
            flows("start>send>end", "on_error>caught>end"),
            outside=error("any"),
        ),
        {"numbers": ["+14155550123", "+15005550004", "+14155550124"]},
    )
    case.run()
    assert case.status == "finished"
    assert case.data["way"] == "caught"


class Meeting:
    """A server that answers only once `expected` requests are in at the same time."""

    def __init__(self, expected):
        self.barrier = threading.Barrier(expected, timeout=10)
        self.inside, self.most = 0, 0
        lock = threading.Lock()
        meeting = self

        class Handler(BaseHTTPRequestHandler):
            # Without a buffer, Nagle's algorithm would delay the answer
            wbufsize = -1

            def do_GET(self):
                with lock:
                    meeting.inside += 1
                    meeting.most = max(meeting.most, meeting.inside)
                meeting.barrier.wait()
                with lock:
                    meeting.inside -= 1
                body = b'{"messages": [], "next_page_uri": null}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.01])

    def __enter__(self):
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def listing(name):
    return service(name, "twilio/get_all_sms", name, **{}).replace(
        '<spiffworkflow:parameter id="to" type="str" value="\'+14155550123\'" />'
        '<spiffworkflow:parameter id="body" type="str" value="\'Hola\'" />',
        "",
    )


def test_service_tasks_that_are_ready_together_run_together(twilio_folder, sandbox, bpmn):
    with Meeting(3) as url:
        settings = {"twilio": {**sandbox.settings, "apiBaseUrl": url, "maxAttempts": 1}}
        with Engine({"twilio": twilio_folder}, settings, threads=3) as engine:
            case = engine.start(
                bpmn(
                    '<bpmn:parallelGateway id="fork" /><bpmn:parallelGateway id="join" />',
                    *(listing(name) for name in ("a", "b", "c")),
                    flows("start>fork>a>join>end", "fork>b>join", "fork>c>join"),
                )
            )
            # The server fails unless all three requests arrive at the same time
            case.run()
            assert [case.data[name] for name in ("a", "b", "c")] == [{"messages": []}] * 3


def test_no_more_calls_are_under_way_than_there_are_threads(twilio_folder, sandbox, bpmn):
    meeting = Meeting(2)
    with meeting as url:
        settings = {"twilio": {**sandbox.settings, "apiBaseUrl": url, "maxAttempts": 1}}
        with Engine({"twilio": twilio_folder}, settings, threads=2) as engine:
            names = ["a", "b", "c", "d", "e", "f"]
            case = engine.start(
                bpmn(
                    '<bpmn:parallelGateway id="fork" /><bpmn:parallelGateway id="join" />',
                    *(listing(name) for name in names),
                    flows("start>fork", "join>end", *(f"fork>{name}>join" for name in names)),
                )
            )
            case.run()
            assert case.status == "finished"
    assert meeting.most == 2


def test_other_branches_go_on_while_a_call_is_under_way(twilio_folder, sandbox, bpmn):
    meeting = Meeting(2)

    def watch(case, element, name, what):
        if (element, what) == ("meanwhile", "done"):
            # The call is answered only after this
            meeting.barrier.wait()

    with meeting as url:
        settings = {"twilio": {**sandbox.settings, "apiBaseUrl": url, "maxAttempts": 1}}
        with Engine({"twilio": twilio_folder}, settings, watch=watch) as engine:
            case = engine.start(
                bpmn(
                    '<bpmn:parallelGateway id="fork" /><bpmn:parallelGateway id="join" />',
                    listing("a"),
                    '<bpmn:intermediateCatchEvent id="pause"><bpmn:timerEventDefinition id="timer">'
                    '<bpmn:timeDuration xsi:type="bpmn:tFormalExpression">"PT0.05S"'
                    "</bpmn:timeDuration></bpmn:timerEventDefinition>"
                    "</bpmn:intermediateCatchEvent>",
                    script("meanwhile", "way = 'meanwhile'"),
                    flows("start>fork>a>join>end", "fork>pause>meanwhile>join"),
                )
            )
            case.run()
            assert case.data["way"] == "meanwhile"
            assert case.data["a"] == {"messages": []}


def test_call_that_ends_after_the_process_left_it_is_kept(twilio_folder, bpmn, sandbox, caplog):
    sandbox.fail("slow", method="POST", seconds=60)

    def watch(case, element, name, what):
        if (element, what) == ("left", "done"):
            while not sandbox.messages:
                time.sleep(0.01)
            sandbox.stop()  # it answers at once

    settings = {**sandbox.settings, "maxAttempts": 1}
    with Engine({"twilio": twilio_folder}, {"twilio": settings}, watch=watch) as engine:
        case = engine.start(
            bpmn(
                service(),
                boundary("too_long", "send", timer="PT0.05S"),
                script("left", "way = 'left'"),
                flows("start>send>end", "too_long>left>end"),
            )
        )
        case.run()
    assert case.data["way"] == "left"
    assert len(sandbox.messages) == 1
    assert "ended after the process had left it" in caplog.text
    (late,) = case.late
    assert (late["element"], late["result"]["sid"]) == ("send", sandbox.messages[0]["sid"])


def test_script_that_fails_after_a_send_is_repeated_without_the_send(engine, bpmn, sandbox):
    case = engine.start(
        bpmn(service(script="ratio = 1 / divisor"), flows("start>send>end")), {"divisor": 0}
    )
    with pytest.raises(CaseStopped) as stopped:
        case.run()
    assert stopped.value.task == "send"
    assert "division by zero" in str(stopped.value)
    for task in case.workflow.get_tasks(spec_name="send"):
        task.data["divisor"] = 2
    case.retry()
    case.run()
    assert case.data["ratio"] == 0.5
    assert len(sandbox.messages) == 1


def test_script_that_fails_names_itself_and_can_be_retried(engine, bpmn, sandbox):
    case = engine.start(
        bpmn(service(), script("count", "n = 10 // parts"), flows("start>send>count>end")),
        {"parts": 0},
    )
    with pytest.raises(CaseStopped, match=r"'count'.*division"):
        case.run()
    for task in case.workflow.get_tasks(spec_name="send"):
        task.data["parts"] = 5
    case.retry()
    case.run()
    assert case.data["n"] == 2
    assert len(sandbox.messages) == 1


def test_wrong_timer_stops_its_case_alone(engine, bpmn):
    wrong = bpmn(pause("pause", "'five ' + 'minutes'"), flows("start>pause>end"))
    good = bpmn(*SIMPLE)
    cases = [engine.start(wrong), engine.start(good)]
    engine.run(cases)
    assert [case.status for case in cases] == ["failed", "finished"]


def test_input_that_only_shows_at_run_time_is_an_error_like_others(engine, bpmn, sent):
    case = engine.start(
        bpmn(
            service(to="phone", body="'Hola'"),
            boundary("on_error", "send", "wrong"),
            script("caught", "way = fault['problems'][0]"),
            flows("start>send>end", "on_error>caught>end"),
            outside=error("wrong", "INVALID_INPUT"),
        ),
        {"phone": "555-0123"},
    )
    case.run()
    assert case.data["way"].startswith("'to' must be an E.164 number")
    assert sent() == []


def test_expression_may_begin_with_blanks(engine, bpmn, sandbox):
    case = engine.start(
        bpmn(service(to=" '+14155550123'", body="  'Hola'"), flows("start>send>end"))
    )
    case.run()
    assert [message["body"] for message in sandbox.messages] == ["Hola"]


@pytest.mark.parametrize(
    "text",
    ["import os", "open('x')", "eval('1')", "__import__('os')", "exec('1')", "getattr(1, 'real')"],
)
def test_expressions_are_evaluated_without_imports_and_files(engine, bpmn, text):
    case = engine.start(bpmn(script("escape", text), flows("start>escape>end")))
    with pytest.raises(CaseStopped):
        case.run()


def test_globals_of_the_settings_fill_what_no_task_gives(engine, bpmn, sandbox):
    case = engine.start(bpmn(*SIMPLE))
    case.run()
    assert case.data["sms"]["from"] == sandbox.settings["from"]


def test_result_variable_may_be_left_out(engine, bpmn):
    path = bpmn(*SIMPLE)
    path.write_text(path.read_text("utf-8").replace(' resultVariable="sms"', ""), "utf-8")
    case = engine.start(path)
    case.run()
    assert case.data["spiff__send_result"]["status"] == "queued"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"when": object()}, "must be JSON"),
        ({"price": float("nan")}, "must be JSON"),
        ({"deep": [{"typename": "Case"}]}, "'typename'"),
    ],
    ids=["object", "nan", "reserved"],
)
def test_data_that_cannot_be_kept_is_refused_at_the_start(engine, bpmn, data, said):
    with pytest.raises(InvalidInput, match=said):
        engine.start(bpmn(*SIMPLE), data)


def test_case_does_not_share_its_data_with_the_caller(engine, bpmn):
    data = {"found": [1]}
    case = engine.start(bpmn(script("change", "found.append(2)"), flows("start>change>end")), data)
    case.run()
    assert data == {"found": [1]}
    assert case.data["found"] == [1, 2]


def test_settings_are_checked_when_the_engine_is_made(twilio_folder):
    with pytest.raises(InvalidConfiguration, match="'authToken' is required"):
        Engine({"twilio": twilio_folder}, {"twilio": {}})


def test_case_that_waits_for_somebody_says_so(engine, bpmn):
    case = engine.start(bpmn('<bpmn:manualTask id="ask" />', flows("start>ask>end")))
    case.run()
    assert case.status == "waiting"


def test_cases_can_be_run_from_several_threads(engine, notify, sandbox):
    sandbox.advance(0)
    cases = [engine.start(notify, customer(f"+141555501{number:02}")) for number in range(20)]
    engine._watch = lambda case, element, name, what: sandbox.advance(60)
    threads = [threading.Thread(target=engine.run, args=[cases[part::4]]) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {case.data["outcome"] for case in cases} == {"delivered"}
    assert len({message["to"] for message in sandbox.messages}) == len(sandbox.messages) == 20


def test_case_that_is_running_is_not_run_again(engine, bpmn):
    refused = []

    def watch(case, element, name, what):
        if what == "begins":
            for call in (case.run, case.retry):
                with pytest.raises(RuntimeError, match="is running"):
                    call()
                refused.append(what)

    engine._watch = watch
    engine.start(bpmn(*SIMPLE)).run()
    assert len(refused) == 2


def test_error_payload_is_what_the_runtime_gives(engine, bpmn):
    case = engine.start(bpmn(service(to="'+15005550004'", body="'x'"), flows("start>send>end")))
    engine.run([case])
    assert json.loads(json.dumps(case.error)) == case.error
    assert case.error["provider_code"] == "21610"
    assert "+15005550004" not in json.dumps(case.error)


@pytest.mark.parametrize("slow", [0, 0.3], ids=["quick", "slow"])
def test_cycle_of_a_timer_makes_one_call_each(engine, bpmn, sandbox, slow):
    sandbox.fail("slow", times=None, seconds=slow)
    process = bpmn(
        pause("again", '"R3/PT0.05S"', "timeCycle"), service(), flows("start>again>send>end")
    )
    case = engine.start(process)
    case.run()
    assert case.status == "finished"
    assert len(sandbox.messages) == 3


def test_reminders_of_a_timer_at_a_task_are_one_call_each(engine, bpmn, sandbox):
    sandbox.fail("slow", times=None, seconds=0.2)
    reminder = clock("remind", '"R2/PT0.05S"', "timeCycle")
    case = engine.start(
        bpmn(
            '<bpmn:userTask id="answer" />',
            '<bpmn:boundaryEvent id="remind" attachedToRef="answer" cancelActivity="false">'
            f"{reminder}</bpmn:boundaryEvent>",
            service(),
            '<bpmn:endEvent id="reminded" />',
            flows("start>answer>end", "remind>send>reminded"),
        )
    )
    case.run()
    # It waits for the answer
    assert case.status == "waiting"
    assert len(sandbox.messages) == 2


def test_many_rounds_of_a_timer_at_a_task_do_not_look_at_each_other(engine, bpmn, monkeypatch):
    looks = []
    update = BoundaryEventJoin._update_hook

    def watched(spec, task):
        looks.append(task.id)
        return update(spec, task)

    monkeypatch.setattr(BoundaryEventJoin, "_update_hook", watched)
    again = clock("again", '"R60/PT0.001S"', "timeCycle")
    case = engine.start(
        bpmn(
            script("first", "n = 0"),
            '<bpmn:userTask id="answer" />',
            '<bpmn:boundaryEvent id="again" attachedToRef="answer" cancelActivity="false">'
            f"{again}</bpmn:boundaryEvent>",
            script("count", "rounds = rounds_before + 1"),
            '<bpmn:endEvent id="counted" />',
            flows("start>first>answer>end", "again>count>counted"),
        ),
        {"rounds_before": 3},
    )
    case.run()
    assert case.status == "waiting"
    assert len(looks) < 60 * 6  # 60 * 60 where each round looks at those before it
    case.complete("answer", {"answer": "yes"})
    case.run()
    assert case.status == "finished"
    assert case.data == {"rounds_before": 3, "n": 0, "rounds": 4, "answer": "yes"}


class Enough(BaseException):
    """Ends a run in the same way as Ctrl-C."""


def test_moment_that_is_centuries_away_keeps_no_other_case(engine, bpmn, sandbox):
    far = engine.start(
        bpmn(pause("pause", '"2999-01-01T00:00:00"', "timeDate"), flows("start>pause>end"))
    )
    near = engine.start(
        bpmn(
            service(),
            pause("breath", '"PT0.05S"'),
            service("other"),
            flows("start>send>breath>other>end"),
        )
    )

    def watch(case, element, name, what):
        if case is near and near.status == "finished":
            raise Enough

    engine._watch = watch
    with pytest.raises(Enough):
        engine.run([far, near])
    assert far.status == "waiting"
    assert len(sandbox.messages) == 2


def test_fault_that_no_connector_foresees_stops_its_case_alone(
    root, sandbox, bpmn, tmp_path, caplog
):
    for name in ("actions", "auth", "schemas"):
        copy_tree(root / name, tmp_path / "broken" / name)
    for name in ("connector.json", "icon.png"):
        shutil.copy(root / name, tmp_path / "broken" / name)
    broken = tmp_path / "broken" / "actions" / "get_all_sms.py"
    broken.write_text("def run(inputs, call):\n    raise ValueError(call.settings['from'])\n")
    send = tmp_path / "broken" / "actions" / "send_sms.py"
    send.write_text(
        "def run(inputs, call):\n    raise LookupError(inputs['to'])\n"
        "def find(inputs, call, since):\n    raise LookupError(inputs['to'])\n"
    )
    connectors = {"broken": load(tmp_path / "broken"), "twilio": load(root)}
    settings = dict.fromkeys(connectors, sandbox.settings)
    listing = service("list", "broken/get_all_sms", other="1").replace("other", "x")
    listing = listing.replace('<spiffworkflow:parameter id="x" type="str" value="1" />', "")
    with Engine(connectors, settings) as engine:
        read = engine.start(bpmn(listing, flows("start>list>end")))
        write = engine.start(bpmn(service(operator="broken/send_sms"), flows("start>send>end")))
        good = engine.start(bpmn(*SIMPLE))
        engine.run([read, write, good])
    assert [case.status for case in (read, write, good)] == ["failed", "interrupted", "finished"]
    assert (read.error["code"], read.error["outcome"]) == ("CONNECTOR_ERROR", "not_sent")
    assert (write.error["code"], write.error["outcome"]) == ("CONNECTOR_ERROR", "unknown")
    assert "(LookupError); see the log" in write.error["message"]
    assert "unexpected fault" in caplog.text
    assert "+1" not in caplog.text + json.dumps([read.error, write.error])
