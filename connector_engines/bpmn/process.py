"""A BPMN file: read without trust in its XML, and refused whole before any case starts.

Its expressions are Python, as in everything made for SpiffWorkflow: a process from a stranger is
code from a stranger, and only its XML is defended against here.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree
from SpiffWorkflow.bpmn.parser.BpmnParser import full_tag
from SpiffWorkflow.bpmn.parser.ValidationException import ValidationException
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
    "spiffworkflow": "http://spiffworkflow.org/bpmn/schema/1.0/core",
}
_UNSUPPORTED = {
    "//bpmn:subProcess[@triggeredByEvent='true']/bpmn:startEvent[bpmn:errorEventDefinition or"
    " bpmn:escalationEventDefinition or bpmn:compensateEventDefinition]": (
        "starts an event subprocess on an error, escalation or compensation, which SpiffWorkflow "
        "does not carry out: attach a boundary event to the activity"
    ),
    "//bpmn:boundaryEvent[@cancelActivity='false' and bpmn:errorEventDefinition]": (
        "catches an error without interrupting, which BPMN does not know: let it interrupt"
    ),
    "//bpmn:boundaryEvent[bpmn:compensateEventDefinition]": (
        "is for compensation, which SpiffWorkflow does not carry out"
    ),
    "//*[bpmn:linkEventDefinition]": (
        "is a link event, which SpiffWorkflow does not connect: draw a sequence flow"
    ),
    "//bpmn:sendTask[not(@messageRef)]": (
        "is a send task without a message, which sends nothing: for an SMS use a service task"
    ),
}
# What a process goes on from. Without a way on, SpiffWorkflow never ends it.
_NODES = (
    "//bpmn:process//*[self::bpmn:startEvent or self::bpmn:task or self::bpmn:userTask or"
    " self::bpmn:manualTask or self::bpmn:scriptTask or self::bpmn:serviceTask or"
    " self::bpmn:sendTask or self::bpmn:receiveTask or self::bpmn:businessRuleTask or"
    " self::bpmn:callActivity or self::bpmn:transaction or self::bpmn:intermediateCatchEvent or"
    " self::bpmn:intermediateThrowEvent or self::bpmn:boundaryEvent or"
    " self::bpmn:exclusiveGateway or self::bpmn:parallelGateway or"
    " self::bpmn:inclusiveGateway or self::bpmn:eventBasedGateway or"
    " self::bpmn:complexGateway or self::bpmn:subProcess[not(@triggeredByEvent='true')]]"
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
    """A process that can be run. `key` names exactly this definition, whatever its file is called.

    `spec` and `subprocesses` are SpiffWorkflow's specifications, shared by all its cases.
    """

    key: str
    name: str
    file: str
    spec: Any
    subprocesses: dict[str, Any]


class _Parser(SpiffBpmnParser):  # type: ignore[misc]  # SpiffWorkflow has no types
    OVERRIDE_PARSER_CLASSES = {  # noqa: RUF012 - how SpiffWorkflow is extended
        **SpiffBpmnParser.OVERRIDE_PARSER_CLASSES,
        full_tag("serviceTask"): (ServiceTaskParser, ConnectorTask),
    }


def parse(
    path: Path,
    content: bytes,
    connectors: Mapping[str, Connector],
    settings: Mapping[str, Mapping[str, Any]],
    process_id: str | None = None,
) -> Process:
    """Return one process of a BPMN file, once all is checked that can be known before it runs.

    `settings` say which global parameters fill inputs that no task gives. `process_id` is needed
    where the file has several executable processes. Raise InvalidProcess with every problem.
    """
    tree = _tree(path, content)
    problems = [
        *_references(tree),
        *_unsupported(tree),
        *_operators(tree, connectors, settings),
        *_expressions(tree),
    ]
    if problems:
        raise InvalidProcess(f"{path}: {'; '.join(problems)}.", problems=problems)
    parser = _Parser(validator=VALIDATOR)
    try:
        parser.add_bpmn_xml(tree, str(path))
        chosen = _chosen(path, sorted(parser.get_process_ids()), process_id)
        spec = parser.get_spec(chosen)
        subprocesses = parser.get_subprocess_specs(chosen)
    except ValidationException as error:
        where = f"'{error.id}': " if error.id else f"line {error.line_number}: "
        where = where if error.id or error.line_number else ""
        reason = " ".join(str(error.args[0]).split()).rstrip(".")
        raise InvalidProcess(f"{path}: {where}{reason}.", problems=[f"{where}{reason}"]) from error
    except SpiffWorkflowException as error:
        raise InvalidProcess(f"{path}: {error}.", problems=[str(error)]) from error
    key = hashlib.sha256(content + chosen.encode()).hexdigest()
    return Process(key, chosen, path.name, spec, subprocesses)


def _tree(path: Path, content: bytes) -> Any:
    if len(content) > MOST_BYTES:
        raise InvalidProcess(f"{path}: it is larger than {MOST_BYTES} bytes.")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        tree = etree.ElementTree(etree.fromstring(content, parser))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidProcess(f"{path}: it is not well-formed XML ({error}).") from error
    if tree.docinfo.internalDTD is not None or tree.docinfo.doctype:
        raise InvalidProcess(
            f"{path}: it has a DOCTYPE, which BPMN does not need and entities could abuse."
        )
    if tree.getroot().tag != full_tag("definitions"):
        raise InvalidProcess(f"{path}: it is no BPMN 2.0 file: its root is no 'definitions'.")
    return tree


def _chosen(path: Path, found: Sequence[str], asked: str | None) -> str:
    if asked is None and len(found) == 1:
        return found[0]
    if asked in found:
        return str(asked)
    listed = ", ".join(found) or "none"
    wanted = f"has no executable process '{asked}'" if asked else "must have one to choose"
    raise InvalidProcess(f"{path}: it {wanted}; executable processes in it: {listed}.")


def _references(tree: Any) -> Iterator[str]:
    """Check that what an element points to is there; a lost boundary event would catch nothing."""
    known = {element.get("id") for element in tree.iter() if isinstance(element.tag, str)}
    for element in tree.iterfind(".//bpmn:*", _NAMES):
        for attribute in ("sourceRef", "targetRef", "attachedToRef", "errorRef"):
            name = element.get(attribute)
            if name is not None and name not in known:
                yield f"'{element.get('id')}' {attribute} names '{name}', which is not there"


def _unsupported(tree: Any) -> Iterator[str]:
    """Refuse what SpiffWorkflow would pass over in silence, or carry out otherwise than drawn."""
    for xpath, why in _UNSUPPORTED.items():
        for element in tree.xpath(xpath, namespaces=_NAMES):
            yield f"'{element.get('id')}' {why}"
    leaving = {flow.get("sourceRef") for flow in tree.iterfind(".//bpmn:sequenceFlow", _NAMES)}
    for element in tree.xpath(_NODES, namespaces=_NAMES):
        if element.get("id") not in leaving:
            yield f"'{element.get('id')}' leads nowhere: let a sequence flow lead to an end event"


def _operators(
    tree: Any, connectors: Mapping[str, Connector], settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Check every service task against the connectors: what it calls, and with which inputs."""
    for task in tree.iterfind(".//bpmn:serviceTask", _NAMES):
        where = f"'{task.get('id')}'"
        operator = task.find("bpmn:extensionElements/spiffworkflow:serviceTaskOperator", _NAMES)
        if operator is None:
            yield f"{where} has no spiffworkflow:serviceTaskOperator: choose a connector's action"
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
                yield f"{where} gives '{name}', which is no input of {action_name}"
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
        for attribute in ("retries", "backoff_base") if retry is not None else ():
            text = retry.get(attribute, "1")
            if not (text.isascii() and text.isdigit() and int(text) <= 100):
                yield f"{where} retry '{attribute}' must be a whole number from 0 to 100"


def _expressions(tree: Any) -> Iterator[str]:
    """Check that what will be evaluated is Python at all, and a timer's text a time."""
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
                    yield f"{where} is no ISO 8601 {_KINDS[name]}"


def _owner(element: Any) -> str | None:
    """Return the id of the nearest element around that people have drawn."""
    for around in element.iterancestors():
        name = etree.QName(around).localname
        if around.get("id") and not name.endswith(("EventDefinition", "LoopCharacteristics")):
            return str(around.get("id"))
    return None


def _is_time(value: Any, parse_time: Callable[[str], Any]) -> bool:
    try:
        parse_time(value)
    # SpiffWorkflow raises plain Exception for a wrong duration, and whatever a wrong type brings.
    except Exception:  # noqa: BLE001
        return False
    return True


def _syntax(where: str, text: str, mode: str) -> Iterator[str]:
    try:
        ast.parse(text.strip() if mode == "eval" else text, mode=mode)
    except (SyntaxError, ValueError, RecursionError) as error:
        yield f"{where} is not valid Python ({getattr(error, 'msg', error)})"


def starts(process: Process) -> set[tuple[str, str]]:
    """Return what a process starts with: ("message", name) and ("signal", name)."""
    kinds = {"message": MessageEventDefinition, "signal": SignalEventDefinition}
    return {
        (kind, event.event_definition.name)
        for event in process.spec.bpmn_start_events
        for kind, definition in kinds.items()
        if isinstance(event.event_definition, definition)
    }
