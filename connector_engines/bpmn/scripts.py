"""Service tasks and expressions. A service task only requests its call."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from types import CodeType, SimpleNamespace
from typing import Any

from SpiffWorkflow.bpmn import BpmnEvent
from SpiffWorkflow.bpmn.script_engine import PythonScriptEngine, TaskDataEnvironment
from SpiffWorkflow.bpmn.specs.control import BoundaryEventSplit
from SpiffWorkflow.bpmn.specs.mixins.events.intermediate_event import BoundaryEvent
from SpiffWorkflow.spiff.specs.defaults import ServiceTask
from SpiffWorkflow.spiff.specs.event_definitions import ErrorEventDefinition

from connector_runtime import Connector
from connector_runtime.errors import ConnectorError

from .given import datetime

# What an expression may use in addition to the data of its case. This prevents accidents. It does
# not stop an attacker: Python can't be restricted in that way.
_BUILTINS: tuple[Any, ...] = (
    *(abs, all, any, bool, dict, divmod, enumerate, filter, float, format, frozenset, int),
    *(isinstance, len, list, map, max, min, next, range, repr, reversed, round, set, slice),
    *(sorted, str, sum, tuple, zip, ArithmeticError, Exception, IndexError, KeyError),
    *(LookupError, NameError, TypeError, ValueError, ZeroDivisionError),
)


# Python modules whose functions an expression may use, without the names that they import.
_MODULES = {
    # Its `now` is the time of the case
    "datetime": datetime,
    "timedelta": timedelta,
    "json": SimpleNamespace(dumps=json.dumps, loads=json.loads),
    "math": SimpleNamespace(
        **{name: value for name, value in vars(math).items() if name[0] != "_"}
    ),
}


class ConnectorTask(ServiceTask):  # type: ignore[misc]  # SpiffWorkflow has no types
    """A service task whose operator is `connector/action`."""

    def _execute(self, task: Any) -> None:
        """Request the call. Return None, which tells SpiffWorkflow that the task has not ended."""
        task.workflow.script_engine.wanted.append(task)


class _Environment(TaskDataEnvironment):  # type: ignore[misc]
    """Compiles an expression only once, because that takes longer than the evaluation."""

    def evaluate(self, expression: str, context: Any, external_context: Any = None) -> Any:
        return super().evaluate(_compiled(expression), context, external_context)


@lru_cache(maxsize=10_000)
def _compiled(expression: str) -> CodeType:
    # `eval` removes leading blanks too
    return compile(expression.lstrip(" \t"), "<string>", "eval")


class Scripts(PythonScriptEngine):  # type: ignore[misc]
    """Evaluates the expressions of a case, with a few built-in functions and without imports.

    `wanted` collects the service tasks that request a call. `count` is how many scripts have run,
    plus how many expressions that can change data in place.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        allowed = {builtin.__name__: builtin for builtin in _BUILTINS} | _MODULES | dict(names)
        # Built-in names have the lowest priority: a variable of the case with this name is used.
        super().__init__(_Environment({"__builtins__": allowed}))
        self.wanted: list[Any] = []
        self.count = 0
        self._others = frozenset(names)

    def evaluate(self, task: Any, expression: str, external_context: Any = None) -> Any:
        self.count += _may_change(expression, self._others)
        return super().evaluate(task, expression, external_context)

    def execute(self, task: Any, script: str, external_context: Any = None) -> Any:
        self.count += 1
        return super().execute(task, script, external_context)


@lru_cache(maxsize=10_000)
def _may_change(expression: str, others: frozenset[str]) -> bool:
    """Tell whether an expression could change data, by a method or by one of these functions."""
    try:
        nodes = list(ast.walk(ast.parse(expression.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError):
        # It can't be evaluated
        return False
    modules = [
        node.value
        for node in nodes
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in _MODULES
    ]
    return any(
        (isinstance(node, ast.Attribute) and node.value not in modules)
        or (isinstance(node, ast.Name) and node.id in others)
        for node in nodes
    )


def inputs(task: Any) -> dict[str, Any]:
    """Evaluate a service task's parameters. Raise SpiffWorkflow's WorkflowTaskException."""
    evaluated = task.task_spec.evaluate_params(task)
    return {name: parameter["value"] for name, parameter in evaluated.items()}


def throw(task: Any, error: ConnectorError) -> bool:
    """Pass an error to the boundary event that catches it. Return whether there is such an event.

    The rule of BPMN: the nearest activity around the failed one decides. If it has several events,
    the event for this code is chosen before the event for every code.
    """
    definition = ErrorEventDefinition(error.code, code=error.code)
    event = BpmnEvent(definition, payload=error.to_dict())
    for activity in _around(task):
        split = activity.parent
        if split is None or not isinstance(split.task_spec, BoundaryEventSplit):
            continue
        catchers = [
            child
            for child in split.children
            if isinstance(child.task_spec, BoundaryEvent) and child.task_spec.catches(child, event)
        ]
        catchers.sort(key=lambda child: child.task_spec.event_definition.code is None)
        for catcher in catchers[:1]:
            catcher.task_spec.catch(catcher, event)
            catcher.task_spec._update(catcher)
            return True
    return False


def _around(task: Any) -> Any:
    """Yield a task, the loop that it belongs to, and the tasks of the subprocesses around it."""
    while task is not None:
        yield task
        loop = task.parent
        if loop is not None and getattr(loop.task_spec, "task_spec", None) == task.task_spec.name:
            yield loop
        top = task.workflow.top_workflow
        outer = task.workflow.parent_task_id
        task = top.get_task_from_id(outer) if outer is not None else None


def script_names(
    connectors: Mapping[str, Connector], more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the additional names for expressions: `explain(connector, code)`, and `more`.

    `Connector.explain` describes what `explain` returns.
    """

    def explain(connector: str, code: Any, language: str = "en") -> dict[str, Any] | None:
        return connectors[connector].explain(code, language)

    return {"explain": explain, **(more or {})}
