"""Reads cases of the first format: SpiffWorkflow's own format, with the calls inside its tasks."""

from __future__ import annotations

from typing import Any

from SpiffWorkflow.bpmn.serializer.default.workflow import (
    BpmnSubWorkflowConverter,
    BpmnWorkflowConverter,
    TaskConverter,
)

from .call import Call, State
from .case import Case
from .given import NewId, given
from .process import Process
from .state import spiff_registry
from .workflow import Subprocess, Task, Workflow


def case_of_first_format(
    case_id: str, process: Process, state: dict[str, Any], now: float, new_id: NewId
) -> Case:
    """Return the case of this state. `now` is a time before its calls began, as seconds since 1970.

    Raise LookupError, TypeError, ValueError or AttributeError if the state can't be read.
    """
    registry = spiff_registry()
    BpmnWorkflowConverter(Workflow, registry, "BpmnWorkflow")
    BpmnSubWorkflowConverter(Subprocess, registry, "BpmnSubWorkflow")
    TaskConverter(Task, registry, "Task")
    fields = {**state, "spec": process.spec, "subprocess_specs": process.subprocesses}
    with given(now, new_id):
        workflow = registry.restore(fields)
    calls, late = {}, []
    for flow in (workflow, *workflow.subprocesses.values()):
        for task in flow.tasks.values():
            workflow.track.note(task)
            record = task.internal_data.pop("connector_call", {})
            if "late" in record:
                element = task.task_spec.bpmn_id
                late.append({"task": str(task.id), "element": element, "result": record["late"]})
            elif record:
                calls[str(task.id)] = _call(task, record, now)
    return Case(case_id, process, workflow, new_id, calls=calls, late=late)


def _call(task: Any, record: dict[str, Any], now: float) -> Call:
    spec = task.task_spec
    call = Call(task.number, spec.operation_name, spec.bpmn_id, spec.bpmn_name or "")
    call.attempts, call.due = record.get("attempts", 0), record.get("due", 0.0)
    if record.get("done"):
        call.state = State.DONE
    elif "failed" in record:
        call.state, call.error = State.FAILED, record["failed"]
    elif record.get("underway") or "interrupted" in record:
        call.state, call.since = State.BEGUN, now
    return call
