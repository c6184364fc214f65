"""The stored parts of a case: a commit writes only changed parts, but no part is missing."""

import pytest

from connector_engines import bpmn
from connector_engines.embedded import Engine
from tests.engines.drawing import boundary, error, flows, loop, pause, script, service

NUMBERS = [f"+141555501{number:02}" for number in range(40)]
FORK = '<bpmn:parallelGateway id="fork" /><bpmn:parallelGateway id="join" />'
INSIDE = '<bpmn:startEvent id="in" /><bpmn:endEvent id="out" />'
POLL = (
    script("first", "n = 0; seen = []"),
    pause("wait", '"PT0.001S"'),
    service("look", "twilio/get_sms_information", "found", sid="'SM' + 'a' * 32"),
    boundary("on_error", "look", "any"),
    script("count", "n = n + 1; seen.append(n)"),
    '<bpmn:exclusiveGateway id="way" default="flow_way_end" />',
    '<bpmn:sequenceFlow id="back" sourceRef="way" targetRef="wait"><bpmn:conditionExpression'
    ' xsi:type="bpmn:tFormalExpression">n &lt; rounds</bpmn:conditionExpression>'
    "</bpmn:sequenceFlow>",
    flows("start>first>wait>look>count>way>end", "on_error>count"),
)
PROCESSES = {
    "one send": ((service(), flows("start>send>end")), {}),
    "sequential loop": (
        (service(to="number", body="'Hola'", loop=loop("true")), flows("start>send>end")),
        {"numbers": NUMBERS},
    ),
    "parallel loop": (
        (service(to="number", body="'Hola'", loop=loop("false")), flows("start>send>end")),
        {"numbers": NUMBERS},
    ),
    "loop of a subprocess": (
        (
            f'<bpmn:subProcess id="each">{loop("false")}{INSIDE}'
            f"{service(to='number', body='str(number)')}{script('after', 'x = 1')}"
            f"{flows('in>send>after>out')}</bpmn:subProcess>",
            flows("start>each>end"),
        ),
        {"numbers": NUMBERS[:5]},
    ),
    "branches": (
        (
            FORK,
            service("a"),
            service("b", result="other"),
            script("x", "left = [1] * 50"),
            flows("start>fork>a>x>join>end", "fork>b>join"),
        ),
        {},
    ),
    "polling loop": (POLL, {"rounds": 12}),
    "error that is caught": (
        (
            service(to="'+15005550004'", body="'x'"),
            boundary("on_error", "send", "any"),
            script("caught", "way = 'caught'"),
            flows("start>send>end", "on_error>caught>end"),
        ),
        {},
    ),
    "error that is not caught": (
        (service(to="'+15005550004'", body="'x'"), flows("start>send>end")),
        {},
    ),
    "branches in a loop": (
        (
            FORK,
            script("first", "n = 0"),
            pause("wait", '"PT0.001S"'),
            script("a", "n = n + 1"),
            script("b", "x = 1"),
            '<bpmn:exclusiveGateway id="again" />',
            '<bpmn:exclusiveGateway id="way" default="flow_way_end" />',
            '<bpmn:sequenceFlow id="back" sourceRef="way" targetRef="again">'
            '<bpmn:conditionExpression xsi:type="bpmn:tFormalExpression">n &lt; 9'
            "</bpmn:conditionExpression></bpmn:sequenceFlow>",
            flows("start>first>again>fork>wait>a>join>way>end", "fork>b>join"),
        ),
        {},
    ),
}


@pytest.mark.parametrize(("elements", "data"), PROCESSES.values(), ids=PROCESSES)
def test_store_has_the_whole_case_after_every_commit(
    twilio_folder, sandbox, bpmn_file, tmp_path, elements, data
):
    commits = []

    def watch(case, *_):
        kept = engine.store.parts(case.id)
        assert len(kept) == len(bpmn.case_parts(case.rules))
        again = bpmn.case_of(case.id, case.process, kept, 0.0, None)
        assert bpmn.case_parts(again) == bpmn.case_parts(case.rules)
        commits.append({name[:1] for name in kept})

    settings = {"twilio": {**sandbox.settings, "maxAttempts": 1}}
    path = bpmn_file(*elements, outside=error("any"))
    store = tmp_path / "cases.sqlite"
    with Engine({"twilio": twilio_folder}, settings, store=store, watch=watch) as engine:
        case = engine.start(path, data)
        engine.run([case])
        watch(case)
        assert case.status in ("finished", "failed")
    assert len(commits) > 2
    if case.status == "finished":
        # Of a finished case, the head and its values are stored, but no tasks
        assert commits[-1] <= {"", "v"}


@pytest.mark.parametrize("lost", range(2, 20, 3))
def test_what_could_not_be_written_is_written_the_next_time(
    twilio_folder, sandbox, bpmn_file, lost
):
    """If every third change is not stored, the whole case is stored at the end nevertheless."""
    settings = {"twilio": {**sandbox.settings, "maxAttempts": 1}}
    path = bpmn_file(*PROCESSES["sequential loop"][0])
    kept, changes = {}, []

    def watch(case, element, name, what):
        if what != "done" or element != "send":
            return
        put, delete = keeper.changes()
        changes.append(put)
        if len(changes) % lost:
            keeper.confirm()
            kept.update(put)
            for part in delete:
                del kept[part]
            again = bpmn.case_of(case.id, case.process, kept, 0.0, None)
            assert bpmn.case_parts(again) == bpmn.case_parts(case.rules)

    with Engine({"twilio": twilio_folder}, settings, watch=watch) as engine:
        case = engine.start(path, {"numbers": NUMBERS})
        keeper = bpmn.Keeper(case.rules)
        case.run()
    assert len(changes) > len(NUMBERS)


def test_long_list_that_could_not_be_written_is_written_the_next_time(engine, bpmn_file):
    data = {"numbers": list(range(100))}
    case = engine.start(
        bpmn_file('<bpmn:userTask id="ask" />', flows("start>ask>end")), {"later": None}
    )
    keeper = bpmn.Keeper(case.rules)
    kept = dict(keeper.changes().put)
    keeper.confirm()
    case.run()
    case.complete("ask", data)
    lost = keeper.changes()
    put, delete = keeper.changes()
    keeper.confirm()
    assert (put, delete) == lost
    kept = {name: text for name, text in {**kept, **put}.items() if name not in delete}
    again = bpmn.case_of(case.id, case.process, kept, 0.0, None)
    assert again.data == {"later": None, **data}


def test_loop_keeps_no_more_tasks_in_its_hundredth_round_than_in_its_tenth(engine, bpmn_file):
    counts = []

    def watch(case, element, name, what):
        if (element, what) == ("count", "done"):
            counts.append(len(case.workflow.tasks))

    engine._watch = watch
    case = engine.start(bpmn_file(*POLL, outside=error("any")), {"rounds": 100})
    case.run()
    assert case.data["seen"] == list(range(1, 101))
    assert counts[99] <= counts[9]


def test_case_that_nothing_can_wake_stops_and_says_where(engine, bpmn_file):
    case = engine.start(
        bpmn_file(
            '<bpmn:exclusiveGateway id="one" default="flow_one_a" />',
            '<bpmn:parallelGateway id="both" />',
            script("a", "x = 1"),
            script("b", "x = 2"),
            '<bpmn:sequenceFlow id="never" sourceRef="one" targetRef="b"><bpmn:conditionExpression'
            ' xsi:type="bpmn:tFormalExpression">False</bpmn:conditionExpression>'
            "</bpmn:sequenceFlow>",
            flows("start>one>a>both>end", "b>both"),
        )
    )
    engine.run([case])
    assert case.status == "failed"
    assert "it can't continue: 'both'" in case.error["message"]
