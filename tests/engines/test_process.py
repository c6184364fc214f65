"""BPMN that can't be run is refused before any case starts, with file, element and reason."""

import hashlib
from pathlib import Path

import pytest

from connector_engines.embedded import Engine, InvalidProcess
from connector_runtime import load
from tests.conftest import ROOT
from tests.engines.drawing import HEAD, boundary, document, flows, pause, script, service

FLOWS = flows("start>send>end")
GATEWAY = """<bpmn:exclusiveGateway id="way" default="flow_way_end" />
<bpmn:sequenceFlow id="f1" sourceRef="way" targetRef="other">
<bpmn:conditionExpression xsi:type="bpmn:tFormalExpression">n ==</bpmn:conditionExpression>
</bpmn:sequenceFlow><bpmn:endEvent id="other" />"""
TWO = (
    document(service(), FLOWS, process="one")
    .replace("</bpmn:definitions>", "")
    .replace('id="', 'id="a_')
    .replace("a_twilio", "twilio")
    .replace('Ref="', 'Ref="a_')
    .replace('id="a_to"', 'id="to"')
    .replace('id="a_body"', 'id="body"')
)

REFUSED = {
    "no operator": (
        document('<bpmn:serviceTask id="send" />', FLOWS),
        "'send' has no spiffworkflow:serviceTaskOperator",
    ),
    "unknown connector": (
        document(service(operator="vonage/send_sms"), FLOWS),
        "'send' calls the connector 'vonage', which is not loaded (twilio)",
    ),
    "unknown action": (
        document(service(operator="twilio/make_call"), FLOWS),
        "'send' calls 'twilio/make_call'; its actions are send_sms, get_sms_information",
    ),
    "no slash": (document(service(operator="twilio"), FLOWS), "must be connector/action"),
    "missing parameter": (
        document(service(to="'+14155550123'"), FLOWS),
        "'send' does not give 'body', which send_sms requires",
    ),
    "blank parameter": (
        document(service(to="'+14155550123'", body="  "), FLOWS),
        "'send' does not give 'body'",
    ),
    "unknown parameter": (
        document(service(to="'+14155550123'", body="'x'", text="'x'"), FLOWS),
        "'send' gives 'text', which is not an input of send_sms",
    ),
    "parameter that is no Python": (
        document(service(to="customer[", body="'x'"), FLOWS),
        "'send' parameter 'to' is not valid Python",
    ),
    "retry that is no number": (
        document(service(retry=(-1, 2)), FLOWS),
        "'send' retry 'retries' must be a whole number",
    ),
    "script that is no Python": (
        document(script("count", "n ="), flows("start>count>end")),
        "'count' script is not valid Python",
    ),
    "post-script that is no Python": (
        document(service(script="n ="), FLOWS),
        "'send' postScript is not valid Python",
    ),
    "condition that is no Python": (
        document(GATEWAY, flows("start>way>end")),
        "'f1' conditionExpression is not valid Python",
    ),
    "not BPMN by its schema": (
        document(service(), FLOWS, "<bpmn:nonsense />"),
        "nonsense",
    ),
    "flow to nowhere": (
        document(service(), flows("start>send>nowhere")),
        "'flow_send_nowhere' targetRef names 'nowhere', which does not exist",
    ),
    "error of nowhere": (
        document(service(), boundary("on_error", "send", "lost"), flows("start>send>end")),
        "'on_error_error' errorRef names 'lost', which does not exist",
    ),
    "boundary event of nothing": (
        document(service(), FLOWS, boundary("on_error", "nothing")),
        "'on_error' attachedToRef names 'nothing', which does not exist",
    ),
    "not well-formed": (document(service(), FLOWS)[:-20], "not well-formed XML"),
    "empty": ("", "not well-formed XML"),
    "another XML": ("<html/>", "not a BPMN 2.0 file"),
    "no process": (f"{HEAD}</bpmn:definitions>", "it has no process"),
    "two processes": (
        TWO + document(service(), FLOWS, process="two").split('tests">\n')[1],
        "several processes could be meant (a_one, two): name the one to run",
    ),
    "entities": (
        document(service(), FLOWS).replace(
            "<bpmn:definitions",
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><bpmn:definitions',
            1,
        ),
        "it has a DOCTYPE",
    ),
    "billion laughs": (
        document(script("s", "&b;"), flows("start>s>end")).replace(
            "<bpmn:definitions",
            '<!DOCTYPE x [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;">]><bpmn:definitions',
            1,
        ),
        "it has a DOCTYPE",
    ),
    "event subprocess on an error": (
        document(
            service(),
            FLOWS,
            '<bpmn:subProcess id="apology" triggeredByEvent="true"><bpmn:startEvent id="failed">'
            '<bpmn:errorEventDefinition id="any" /></bpmn:startEvent><bpmn:endEvent id="sorry" />'
            '<bpmn:sequenceFlow id="f" sourceRef="failed" targetRef="sorry" /></bpmn:subProcess>',
        ),
        "'failed' starts an event subprocess on an error",
    ),
    "error that does not interrupt": (
        document(
            service(),
            FLOWS,
            '<bpmn:boundaryEvent id="b" attachedToRef="send" cancelActivity="false">'
            '<bpmn:errorEventDefinition id="any" /></bpmn:boundaryEvent>',
            flows("b>end"),
        ),
        "'b' catches an error without interrupting",
    ),
    "compensation": (
        document(
            service(),
            FLOWS,
            '<bpmn:boundaryEvent id="b" attachedToRef="send">'
            '<bpmn:compensateEventDefinition id="c" /></bpmn:boundaryEvent>',
            flows("b>end"),
        ),
        "'b' is for compensation",
    ),
    "link": (
        document(
            service(),
            '<bpmn:intermediateThrowEvent id="away"><bpmn:linkEventDefinition id="l" name="x" />'
            "</bpmn:intermediateThrowEvent>",
            flows("start>send>away>end"),
        ),
        "'away' is a link event",
    ),
    "send task": (
        document('<bpmn:sendTask id="sms" />', flows("start>sms>end")),
        "'sms' is a send task without a message, which sends nothing",
    ),
    "no way on": (
        document('<bpmn:exclusiveGateway id="way" />', flows("start>way")),
        "'way' has no outgoing sequence flow: draw one, for example to an end event",
    ),
    **{
        f"{kind}: {text}": (
            document(pause("wait", text, kind), flows("start>wait>end")),
            said,
        )
        for kind, text, said in [
            ("timeDuration", "PT5S", "'wait' timeDuration is Python: write \"PT5S\" in quotes"),
            ("timeDate", "2026-12-24", "'wait' timeDate is Python: write"),
            ("timeCycle", "R3/PT1H", "'wait' timeCycle is Python: write"),
            ("timeDuration", '"PT5S', "'wait' timeDuration is not valid Python"),
            ("timeDuration", '"five"', "'wait' timeDuration is not an ISO 8601 duration"),
            ("timeDate", '"tomorrow"', "'wait' timeDate is not an ISO 8601 date"),
            ("timeCycle", '"often"', "'wait' timeCycle is not an ISO 8601 cycle"),
            ("timeDuration", "5", "'wait' timeDuration is not an ISO 8601 duration"),
        ]
    },
    "loop that is no Python": (
        document(
            service(
                loop="<bpmn:multiInstanceLoopCharacteristics><bpmn:loopCardinality "
                'xsi:type="bpmn:tFormalExpression">three times</bpmn:loopCardinality>'
                "</bpmn:multiInstanceLoopCharacteristics>"
            ),
            FLOWS,
        ),
        "'send' loopCardinality is not valid Python",
    ),
    "too large": (document(service(), FLOWS) + " " * 4 * 1024**2, "larger than"),
}


@pytest.fixture(scope="module")
def engine():
    settings = {
        "from": "+15005550006",
        "accountId": "AC" + "a" * 32,
        "authToken": "not-a-secret",
        "apiBaseUrl": "http://127.0.0.1:9",
    }
    with Engine({"twilio": load(ROOT)}, {"twilio": settings}) as running:
        yield running


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_process_is_refused_when_it_is_loaded(engine, tmp_path, text, said):
    path = tmp_path / "wrong.bpmn"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidProcess) as refused:
        engine.start(path)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")
    assert refused.value.code == "INVALID_PROCESS"


def test_every_problem_is_reported_at_once(engine, bpmn):
    path = bpmn(
        service("a", operator="vonage/send_sms"),
        service("b", to="'+14155550123'"),
        script("c", "n ="),
        flows("start>a>b>c>end"),
    )
    with pytest.raises(InvalidProcess) as refused:
        engine.read(path)
    assert len(refused.value.problems) == 3
    assert [problem.split("'")[1] for problem in refused.value.problems] == ["a", "b", "c"]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no such device here")
def test_file_without_an_end_is_refused(engine):
    with pytest.raises(InvalidProcess, match="larger than"):
        engine.read("/dev/zero")


def test_missing_file_is_refused(engine, tmp_path):
    with pytest.raises(InvalidProcess, match="can't be read"):
        engine.read(tmp_path / "none.bpmn")


def test_sender_may_be_left_to_the_global_parameter_only_where_it_is_set(engine, bpmn):
    path = bpmn(service(), FLOWS)
    assert engine.read(path).name == "case"
    settings = {"accountId": "AC" + "a" * 32, "authToken": "not-a-secret"}
    with Engine({"twilio": load(ROOT)}, {"twilio": settings}) as without:
        with pytest.raises(InvalidProcess, match="no global parameter 'from' is set"):
            without.read(path)
        path = bpmn(service(**{"from": "sender", "to": "'+14155550123'", "body": "'x'"}), FLOWS)
        assert without.read(path).name == "case"


def test_process_of_several_is_chosen_by_its_id(engine, tmp_path):
    path = tmp_path / "two.bpmn"
    path.write_text(REFUSED["two processes"][0], "utf-8")
    assert engine.read(path, "two").name == "two"
    with pytest.raises(InvalidProcess, match="no process 'three'"):
        engine.read(path, "three")


@pytest.mark.parametrize("name", ["notify_customer", "monthly_report"])
def test_examples_are_valid_and_drawn(engine, name):
    path = ROOT / "examples" / f"{name}.bpmn"
    assert engine.read(path).name == name
    text = path.read_text("utf-8")
    process, diagram = text.split("<bpmndi:BPMNDiagram", 1)
    drawn = {part.split('"')[0] for part in diagram.split('bpmnElement="')[1:]}
    elements = {
        part.split('"')[0]
        for kind in ("Task", "Event", "Gateway", "sequenceFlow")
        for part in process.split(f'{kind} id="')[1:]
    }
    assert len(elements) > 5
    assert elements <= drawn


@pytest.mark.parametrize("name", ["notify_customer", "monthly_report"])
def test_drawings_are_of_the_files_as_they_are(name):
    source = (ROOT / "examples" / f"{name}.bpmn").read_bytes()
    drawing = (ROOT / "examples" / f"{name}.svg").read_text("utf-8")
    stamp = f"<!-- drawn from SHA-256 {hashlib.sha256(source).hexdigest()} -->"
    assert drawing.rstrip().endswith(stamp), "run `make diagrams`"
