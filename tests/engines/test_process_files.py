"""Drawings in several files, decisions, data stores, and files of other programs."""

import datetime

import pytest

from connector_engines.embedded import Engine, InvalidProcess
from tests.engines.drawing import HEAD, document, flows, loop, script, service

DECISION = """<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="https://www.omg.org/spec/DMN/20191111/MODEL/" id="d" name="d"
    namespace="http://example.com/tests">
 <decision id="tone" name="Tone"><decisionTable id="table">
  <input id="in"><inputExpression id="e" typeRef="string"><text>kind</text></inputExpression>
  </input>
  <output id="out" name="greeting" typeRef="string" />
  <rule id="r1"><inputEntry id="i1"><text>"friend"</text></inputEntry>
   <outputEntry id="o1"><text>"Hi"</text></outputEntry></rule>
  <rule id="r2"><inputEntry id="i2"><text></text></inputEntry>
   <outputEntry id="o2"><text>"Good day"</text></outputEntry></rule>
 </decisionTable></decision>
</definitions>
"""
RULE = """<bpmn:businessRuleTask id="choose"><bpmn:extensionElements>
 <spiffworkflow:calledDecisionId>tone</spiffworkflow:calledDecisionId></bpmn:extensionElements>
 </bpmn:businessRuleTask>"""


def inner(process="inner", executable="true"):
    send = service(to="'+14155550123'", body="words")
    text = document(send, flows("start>send>end"), process=process)
    return text.replace('isExecutable="true"', f'isExecutable="{executable}"')


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "drawings"
    place.mkdir()
    call = '<bpmn:callActivity id="call" calledElement="inner" />'
    (place / "outer.bpmn").write_text(
        document(script("first", "words = 'Hola'"), call, flows("start>first>call>end"))
    )
    (place / "inner.bpmn").write_text(inner())
    return place


def test_call_activity_runs_the_process_of_another_file(engine, folder, sandbox):
    case = engine.start(folder)
    case.run()
    assert case.data["sms"]["body"] == "Hola"
    again = engine.start([folder / "outer.bpmn", folder / "inner.bpmn"])
    again.run()
    assert [message["body"] for message in sandbox.messages] == ["Hola", "Hola"]


def test_called_process_that_is_in_no_file_is_named(engine, folder):
    with pytest.raises(InvalidProcess, match="'call' calls the process 'inner', which is in none"):
        engine.read(folder / "outer.bpmn")


def test_problem_in_a_called_file_names_the_file(engine, folder):
    text = inner().replace("twilio/send_sms", "twilio/make_call")
    (folder / "inner.bpmn").write_text(text)
    with pytest.raises(InvalidProcess, match=r"inner\.bpmn: 'send' calls 'twilio/make_call'"):
        engine.read(folder)


def test_folder_without_a_drawing_is_refused(engine, tmp_path):
    with pytest.raises(InvalidProcess, match=r"no file that ends in \.bpmn"):
        engine.read(tmp_path)


@pytest.mark.parametrize(("kind", "said"), [("friend", "Hi"), ("other", "Good day")])
def test_decision_of_another_file_is_asked(engine, bpmn, tmp_path, kind, said):
    (tmp_path / "tone.dmn").write_text(DECISION)
    path = bpmn(RULE, flows("start>choose>end"))
    case = engine.start([path, tmp_path / "tone.dmn"], {"kind": kind})
    case.run()
    assert case.data["greeting"] == said
    with pytest.raises(InvalidProcess, match="'choose' asks for the decision 'tone'"):
        engine.read(path)


def test_decision_goes_on_from_the_store(twilio_folder, sandbox, bpmn, tmp_path):
    (tmp_path / "tone.dmn").write_text(DECISION)
    files = [bpmn(RULE, flows("start>choose>end")), tmp_path / "tone.dmn"]
    store = tmp_path / "cases.sqlite"
    settings = {"twilio": sandbox.settings}
    with Engine({"twilio": twilio_folder}, settings, store=store) as engine:
        engine.start(files, {"kind": "friend"})
    with Engine({"twilio": twilio_folder}, settings, store=store) as engine:
        (case,) = engine.resume()
        case.run()
        assert case.data["greeting"] == "Hi"


STORE = """<bpmn:dataStoreReference id="reference" name="Seen" dataStoreRef="seen" type="json" />"""


def stored(element, kind):
    tag = "Input" if kind == "in" else "Output"
    ends = ("reference", element) if kind == "in" else (element, "reference")
    return f"""<bpmn:data{tag}Association id="{element}_{kind}">
      <bpmn:sourceRef>{ends[0]}</bpmn:sourceRef><bpmn:targetRef>{ends[1]}</bpmn:targetRef>
      </bpmn:data{tag}Association>"""


def with_store(name, text, kind):
    return script(name, text).replace("<bpmn:script>", f"{stored(name, kind)}<bpmn:script>")


def test_data_store_keeps_a_value_between_tasks(engine, bpmn):
    case = engine.start(
        bpmn(
            STORE,
            with_store("write", "seen = [1, 2]", "out"),
            script("between", "count = 1"),
            with_store("read", "found = len(seen)", "in"),
            flows("start>write>between>read>end"),
        ).rename(bpmn().with_name("stores.bpmn"))
    )
    case.run()
    assert case.status == "finished", case.error
    assert case.data["found"] == 2
    assert "seen" not in case.data
    assert "data_stores" not in case.data


def test_file_that_spiff_arena_saved_loads(engine, tmp_path):
    diagram = (
        '<bpmndi:BPMNDiagram xmlns:bpmndi="http://www.omg.org/spec/BPMN/20100524/DI" id="D">'
        '<bpmndi:BPMNPlane id="P" bpmnElement="case" label="Case" /></bpmndi:BPMNDiagram>'
    )
    text = document(STORE, service(), flows("start>send>end"), outside=diagram)
    start = '<bpmn:startEvent id="start"'
    text = text.replace(start, f'{start} messageRef="m"')
    path = tmp_path / "arena.bpmn"
    path.write_text(text)
    case = engine.start(path)
    case.run()
    assert case.status == "finished"


def test_branches_that_lead_nowhere_end_there(engine, bpmn, sandbox):
    case = engine.start(
        bpmn(
            '<bpmn:parallelGateway id="fork" />',
            service("a"),
            service("b", result="other"),
            flows("start>fork>a", "fork>b"),
        )
    )
    case.run()
    assert case.status == "finished"
    assert len(sandbox.messages) == 2


def test_scripts_have_dates_json_and_math_and_data_comes_first(engine, bpmn):
    text = (
        "when = (datetime.fromisoformat('2026-11-24') + timedelta(days=1)).isoformat(); "
        "text = json.dumps({'a': [1]}); root = math.sqrt(9); today = datetime.now().year"
    )
    case = engine.start(bpmn(script("use", text), flows("start>use>end")))
    case.run()
    assert case.data["when"] == "2026-11-25T00:00:00"
    assert (case.data["text"], case.data["root"]) == ('{"a": [1]}', 3.0)
    assert case.data["today"] == datetime.datetime.now().year
    named = engine.start(bpmn(script("use", "x = json"), flows("start>use>end")), {"json": 7})
    named.run()
    assert named.data["x"] == 7


@pytest.mark.parametrize("text", ["json.codecs", "math.__loader__", "json.loads.__globals__['os']"])
def test_what_is_behind_the_modules_is_not_at_hand(engine, bpmn, text):
    case = engine.start(bpmn(script("use", f"x = {text}"), flows("start>use>end")))
    engine.run([case])
    assert case.status == "failed"


def test_names_of_the_caller_are_known_to_expressions(twilio_folder, sandbox, bpmn):
    names = {"greet": lambda name: f"Hello {name}"}
    path = bpmn(service(body="greet('Ana')", to="'+14155550123'"), flows("start>send>end"))
    with Engine({"twilio": twilio_folder}, {"twilio": sandbox.settings}, script_names=names) as it:
        case = it.start(path)
        case.run()
    assert case.data["sms"]["body"] == "Hello Ana"


def test_scripts_learn_what_a_code_of_the_service_means(engine, bpmn):
    text = (
        "why = explain('twilio', '30003'); es = explain('twilio', 30003, 'es')['meaning']; "
        "none = explain('twilio', None)"
    )
    case = engine.start(bpmn(script("use", text), flows("start>use>end")))
    case.run()
    assert case.data["why"]["meaning"] == "the recipient's phone could not be reached"
    assert case.data["why"]["hint"].startswith("It is switched off")
    assert case.data["es"] == "no se pudo contactar el teléfono del destinatario"
    assert case.data["none"] is None


def test_a_script_that_names_no_connector_stops_its_case(engine, bpmn):
    text = "why = explain('nobody', '30003')"
    case = engine.start(bpmn(script("use", text), flows("start>use>end")))
    engine.run([case])
    assert case.status == "failed"
    assert case.error["code"] == "PROCESS_FAULT"
    assert "nobody" in case.error["message"]


def test_process_that_is_not_executable_runs_when_it_is_named(engine, tmp_path):
    path = tmp_path / "not.bpmn"
    path.write_text(inner("draft", executable="false"))
    with pytest.raises(InvalidProcess) as refused:
        engine.read(path)
    assert "no process in it is executable (draft (isExecutable is not true))" in str(refused.value)
    assert "name the one to run, or set isExecutable to true" in str(refused.value)
    case = engine.start(path, {"words": "Hola"}, "draft")
    case.run()
    assert case.status == "finished"


CAMUNDA = HEAD.replace(
    'id="definitions"',
    'xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"'
    ' xmlns:camunda="http://camunda.org/schema/1.0/bpmn"'
    ' exporter="Camunda Modeler" exporterVersion="5.30.0" id="definitions"',
)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            '<bpmn:serviceTask id="send"><bpmn:extensionElements>'
            '<zeebe:taskDefinition type="send-sms" /></bpmn:extensionElements></bpmn:serviceTask>',
            "'send', which has the Camunda job type 'send-sms', has no",
        ),
        (
            '<bpmn:serviceTask id="send" camunda:type="external" camunda:topic="sms" />',
            "'send', which has camunda:topic 'sms', has no",
        ),
    ],
    ids=["Camunda 8", "Camunda 7"],
)
def test_file_of_camunda_modeler_is_refused_with_what_it_needs(engine, tmp_path, task, said):
    path = tmp_path / "camunda.bpmn"
    text = document(task, flows("start>send>end"))
    path.write_text(text.replace(HEAD, CAMUNDA))
    with pytest.raises(InvalidProcess) as refused:
        engine.read(path)
    assert said in str(refused.value)
    assert "twilio/send_sms with to, body" in str(refused.value)
    assert "saved by Camunda Modeler, for another engine" in str(refused.value)


def refusal(engine, tmp_path, text, process=None):
    path = tmp_path / "drawing.bpmn"
    path.write_text(text)
    with pytest.raises(InvalidProcess) as refused:
        engine.read(path, process)
    return str(refused.value)


def test_a_file_that_needs_no_change_of_language_is_not_said_to_be_for_another_engine(
    engine, tmp_path
):
    call = '<bpmn:callActivity id="call" calledElement="elsewhere" />'
    text = document(call, flows("start>call>end")).replace(HEAD, CAMUNDA)
    assert refusal(engine, tmp_path, text).endswith(
        "give its file too, or the folder with both files."
    )


def test_comments_in_a_drawing_are_passed_over(engine, tmp_path, sandbox):
    send = service().replace("<bpmn:extensionElements>", "<!-- a note --><bpmn:extensionElements>")
    path = tmp_path / "drawing.bpmn"
    path.write_text(document("<!-- the send -->", send, "<?note?>", flows("start>send>end")))
    engine.start(path).run()
    assert len(sandbox.messages) == 1


def test_two_loops_may_name_their_variable_alike_and_nothing_else_may(engine, tmp_path, sandbox):
    words = {"to": "'+14155550123'", "body": "str(number)"}
    sends = [service(name, loop=loop("false"), **words) for name in ("one", "two")]
    sends[1] = sends[1].replace(">results<", ">others<")
    text = document(script("first", "numbers = [1, 2]"), *sends, flows("start>first>one>two>end"))
    path = tmp_path / "drawing.bpmn"
    path.write_text(text)
    engine.start(path).run()
    assert len(sandbox.messages) == 4
    twice = text.replace('id="two"', 'id="one"')
    assert "the id 'one' is declared 2 times" in refusal(engine, tmp_path, twice)


def test_script_of_another_language_is_refused(engine, tmp_path):
    task = script("first", "n = 1").replace(
        "<bpmn:scriptTask", '<bpmn:scriptTask scriptFormat="%s"'
    )
    text = document(task, flows("start>first>end"))
    said = refusal(engine, tmp_path, text % "groovy")
    assert "'first' has a script of another language: write it in Python" in said
    (tmp_path / "drawing.bpmn").write_text(text % "text/x-Python")
    engine.read(tmp_path / "drawing.bpmn")


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ('<bpmn:callActivity id="task" />', "'task' calls no process: set its calledElement"),
        ('<bpmn:businessRuleTask id="task" />', "'task' asks for no decision: set its spiffwork"),
    ],
    ids=["call activity", "business rule"],
)
def test_task_that_names_nothing_to_call_is_refused(engine, tmp_path, task, said):
    assert said in refusal(engine, tmp_path, document(task, flows("start>task>end")))


def test_process_that_is_in_two_files_is_named_with_both(engine, folder):
    (folder / "copy.bpmn").write_text(inner())
    with pytest.raises(InvalidProcess, match=r"'inner' is in copy.bpmn and in inner.bpmn: leave"):
        engine.read(folder, "case")


def test_decisions_without_a_process_are_refused(engine, tmp_path):
    assert "it has decisions (DMN) and no process: give" in refusal(engine, tmp_path, DECISION)


BIZAGI = """<?xml version="1.0" encoding="utf-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" targetNamespace="http://www.bizagi.com"
  id="D" exporter="Bizagi Modeler" exporterVersion="4.0.0.014">
 <process id="Id_1" name="Main process" isExecutable="false"/>
 <process id="Id_2" name="Notify" isExecutable="false">
  <extensionElements><bizagi:BizagiExtensions xmlns:bizagi="http://www.bizagi.com/bpmn20">
   <bizagi:BizagiProperties/></bizagi:BizagiExtensions></extensionElements>
  <startEvent id="a"/><serviceTask id="b" name="Send SMS"/><endEvent id="c"/>
  <sequenceFlow id="ab" sourceRef="a" targetRef="b"/>
  <sequenceFlow id="bc" sourceRef="b" targetRef="c"/>
 </process>
</definitions>"""


def test_file_of_bizagi_modeler_is_refused_with_what_it_needs(engine, tmp_path):
    path = tmp_path / "bizagi.bpmn"
    path.write_text(BIZAGI)
    with pytest.raises(InvalidProcess) as refused:
        engine.read(path)
    assert "no process in it is executable (Id_1" in str(refused.value)
    assert "saved by Bizagi Modeler, for another engine" in str(refused.value)
    with pytest.raises(InvalidProcess) as refused:
        engine.read(path, "Id_2")
    assert "'b' has no spiffworkflow:serviceTaskOperator" in str(refused.value)
    operator = (
        '<extensionElements><s:serviceTaskOperator id="twilio/send_sms" resultVariable="sms"'
        ' xmlns:s="http://spiffworkflow.org/bpmn/schema/1.0/core"><s:parameters>'
        '<s:parameter id="to" type="str" value="\'+14155550123\'"/>'
        '<s:parameter id="body" type="str" value="\'Hola\'"/></s:parameters>'
        "</s:serviceTaskOperator></extensionElements></serviceTask>"
    )
    path.write_text(BIZAGI.replace('name="Send SMS"/>', f'name="Send SMS">{operator}'))
    case = engine.start(path, process="Id_2")
    case.run()
    assert case.data["sms"]["status"] == "queued"
