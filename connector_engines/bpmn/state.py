"""A process and a case as text, for whoever keeps them."""

from __future__ import annotations

import json
from typing import Any

from SpiffWorkflow.bpmn import BpmnWorkflow
from SpiffWorkflow.bpmn.serializer import BpmnWorkflowSerializer
from SpiffWorkflow.bpmn.serializer.default.workflow import BpmnWorkflowConverter, WorkflowConverter
from SpiffWorkflow.bpmn.serializer.helpers import DefaultRegistry
from SpiffWorkflow.spiff.serializer.config import SPIFF_CONFIG
from SpiffWorkflow.spiff.serializer.task_spec import ServiceTaskConverter
from SpiffWorkflow.spiff.specs.defaults import ServiceTask

from .call import Call
from .case import Case
from .given import NewId, given
from .process import Process
from .scripts import ConnectorTask


class _State(BpmnWorkflowConverter):  # type: ignore[misc]  # SpiffWorkflow has no types
    """Leaves the specifications out of a case's state: they are kept once for all cases."""

    def to_dict(self, workflow: Any) -> dict[str, Any]:
        state: dict[str, Any] = WorkflowConverter.to_dict(self, workflow)
        state["subprocesses"] = self.mapping_to_dict(workflow.subprocesses)
        state["bpmn_events"] = self.registry.convert(workflow.bpmn_events)
        return state


def _registry() -> Any:
    config = {**SPIFF_CONFIG, BpmnWorkflow: _State, ConnectorTask: ServiceTaskConverter}
    del config[ServiceTask]
    registry = BpmnWorkflowSerializer.configure(config, DefaultRegistry())
    registry._encoder_mode = True  # leaves the walk through the data to the JSON encoder
    return registry


_REGISTRY = _registry()
_ENCODER = BpmnWorkflowSerializer(_REGISTRY)._encoder_cls


def process_text(process: Process) -> str:
    """Return a process as text, so that a case goes on as it began when its file changes."""
    return json.dumps(process._asdict(), cls=_ENCODER)


def process_of(text: str) -> Process:
    """Return the process of this text. It holds expressions: it is code."""
    fields = json.loads(text)
    for name in ("spec", "subprocesses"):
        fields[name] = _REGISTRY.restore(fields[name])
    return Process(**fields)


def case_text(case: Case) -> str:
    """Return a case as text, without its process.

    Raise TypeError, ValueError or RecursionError where its data is no JSON.
    """
    return json.dumps(
        {
            "workflow": _REGISTRY.convert(case.workflow),
            "calls": {name: call.to_dict() for name, call in case.calls.items()},
            "fault": case.fault,
            "late": case.late,
        },
        cls=_ENCODER,
    )


def case_of(case_id: str, process: Process, text: str, now: float, new_id: NewId) -> Case:
    """Return the case of this text. Raise LookupError, TypeError, ValueError or AttributeError."""
    fields = json.loads(text)
    workflow = {
        **fields["workflow"],
        "spec": process.spec,
        "subprocess_specs": process.subprocesses,
    }
    with given(now, new_id):
        restored = _REGISTRY.restore(workflow)
    calls = {name: Call.from_dict(record) for name, record in fields["calls"].items()}
    return Case(
        case_id,
        process,
        restored,
        new_id,
        calls=calls,
        fault=fields["fault"],
        late=fields["late"],
    )
