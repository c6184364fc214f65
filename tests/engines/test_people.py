"""People, messages and signals reach cases, even while the cases run."""

import json
import subprocess
import sys
import threading

import pytest

from connector_engines.embedded import Engine
from connector_runtime.errors import InvalidInput
from tests.conftest import ROOT
from tests.engines.drawing import flows, pause, script, service

ASK = """<bpmn:userTask id="ask" name="Ask the customer"><bpmn:extensionElements>
  <spiffworkflow:instructionsForEndUser>Which day?</spiffworkflow:instructionsForEndUser>
  <spiffworkflow:properties>
   <spiffworkflow:property name="formJsonSchemaFilename" value="day.json" />
  </spiffworkflow:properties></bpmn:extensionElements></bpmn:userTask>"""
SIGN = '<bpmn:manualTask id="sign" />'
OUTSIDE = """<bpmn:message id="m" name="answer" />
  <bpmn:signal id="s" name="alarm"><bpmn:extensionElements>
  <spiffworkflow:variableName>what</spiffworkflow:variableName></bpmn:extensionElements>
  </bpmn:signal>"""
VARIABLE = """<bpmn:extensionElements><spiffworkflow:messageVariable>what
  </spiffworkflow:messageVariable></bpmn:extensionElements>""".replace("\n  ", "")


def catch(name, kind="message", variable=VARIABLE):
    inside = variable if kind == "message" else ""
    reference = "m" if kind == "message" else "s"
    return (
        f'<bpmn:intermediateCatchEvent id="{name}"><bpmn:{kind}EventDefinition id="{name}_{kind}"'
        f' {kind}Ref="{reference}">{inside}</bpmn:{kind}EventDefinition>'
        "</bpmn:intermediateCatchEvent>"
    )


def starting(kind="message"):
    """A start event for a message or a signal, instead of the usual one."""
    event = catch("start", kind).replace("intermediateCatchEvent", "startEvent")
    return lambda path: path.write_text(
        path.read_text("utf-8").replace('<bpmn:startEvent id="start" />', event), "utf-8"
    )


@pytest.fixture
def store(tmp_path):
    return tmp_path / "cases.sqlite"


@pytest.fixture
def opened(twilio_folder, sandbox, store):
    def open_engine(**options):
        return Engine(
            {"twilio": twilio_folder}, {"twilio": sandbox.settings}, store=store, **options
        )

    return open_engine


def test_task_shows_its_data_and_form_and_is_completed_with_what_was_entered(engine, bpmn):
    case = engine.start(
        bpmn(ASK, script("use", "text = 'On ' + day"), flows("start>ask>use>end")), {"a": 1}
    )
    case.run()
    (task,) = case.tasks
    assert (task["element"], task["name"], task["data"]) == ("ask", "Ask the customer", {"a": 1})
    assert task["instructions"] == "Which day?"
    assert task["form"]["schema"] == "day.json"
    case.complete(task, {"day": "Monday"})
    case.run()
    assert (case.status, case.data["text"], case.tasks) == ("finished", "On Monday", [])


def test_completed_task_is_kept_before_anything_else(opened, bpmn, store):
    with opened() as engine:
        case = engine.start(bpmn(ASK, flows("start>ask>end")))
        case.run()
        case.complete("ask", {"day": "Monday"})
    with opened() as engine:
        (case,) = engine.resume()
        assert case.tasks == []
        case.run()
        assert (case.status, case.data["day"]) == ("finished", "Monday")


def test_task_is_named_where_several_wait(engine, bpmn):
    fork = '<bpmn:parallelGateway id="fork" />'
    case = engine.start(bpmn(fork, ASK, SIGN, flows("start>fork>ask>end", "fork>sign>end")))
    case.run()
    for name in ("nobody", "start"):
        with pytest.raises(InvalidInput, match=f"0 tasks '{name}' wait"):
            case.complete(name, {})
    with pytest.raises(InvalidInput, match="must be JSON"):
        case.complete("sign", {"x": object()})
    case.complete("sign", {})
    assert [task["element"] for task in case.tasks] == ["ask"]


def test_message_wakes_a_case_while_it_runs(opened, bpmn, sandbox):
    """The case waits for a message or a very long timer, so only the message can end it in time."""
    process = bpmn(
        '<bpmn:parallelGateway id="fork" />',
        catch("wait"),
        pause("long", '"PT60S"'),
        service(body="what['day']", to="'+14155550123'"),
        '<bpmn:endEvent id="all"><bpmn:terminateEventDefinition id="t" /></bpmn:endEvent>',
        flows("start>fork>wait>send>all", "fork>long>end"),
        outside=OUTSIDE,
    )
    running = threading.Event()
    with opened(watch=lambda *_: running.set()) as engine:
        case = engine.start(process)
        thread = threading.Thread(target=case.run)
        thread.start()
        assert running.wait(20)
        while not case.rules.waits:
            assert thread.is_alive()
        assert engine.message("answer", {"day": "Monday"}) == [case]
        thread.join(30)
        assert not thread.is_alive()
    assert case.status == "finished"
    assert [message["body"] for message in sandbox.messages] == ["Monday"]


def test_message_goes_to_the_case_that_is_meant(opened, bpmn):
    path = bpmn(catch("wait"), flows("start>wait>end"), outside=OUTSIDE)
    with opened() as engine:
        cases = [engine.start(path, {"order": number}) for number in range(3)]
        engine.run(cases)
        assert engine.message("answer", {"x": 1}, {"order": 9}) == []
        assert engine.message("answer", {"x": 1}, {"order": 1}) == [cases[1]]
        assert engine.message("question") == []
    with opened() as engine:
        engine.run(engine.resume())
        statuses = {case.data["order"]: case.status for case in map(engine.case, ids(cases))}
        assert statuses == {0: "waiting", 1: "finished", 2: "waiting"}
        assert len(engine.message("answer", {"x": 1})) == 2
        engine.run(engine.resume())
        assert len(engine.resume()) == 0


def ids(cases):
    return [case.id for case in cases]


def test_signal_goes_to_all_that_wait(opened, bpmn):
    path = bpmn(catch("wait", "signal"), flows("start>wait>end"), outside=OUTSIDE)
    with opened() as engine:
        cases = [engine.start(path) for _ in range(3)]
        engine.run(cases)
        assert engine.signal("alarm", {"level": 2}) == cases
        engine.run(cases)
        assert [case.data["what"]["level"] for case in cases] == [2, 2, 2]


@pytest.mark.parametrize("kind", ["message", "signal"])
def test_process_that_starts_with_it_begins_a_case(opened, bpmn, kind):
    path = bpmn(script("use", "day = what['day']"), flows("start>use>end"), outside=OUTSIDE)
    starting(kind)(path)
    with opened() as engine:
        engine.read(path)
        give = engine.message if kind == "message" else engine.signal
        name = "answer" if kind == "message" else "alarm"
        (case,) = give(name, {"day": "Monday"})
        case.run()
        assert (case.status, case.data["day"]) == ("finished", "Monday")
    with opened() as engine:
        # The engine knows the process from its store
        (again,) = (engine.message if kind == "message" else engine.signal)(name, {"day": "x"})
        assert again.id != case.id


def test_case_that_stopped_takes_no_message(opened, bpmn):
    process = bpmn(
        '<bpmn:parallelGateway id="fork" />',
        catch("wait"),
        script("wrong", "1 / 0"),
        flows("start>fork>wait>end", "fork>wrong>end"),
        outside=OUTSIDE,
    )
    with opened() as engine:
        case = engine.start(process)
        engine.run([case])
        assert case.status == "failed"
        assert engine.message("answer", {}) == []


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "connector_engines", *map(str, arguments)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )


@pytest.fixture
def configured(sandbox, tmp_path):
    path = tmp_path / "settings.yaml"
    lines = "".join(f"    {name}: '{value}'\n" for name, value in sandbox.settings.items())
    path.write_text(f"environments:\n  test:\n{lines}", "utf-8")
    return ["--config", path, "--environment", "test"]


def test_commands_lead_a_case_through_its_tasks_and_messages(configured, bpmn, store, opened):
    path = bpmn(ASK, catch("wait"), flows("start>ask>wait>end"), outside=OUTSIDE)
    started = command("start", path, "--store", store, "--data", '{"order": 7}', *configured)
    assert started.returncode == 0, started.stderr
    case = started.stdout.strip()
    # The case has not run yet
    assert command("tasks", store).stdout == ""
    assert command("resume", store, *configured).returncode == 4
    (task,) = map(json.loads, command("tasks", store).stdout.splitlines())
    assert (task["case"], task["element"]) == (case, "ask")
    assert command("complete", store, case, "nothing").returncode == 2
    assert command("complete", store, case, "ask", "--data", '{"day": "x"}').returncode == 0
    assert command("resume", store, *configured).returncode == 4
    shown = json.loads(command("show", store, case).stdout)
    assert shown["waits_for"] == [{"kind": "message", "name": "answer"}]
    assert shown["data"] == {"order": 7, "day": "x"}
    line = ["message", store, "answer", "--data", '{"y": 1}', "--correlation"]
    nobody = command(*line, '{"order": 8}')
    assert (nobody.returncode, "no case waits for 'answer'" in nobody.stderr) == (4, True)
    assert command(*line, '{"order": 7}').stdout.strip() == case
    assert command("resume", store, *configured).returncode == 0
    assert json.loads(command("show", store, case).stdout)["status"] == "finished"
    assert command("cases", store, "--status", "finished").stdout.startswith(case)
    assert command("cases", store, "--after", case).stdout == ""
    assert command("purge", store, "--older-than", "1").stdout == "0\n"
    assert command("purge", store, "--older-than", "0").stdout == "1\n"
    assert command("cases", store).stdout == ""
    missing = command("show", store, case)
    assert (missing.returncode, missing.stderr) == (2, f"there is no case '{case}'.\n")


@pytest.mark.parametrize(
    "arguments",
    [["show", "x"], ["tasks"], ["complete", "x", "y"], ["message", "x"], ["retry", "x"]],
    ids=lambda arguments: arguments[0],
)
def test_command_says_when_another_process_has_the_store(opened, store, arguments):
    name, *rest = arguments
    with opened():
        done = command(name, store, *rest)
    assert done.returncode == 2
    assert "another process has these cases open" in done.stderr
    assert command(name, store.with_name("none"), *rest).returncode == 2


def test_fields_of_a_message_become_variables_where_the_drawing_names_none(engine, bpmn):
    event = catch("wait", variable="")
    case = engine.start(bpmn(event, flows("start>wait>end"), outside=OUTSIDE))
    case.run()
    engine.message("answer", {"day": "Monday"})
    case.run()
    assert case.data["day"] == "Monday"
