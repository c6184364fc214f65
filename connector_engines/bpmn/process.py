"""Reads and checks a BPMN file. A file with an error is refused before any case starts.

The XML of an unknown file can do no harm, but its expressions can: SpiffWorkflow's expressions are
Python code. So run only processes that you trust.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree
from SpiffWorkflow.bpmn.exceptions import WorkflowDataException
from SpiffWorkflow.bpmn.parser.BpmnParser import full_tag
from SpiffWorkflow.bpmn.parser.ValidationException import ValidationException
from SpiffWorkflow.bpmn.specs.data_spec import BpmnDataStoreSpecification
from SpiffWorkflow.bpmn.specs.event_definitions.item_aware_event import SignalEventDefinition
from SpiffWorkflow.bpmn.specs.event_definitions.message import MessageEventDefinition
from SpiffWorkflow.bpmn.specs.event_definitions.timer import TimerEventDefinition
from SpiffWorkflow.exceptions import SpiffWorkflowException
from SpiffWorkflow.spiff.parser.process import VALIDATOR, SpiffBpmnParser
from SpiffWorkflow.spiff.parser.task_spec import ServiceTaskParser

from connector_runtime import Connector

from .errors import InvalidProcess
from .scripts import ConnectorTask

_NAMES = {
    "bpmn": "http://www.omg.org/spec/BPMN/20100524/MODEL",
    "bpmndi": "http://www.omg.org/spec/BPMN/20100524/DI",
    "spiffworkflow": "http://spiffworkflow.org/bpmn/schema/1.0/core",
    "camunda": "http://camunda.org/schema/1.0/bpmn",
    "zeebe": "http://camunda.org/schema/zeebe/1.0",
}
_UNSUPPORTED = {
    "//bpmn:subProcess[@triggeredByEvent='true']/bpmn:startEvent[bpmn:errorEventDefinition or"
    " bpmn:escalationEventDefinition or bpmn:compensateEventDefinition]": (
        "starts an event subprocess on an error, escalation or compensation, which SpiffWorkflow "
        "does not carry out: attach a boundary event to the activity"
    ),
    "//bpmn:boundaryEvent[@cancelActivity='false' and bpmn:errorEventDefinition]": (
        "catches an error without interrupting, which BPMN does not allow: let it interrupt"
    ),
    "//bpmn:boundaryEvent[bpmn:compensateEventDefinition]": (
        "is for compensation, which SpiffWorkflow does not carry out"
    ),
    "//*[bpmn:linkEventDefinition]": (
        "is a link event, which SpiffWorkflow does not connect: draw a sequence flow"
    ),
    "//bpmn:scriptTask[normalize-space(@scriptFormat) and not(contains("
    "translate(@scriptFormat, 'PYTHON', 'python'), 'python'))]": (
        "has a script of another language: write it in Python, and say so in scriptFormat"
    ),
    "//bpmn:sendTask[not(@messageRef)]": (
        "is a send task without a message, which sends nothing: draw a service task"
    ),
}
# Elements that may end a process without a sequence flow: BPMN allows it.
_ENDS = (
    "//bpmn:process//*[self::bpmn:task or self::bpmn:userTask or self::bpmn:manualTask or"
    " self::bpmn:scriptTask or self::bpmn:serviceTask or self::bpmn:sendTask or"
    " self::bpmn:receiveTask or self::bpmn:businessRuleTask or self::bpmn:callActivity or"
    " self::bpmn:transaction or self::bpmn:intermediateCatchEvent or"
    " self::bpmn:intermediateThrowEvent or self::bpmn:boundaryEvent or"
    " self::bpmn:subProcess[not(@triggeredByEvent='true')]]"
)
# Elements that need an outgoing sequence flow.
_WAYS = (
    "//bpmn:process//*[self::bpmn:startEvent or self::bpmn:exclusiveGateway or"
    " self::bpmn:parallelGateway or self::bpmn:inclusiveGateway or"
    " self::bpmn:eventBasedGateway or self::bpmn:complexGateway]"
)
# Attributes that Spiff Arena writes and BPMN's schema does not have.
_ARENA = (
    ("//bpmn:startEvent", "messageRef"),
    ("//bpmn:dataStoreReference", "type"),
    ("//bpmndi:BPMNPlane", "label"),
    ("//bpmn:collaboration", "messages"),
)
_EVALUATED = (
    *("conditionExpression", "condition"),
    *("loopCardinality", "loopCondition", "completionCondition"),
)
_TIMES: dict[str, Callable[[Any], Any]] = {
    "timeDuration": TimerEventDefinition.parse_iso_duration,
    "timeDate": TimerEventDefinition.get_datetime,
    "timeCycle": TimerEventDefinition.parse_iso_recurring_interval,
}
_KINDS = {"timeDuration": "duration", "timeDate": "date", "timeCycle": "cycle"}
_ISO_8601 = re.compile(r"P[0-9T][0-9A-Z.,/]*|R[0-9]*/.*|[0-9]{4}-[0-9]{2}-[0-9]{2}(T.*)?")
MOST_BYTES = 4 * 1024**2


class Process(NamedTuple):
    """A process that can be run.

    `key` is a hash of the files' content and the process's id, `name` is that id, `file` the name
    of its file. `spec` and `subprocesses` are SpiffWorkflow's specifications; all cases share them.
    """

    key: str
    name: str
    file: str
    spec: Any
    subprocesses: dict[str, Any]


DATA_STORES = "data_stores"


class DataStore(BpmnDataStoreSpecification):  # type: ignore[misc]  # SpiffWorkflow has no types
    """A data store. It belongs to one case: cases share no data."""

    def get(self, my_task: Any) -> None:
        values = my_task.workflow.top_workflow.data.get(DATA_STORES, {})
        if self.bpmn_id not in values:
            raise WorkflowDataException(
                f"The data store '{self.bpmn_id}' is empty.", my_task, data_input=self
            )
        my_task.data[self.bpmn_id] = deepcopy(values[self.bpmn_id])

    def set(self, my_task: Any) -> None:
        if self.bpmn_id not in my_task.data:
            raise WorkflowDataException(
                f"The data store '{self.bpmn_id}' is to be written, but there is no variable of "
                "this name.",
                my_task,
                data_output=self,
            )
        values = my_task.workflow.top_workflow.data.setdefault(DATA_STORES, {})
        values[self.bpmn_id] = my_task.data.pop(self.bpmn_id)


class _AnyName(dict):  # type: ignore[type-arg]
    """A mapping that has the same value for every name."""

    def __contains__(self, _: object) -> bool:
        return True

    def __missing__(self, _: object) -> Any:
        return DataStore


class _Parser(SpiffBpmnParser):  # type: ignore[misc]
    DATA_STORE_CLASSES = _AnyName()
    OVERRIDE_PARSER_CLASSES = {  # noqa: RUF012 - how SpiffWorkflow is extended
        **SpiffBpmnParser.OVERRIDE_PARSER_CLASSES,
        full_tag("serviceTask"): (ServiceTaskParser, ConnectorTask),
    }


def parse(
    contents: Mapping[Path, bytes],
    connectors: Mapping[str, Connector],
    settings: Mapping[str, Mapping[str, Any]],
    process_id: str | None = None,
) -> Process:
    """Return one process of these files, after all checks that are possible before it runs.

    `contents` are BPMN files, and DMN files for decisions, by their path. `settings` are the
    settings of each connector: a global parameter that is set there may be missing in a task.
    `process_id` is needed if it is not clear which process to run. Raise InvalidProcess with every
    problem.
    """
    trees = {path: _tree(path, content) for path, content in contents.items()}
    drawings = {path: tree for path, tree in trees.items() if _is_bpmn(tree)}
    decisions = {path: tree for path, tree in trees.items() if path not in drawings}
    first = next(iter(contents))
    if not drawings:
        raise InvalidProcess(
            f"{first}: it has decisions (DMN) and no process: give the BPMN file that uses them "
            "too, or the folder with both files."
        )
    chosen = _chosen(drawings, process_id)
    path = next(file for file, tree in drawings.items() if chosen in _processes(tree))
    files: dict[str, Path] = {}
    for file, tree in drawings.items():
        for name in _processes(tree):
            if files.setdefault(name, file) is not file:
                why = f"the process '{name}' is in {files[name].name} and in {file.name}"
                raise InvalidProcess(f"{path}: {why}: leave one of the files out.")
    problems = [
        f"{problem}" if file == path else f"{file.name}: {problem}"
        for file, tree in drawings.items()
        for problem in (
            *_references(tree),
            *_unsupported(tree),
            *_operators(tree, connectors, settings),
            *_expressions(tree),
            *_calls(tree, drawings, decisions),
        )
    ]
    if problems:
        saved_by = _saved_by(trees[path])
        raise InvalidProcess(f"{path}: {'; '.join(problems)}.{saved_by}", problems=problems)
    for tree in drawings.values():
        _complete(tree)
    parser = _Parser()
    try:
        for file, tree in decisions.items():
            parser.add_dmn_xml(tree.getroot(), str(file))
        for file, tree in drawings.items():
            _validate(tree, str(file))
            parser.add_bpmn_xml(tree, str(file))
        spec = parser.get_spec(chosen)
        subprocesses = parser.get_subprocess_specs(chosen)
    except ValidationException as error:
        where = f"'{error.id}': " if error.id else f"line {error.line_number}: "
        where = where if error.id or error.line_number else ""
        reason = " ".join(str(error.args[0]).split()).rstrip(".").replace(full_tag(""), "")
        where_from = error.file_name or path
        raise InvalidProcess(
            f"{where_from}: {where}{reason}.{_saved_by(trees[path])}", problems=[f"{where}{reason}"]
        ) from error
    except SpiffWorkflowException as error:
        raise InvalidProcess(f"{path}: {error}.", problems=[str(error)]) from error
    digest = hashlib.sha256(chosen.encode())
    for content in contents.values():
        digest.update(hashlib.sha256(content).digest())
    return Process(digest.hexdigest(), chosen, path.name, spec, subprocesses)


def _validate(tree: Any, file: str) -> None:
    """Check a drawing against BPMN's schema; raise ValidationException."""
    copied = deepcopy(tree)
    for element in copied.iter():
        if _is_data_item(element):
            element.attrib.pop("id", None)
    VALIDATOR.validate(copied, file)


def _is_bpmn(tree: Any) -> bool:
    return bool(tree.getroot().tag == full_tag("definitions"))


def _processes(tree: Any) -> dict[str, Any]:
    return {str(process.get("id")): process for process in tree.iterfind(".//bpmn:process", _NAMES)}


def _saved_by(tree: Any) -> str:
    """Return a sentence that names the program that saved the file for another engine, or ""."""
    root = tree.getroot()
    program = root.get("exporter") or ""
    spaces = " ".join(str(space) for space in root.nsmap.values()).lower()
    for word, name in (("bizagi", "Bizagi Modeler"), ("camunda", "Camunda Modeler")):
        if not program and word in spaces:
            program = name
    tasks = root.iterfind(".//bpmn:serviceTask", _NAMES)
    is_foreign = any(_operator(task) is None for task in tasks) or any(_expressions(tree))
    if not program or not is_foreign:
        return ""
    return (
        f" (The file was saved by {program}, for another engine: conditions and scripts must be "
        "Python, and each service task needs an operator.)"
    )


def _tree(path: Path, content: bytes) -> Any:
    if len(content) > MOST_BYTES:
        raise InvalidProcess(f"{path}: it is larger than {MOST_BYTES} bytes.")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        # SpiffWorkflow would read comments as elements
        remove_comments=True,
        remove_pis=True,
    )
    try:
        tree = etree.ElementTree(etree.fromstring(content, parser))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidProcess(f"{path}: it is not well-formed XML ({error}).") from error
    if tree.docinfo.internalDTD is not None or tree.docinfo.doctype:
        raise InvalidProcess(
            f"{path}: it has a DOCTYPE, which BPMN does not need and which can be dangerous: "
            "remove it."
        )
    kind = etree.QName(tree.getroot())
    if kind.localname != "definitions" or not ("BPMN" in kind.namespace or "DMN" in kind.namespace):
        raise InvalidProcess(
            f"{path}: it is not a BPMN 2.0 file: its root element is not 'definitions'."
        )
    return tree


def _chosen(drawings: Mapping[Path, Any], asked: str | None) -> str:
    """Return the id of the process to run: `asked`, or the only process that no other one calls."""
    processes = {
        name: process for tree in drawings.values() for name, process in _processes(tree).items()
    }
    if asked in processes:
        return str(asked)
    called = {
        call.get("calledElement")
        for tree in drawings.values()
        for call in tree.iterfind(".//bpmn:callActivity", _NAMES)
    }
    executable = [
        name for name, process in processes.items() if process.get("isExecutable") == "true"
    ]
    meant = [name for name in executable if name not in called] or executable
    if asked is None and len(meant) == 1:
        return meant[0]
    listed = ", ".join(
        name if name in executable else f"{name} (isExecutable is not true)"
        for name in sorted(processes)
    )
    path, tree = next(iter(drawings.items()))
    if asked is not None:
        why = f"it has no process '{asked}' (there are: {listed or 'none'})"
    elif not processes:
        why = "it has no process"
    elif meant:
        why = f"several processes could be meant ({listed}): name the one to run"
    else:
        why = (
            f"no process in it is executable ({listed}): name the one to run, or set isExecutable "
            "to true in the drawing"
        )
    raise InvalidProcess(f"{path}: {why}.{_saved_by(tree)}")


def _complete(tree: Any) -> None:
    """Add elements that BPMN allows to leave out, and remove attributes that its schema lacks."""
    for xpath, attribute in _ARENA:
        for element in tree.xpath(xpath, namespaces=_NAMES):
            element.attrib.pop(attribute, None)
    for process in tree.iterfind(".//bpmn:process", _NAMES):
        # The caller named this process, or another process calls it
        process.set("isExecutable", "true")
    declared = {store.get("id") for store in tree.iterfind(".//bpmn:dataStore", _NAMES)}
    for reference in tree.iterfind(".//bpmn:dataStoreReference", _NAMES):
        store = reference.get("dataStoreRef") or reference.get("id")
        reference.set("dataStoreRef", store)
        if store not in declared:
            declared.add(store)
            element = etree.Element(full_tag("dataStore"), id=store, name=store)
            tree.getroot().insert(0, element)
    leaving = _leaving(tree)
    for element in tree.xpath(_ENDS, namespaces=_NAMES):
        name = element.get("id")
        if name not in leaving and element.get("isForCompensation") != "true":
            end = etree.Element(full_tag("endEvent"), id=f"{name}.end")
            flow = etree.Element(
                full_tag("sequenceFlow"),
                id=f"{name}.to_end",
                sourceRef=name,
                targetRef=f"{name}.end",
            )
            element.addnext(flow)
            element.addnext(end)


def _leaving(tree: Any) -> set[str | None]:
    return {flow.get("sourceRef") for flow in tree.iterfind(".//bpmn:sequenceFlow", _NAMES)}


def _calls(tree: Any, drawings: Mapping[Path, Any], decisions: Mapping[Path, Any]) -> Iterator[str]:
    """Check that each called process and decision is in one of the files."""
    processes = {name for drawing in drawings.values() for name in _processes(drawing)}
    for call in tree.iterfind(".//bpmn:callActivity", _NAMES):
        name = call.get("calledElement")
        if not name:
            yield f"'{call.get('id')}' calls no process: set its calledElement"
        elif name not in processes:
            yield (
                f"'{call.get('id')}' calls the process '{name}', which is in none of the files: "
                "give its file too, or the folder with both files"
            )
    known = {
        element.get("id")
        for table in decisions.values()
        for element in table.iter()
        if isinstance(element.tag, str) and etree.QName(element).localname == "decision"
    }
    for task in tree.iterfind(".//bpmn:businessRuleTask", _NAMES):
        name = task.findtext("bpmn:extensionElements/spiffworkflow:calledDecisionId", "", _NAMES)
        if not name.strip():
            yield (
                f"'{task.get('id')}' asks for no decision: set its spiffworkflow:calledDecisionId"
            )
        elif name.strip() not in known:
            yield (
                f"'{task.get('id')}' asks for the decision '{name.strip()}' "
                "(spiffworkflow:calledDecisionId), which is in none of the files: give its DMN "
                "file too, or the folder with both files"
            )


def _references(tree: Any) -> Iterator[str]:
    """Check that ids are unique and that every id that an element refers to exists."""
    elements = tree.iterfind(".//bpmn:*", _NAMES)
    counts = Counter(element.get("id") for element in elements if not _is_data_item(element))
    known = {element.get("id") for element in tree.iter()}
    for name, count in counts.items():
        if name is not None and count > 1:
            yield f"the id '{name}' is declared {count} times"
    for element in tree.iterfind(".//bpmn:*", _NAMES):
        for attribute in ("sourceRef", "targetRef", "attachedToRef", "errorRef"):
            name = element.get(attribute)
            if name is not None and name not in known:
                yield f"'{element.get('id')}' {attribute} names '{name}', which does not exist"


def _is_data_item(element: Any) -> bool:
    """Tell whether the element's id is a variable of a loop. Several loops may use the same."""
    return element.tag in (full_tag("inputDataItem"), full_tag("outputDataItem"))


def _unsupported(tree: Any) -> Iterator[str]:
    """Refuse elements that SpiffWorkflow would ignore, or would run in another way than drawn."""
    for xpath, why in _UNSUPPORTED.items():
        for element in tree.xpath(xpath, namespaces=_NAMES):
            yield f"'{element.get('id')}' {why}"
    leaving = _leaving(tree)
    for element in tree.xpath(_WAYS, namespaces=_NAMES):
        if element.get("id") not in leaving:
            yield (
                f"'{element.get('id')}' has no outgoing sequence flow: draw one, for example to an "
                "end event"
            )


def _operators(
    tree: Any, connectors: Mapping[str, Connector], settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Check every service task against the connectors: what it calls, and with which inputs."""
    for task in tree.iterfind(".//bpmn:serviceTask", _NAMES):
        where = f"'{task.get('id')}'"
        operator = _operator(task)
        if operator is None:
            yield (
                f"{where}{_of_others(task)} has no spiffworkflow:serviceTaskOperator: choose a "
                f"connector's action ({_offered(connectors)})"
            )
            continue
        connector_name, slash, action_name = (operator.get("id") or "").partition("/")
        if not slash:
            yield f"{where} calls '{connector_name}', which must be connector/action"
            continue
        connector = connectors.get(connector_name)
        if connector is None:
            known = ", ".join(connectors) or "none"
            yield f"{where} calls the connector '{connector_name}', which is not loaded ({known})"
            continue
        action = connector.actions.get(action_name)
        if action is None:
            known = ", ".join(connector.actions)
            yield f"{where} calls '{connector_name}/{action_name}'; its actions are {known}"
            continue
        entries = operator.findall("spiffworkflow:parameters/spiffworkflow:parameter", _NAMES)
        given = {entry.get("id"): (entry.get("value") or "").strip() for entry in entries}
        schema = action.input_schema
        for name in given:
            if name not in schema["properties"]:
                yield f"{where} gives '{name}', which is not an input of {action_name}"
        for name in schema.get("required", ()):
            filled = name in action.globals and settings[connector_name].get(name)
            if not given.get(name) and not filled:
                hint = (
                    f", and no global parameter '{name}' is set" if name in action.globals else ""
                )
                yield f"{where} does not give '{name}', which {action_name} requires{hint}"
        for name, value in given.items():
            if value:
                yield from _syntax(f"{where} parameter '{name}'", value, "eval")
        retry = operator.find("spiffworkflow:retry", _NAMES)
        if retry is None:
            continue
        for attribute in ("retries", "backoff_base"):
            text = retry.get(attribute, "1")
            if not (text.isascii() and text.isdigit() and int(text) <= 100):
                yield f"{where} retry '{attribute}' must be a whole number from 0 to 100"


def _operator(task: Any) -> Any:
    return task.find("bpmn:extensionElements/spiffworkflow:serviceTaskOperator", _NAMES)


def _of_others(task: Any) -> str:
    """Return a part of a sentence that names what the task has for another engine, or ""."""
    definition = task.find("bpmn:extensionElements/zeebe:taskDefinition", _NAMES)
    if definition is not None:
        return f", which has the Camunda job type '{definition.get('type')}',"
    for name in ("topic", "class", "delegateExpression", "expression"):
        value = task.get(f"{{{_NAMES['camunda']}}}{name}")
        if value:
            return f", which has camunda:{name} '{value}',"
    return ""


def _offered(connectors: Mapping[str, Connector]) -> str:
    """Return a text that lists all operators, with the inputs that they need."""
    offered = []
    for name, connector in connectors.items():
        for action in connector.actions.values():
            required = action.input_schema.get("required", ())
            needed = ", ".join(field for field in required if field not in action.globals)
            offered.append(f"{name}/{action.name}" + (f" with {needed}" if needed else ""))
    return "; ".join(offered) or "none is loaded"


def _expressions(tree: Any) -> Iterator[str]:
    """Check that the expressions are Python, and that a timer's text is a time."""
    for kind in ("bpmn:script", "spiffworkflow:preScript", "spiffworkflow:postScript"):
        for element in tree.iterfind(f".//{kind}", _NAMES):
            name = kind.partition(":")[2]
            yield from _syntax(f"'{_owner(element)}' {name}", element.text or "", "exec")
    for name in _EVALUATED:
        for element in tree.iterfind(f".//bpmn:{name}", _NAMES):
            yield from _syntax(f"'{_owner(element)}' {name}", element.text or "", "eval")
    for name, parse_time in _TIMES.items():
        for element in tree.iterfind(f".//bpmn:{name}", _NAMES):
            where, text = f"'{_owner(element)}' {name}", (element.text or "").strip()
            if _ISO_8601.fullmatch(text):
                yield f'{where} is Python: write "{text}" in quotes'
                continue
            yield from _syntax(where, text, "eval")
            with contextlib.suppress(SyntaxError, ValueError, RecursionError):
                value = ast.literal_eval(text)
                if not _is_time(value, parse_time):
                    yield f"{where} is not an ISO 8601 {_KINDS[name]}"


def _owner(element: Any) -> str | None:
    """Return the id of the nearest drawn element around this one."""
    for around in element.iterancestors():
        name = etree.QName(around).localname
        if around.get("id") and not name.endswith(("EventDefinition", "LoopCharacteristics")):
            return str(around.get("id"))
    return None


def _is_time(value: Any, parse_time: Callable[[str], Any]) -> bool:
    try:
        parse_time(value)
    # SpiffWorkflow raises plain Exception for a wrong duration, and others for a wrong type.
    except Exception:  # noqa: BLE001
        return False
    return True


def _syntax(where: str, text: str, mode: str) -> Iterator[str]:
    try:
        ast.parse(text.strip() if mode == "eval" else text, mode=mode)
    except (SyntaxError, ValueError, RecursionError) as error:
        yield f"{where} is not valid Python ({getattr(error, 'msg', error)})"


def starts(process: Process) -> set[tuple[str, str]]:
    """Return the events that start a process, as ("message", name) and ("signal", name)."""
    kinds = {"message": MessageEventDefinition, "signal": SignalEventDefinition}
    return {
        (kind, event.event_definition.name)
        for event in process.spec.bpmn_start_events
        for kind, definition in kinds.items()
        if isinstance(event.event_definition, definition)
    }
