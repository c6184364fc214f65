"""A process and a case in parts of text: only those that changed need to be written again.

A case is a mapping of names to JSON texts:

    ""            its head: the last task, the data of the process, what stopped it
    "s" + task    the head of a subprocess, by the task that started it
    "t" + task    a task
    "c" + task    the record of a task's call
    "v" + hash    a large value, or a part of a long list; once, however many tasks have it

`Keeper.changes` gives the parts that have changed since they were kept last. A case that is
finished is its head alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from SpiffWorkflow.bpmn.serializer import BpmnWorkflowSerializer
from SpiffWorkflow.bpmn.serializer.helpers import DefaultRegistry
from SpiffWorkflow.bpmn.specs.mixins.events.event_types import CatchingEvent
from SpiffWorkflow.spiff.serializer.config import SPIFF_CONFIG
from SpiffWorkflow.spiff.serializer.task_spec import ServiceTaskConverter
from SpiffWorkflow.spiff.specs.defaults import ServiceTask
from SpiffWorkflow.util.task import TaskState

from .call import Call
from .case import Case
from .given import NewId, given
from .process import Process
from .scripts import ConnectorTask
from .workflow import Subprocess, Task, Workflow, shared_output

Parts = dict[str, str]

_LARGE = 256  # characters of JSON from which a value is kept by its hash
_CHUNK = 32  # items of a long list that are kept together


def _registry() -> Any:
    config = {**SPIFF_CONFIG, ConnectorTask: ServiceTaskConverter}
    del config[ServiceTask]
    registry = BpmnWorkflowSerializer.configure(config, DefaultRegistry())
    registry._encoder_mode = True  # leaves the walk through the data to the JSON encoder
    return registry


_REGISTRY = _registry()
_ENCODER = BpmnWorkflowSerializer(_REGISTRY)._encoder_cls(separators=(",", ":"))
_encode: Callable[[Any], str] = _ENCODER.encode


def process_text(process: Process) -> str:
    """Return a process as text, so that a case goes on as it began when its file changes."""
    return _encode(process._asdict())


def process_of(text: str) -> Process:
    """Return the process of this text. It holds expressions: it is code."""
    fields = json.loads(text)
    for name in ("spec", "subprocesses"):
        fields[name] = _REGISTRY.restore(fields[name])
    return Process(**fields)


def case_parts(case: Case) -> Parts:
    """Return all parts of a case.

    Raise TypeError, ValueError or RecursionError where its data is no JSON.
    """
    writer = _Writer(case)
    writer.write_all()
    return {**writer.parts, **writer.values}


def case_of(
    case_id: str, process: Process, parts: Mapping[str, str], now: float, new_id: NewId
) -> Case:
    """Return the case of these parts. Raise LookupError, TypeError, ValueError, AttributeError."""
    return restore(case_id, process, parts, now, new_id)[0]


def restore(
    case_id: str, process: Process, parts: Mapping[str, str], now: float, new_id: NewId
) -> tuple[Case, Keeper]:
    """Return the case of these parts, and what keeps it from here on; raise as `case_of`."""
    reader = _Reader(process, parts)
    with given(now, new_id):
        case = reader.case(case_id, new_id)
    keeper = Keeper(case)
    keeper.kept({name: hash(text) for name, text in parts.items()}, reader.uses)
    return case, keeper


class Changes(NamedTuple):
    """Parts to write and names to delete, since the case was kept last."""

    put: Parts
    delete: set[str]


class Keeper:
    """Knows which parts of a case are kept, and what to write next.

    `changes` raises TypeError, ValueError or RecursionError where the data is no JSON. Call
    `confirm` once they are safe; until then they come again.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._kept: dict[str, int] | None = None  # the hash of each text tells whether it changed
        self._uses: dict[str, frozenset[str]] = {}  # the values that a part needs
        self._users: Counter[str] = Counter()  # how many parts need a value
        self._next: tuple[_Writer, Changes] | None = None
        case.workflow.track.record()

    def kept(self, texts: dict[str, int], uses: Mapping[str, frozenset[str]]) -> None:
        """Take these as kept."""
        self._kept = texts
        self._uses = dict(uses)
        for values in uses.values():
            self._users.update(values)

    def changes(self) -> Changes:
        case, track, kept = self._case, self._case.workflow.track, self._kept or {}
        writer = _Writer(case)
        delete: set[str] = set()
        if self._kept is None:
            writer.write_all()
        elif case.is_over:
            writer.write_head()
            delete = set(kept) - writer.values.keys()
        else:
            writer.write_head()
            writer.write_tasks(track.changed.values())
            writer.write_calls(case.calls.changed)
            delete = {f"t{name}" for name in track.removed}
            delete |= {f"s{name}" for name in track.closed}
            delete |= {f"c{name}" for name in case.calls.changed if name not in case.calls}
        put = {name: text for name, text in writer.parts.items() if kept.get(name) != hash(text)}
        delete = {name for name in delete if name in kept and name not in writer.parts}
        put.update((name, text) for name, text in writer.values.items() if name not in kept)
        delete |= self._unused(writer, delete)
        delete.difference_update(put)
        self._next = writer, Changes(put, delete)
        return self._next[1]

    def confirm(self) -> None:
        """Say that the last `changes` are safe."""
        assert self._next is not None
        writer, changes = self._next
        self._kept = self._kept or {}
        for name in (*changes.delete, *writer.uses):
            self._users.subtract(self._uses.pop(name, ()))
        self._uses.update(writer.uses)
        for values in writer.uses.values():
            self._users.update(values)
        for name in changes.delete:
            self._kept.pop(name, None)
            self._users.pop(name, None)
        self._kept.update((name, hash(text)) for name, text in changes.put.items())
        self._case.workflow.track.record()
        self._case.calls.changed.clear()

    def _unused(self, writer: _Writer, delete: set[str]) -> set[str]:
        """Return the values that nothing needs once these parts are written and deleted."""
        fewer: Counter[str] = Counter()
        for name in {*delete, *writer.uses}:
            fewer.update(self._uses.get(name, ()))
        for values in writer.uses.values():
            fewer.subtract(values)
        return {name for name, count in fewer.items() if 0 < self._users[name] <= count}


class _Writer:
    """Writes parts: `parts` by name, the values that they need, and which part needs which."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.parts: Parts = {}
        self.values: Parts = {}
        self.uses: dict[str, frozenset[str]] = {}
        self._needed: set[str] = set()

    def write_all(self) -> None:
        self.write_head()
        if not self._case.is_over:
            workflow = self._case.workflow
            for each in (workflow, *workflow.subprocesses.values()):
                self.write_tasks(each.tasks.values())
            self.write_calls(self._case.calls)

    def write_head(self) -> None:
        case = self._case
        workflow = case.workflow
        events = _encode(workflow.bpmn_events)
        self._put(
            "",
            f'{{"w":{self._workflow(workflow)},"events":{events},"fault":{_encode(case.fault)},'
            f'"late":{_encode(case.late)}}}',
        )

    def write_tasks(self, tasks: Iterable[Any]) -> None:
        subprocesses = {}
        for task in tasks:
            owner = task.workflow.parent_task_id
            if owner is not None:
                subprocesses[owner] = task.workflow
            self._put(f"t{task.id}", self._task(task, owner))
        for owner, subprocess in subprocesses.items():
            self._put(f"s{owner}", self._workflow(subprocess))

    def write_calls(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._case.calls:
                self._put(f"c{name}", _encode(self._case.calls[name].to_dict()))

    def _put(self, name: str, text: str) -> None:
        self.parts[name] = text
        self.uses[name] = frozenset(self._needed)
        self._needed = set()

    def _workflow(self, workflow: Any) -> str:
        last = workflow.last_task
        root = workflow.task_tree
        fields = {
            "root": str(root.id) if root is not None and not self._case.is_over else None,
            "last": str(last.id) if last is not None and not self._case.is_over else None,
            "success": workflow.success,
            "completed": workflow.completed,
            "correlations": workflow.correlations,
        }
        return f'{_encode(fields)[:-1]},"data":{self._data(workflow.data)}}}'

    def _task(self, task: Any, owner: UUID | None) -> str:
        internal = dict(task.internal_data)
        merged, remaining = internal.get("merged"), internal.get("remaining")
        if merged:
            internal["merged"] = [len(merged), merged[-1]]
        if isinstance(remaining, range):
            internal["remaining"] = {"from": remaining.start, "to": remaining.stop}
        if internal.get("event_fired") is False:
            del internal["event_fired"]  # as if it were not there
        parent = task.parent
        fields = {
            "in": owner and str(owner),
            "parent": parent and str(parent.id),
            "place": task.position,
            "state": task._state,
            "since": task.last_state_change,
            "spec": task.task_spec.name,
            "triggered": task.triggered,
            "internal": _REGISTRY.clean(internal),
        }
        data = task.data
        shared = shared_output(parent)
        if parent is not None and shared in data and data[shared] is parent.data.get(shared):
            data = {name: value for name, value in data.items() if name != shared}
            fields["shares"] = True
        return f'{_encode(fields)[:-1]},"data":{self._data(data)}}}'

    def _data(self, data: Mapping[str, Any]) -> str:
        items = _REGISTRY.clean(data).items()
        return "{" + ",".join(f"{_encode(name)}:{self._value(each)}" for name, each in items) + "}"

    def _value(self, value: Any) -> str:
        """Write a value in its place, or by its hash: {"v": value}, {"r": hash}, {"l": parts}."""
        if type(value) is list and len(value) >= _CHUNK:
            whole = len(value) - len(value) % _CHUNK
            chunks = [value[start : start + _CHUNK] for start in range(0, whole, _CHUNK)]
            parts = [f'{{"c":"{self._keep(_encode(chunk))}"}}' for chunk in chunks]
            parts += [self._value(item) for item in value[whole:]]
            return f'{{"l":[{",".join(parts)}]}}'
        if type(value) is list:
            texts = [self._value(item) for item in value]
            if sum(map(len, texts)) > _LARGE:
                return f'{{"l":[{",".join(texts)}]}}'
        text = _encode(value)
        return f'{{"v":{text}}}' if len(text) <= _LARGE else f'{{"r":"{self._keep(text)}"}}'

    def _keep(self, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:18]
        name = base64.urlsafe_b64encode(digest).decode()
        self.values[f"v{name}"] = text
        self._needed.add(f"v{name}")
        return name


class _Reader:
    def __init__(self, process: Process, parts: Mapping[str, str]) -> None:
        self._process = process
        self._parts = parts
        self.uses: dict[str, frozenset[str]] = {}
        self._needed: set[str] = set()

    def case(self, case_id: str, new_id: NewId) -> Case:
        head = json.loads(self._parts[""])
        process = self._process
        workflow = Workflow(process.spec, process.subprocesses, deserializing=True)
        names = [name for name in self._parts if name.startswith("t")]
        tasks = [(UUID(name[1:]), json.loads(self._parts[name])) for name in names]
        tasks.sort(key=lambda item: int(item[1]["place"]))
        inside: dict[str | None, list[tuple[UUID, dict[str, Any]]]] = {}
        for name, fields in tasks:
            inside.setdefault(fields["in"], []).append((name, fields))
        self._fill(workflow, head["w"], inside)
        self._done_with("")
        workflow.bpmn_events = _REGISTRY.restore(head["events"])
        calls = {
            name[1:]: Call.from_dict(json.loads(text))
            for name, text in self._parts.items()
            if name.startswith("c")
        }
        return Case(
            case_id,
            process,
            workflow,
            new_id,
            calls=calls,
            fault=head["fault"],
            late=head["late"],
        )

    def _fill(self, workflow: Any, fields: dict[str, Any], inside: Any) -> None:
        """Put the tasks of a process, and then those of its subprocesses, in their places."""
        owner = workflow.parent_task_id
        restored = [
            self._task(workflow, name, each) for name, each in inside.get(owner and str(owner), ())
        ]
        workflow.task_tree = fields["root"] and workflow.tasks.get(UUID(fields["root"]))
        workflow.last_task = fields["last"] and workflow.tasks.get(UUID(fields["last"]))
        workflow.success, workflow.completed = fields["success"], fields["completed"]
        workflow.correlations = fields["correlations"]
        workflow.data = self._data(fields["data"])
        self._done_with(f"s{owner}" if owner else "")
        top = workflow.top_workflow
        for task in restored:
            name = f"s{task.id}"
            if name in self._parts:
                spec = top.subprocess_specs[task.task_spec.spec]
                subprocess = Subprocess(spec, task.id, top, deserializing=True)
                top.subprocesses[task.id] = subprocess
                subprocess.completed_event.connect(task.task_spec._on_subworkflow_completed, task)
                self._fill(subprocess, json.loads(self._parts[name]), inside)

    def _task(self, workflow: Any, name: UUID, fields: dict[str, Any]) -> Task:
        parent = workflow.tasks[UUID(fields["parent"])] if fields["parent"] else None
        # Not by its constructor, which would add it to its parent and ask for the time.
        task = Task.__new__(Task)
        task.id, task.workflow = name, workflow
        workflow.tasks[name] = task
        workflow.top_workflow.track.count = task.position = int(fields["place"])
        task._parent, task._children = parent and parent.id, []
        if parent is not None:
            parent._children.append(name)
        task._state, task.triggered = int(fields["state"]), fields["triggered"]
        task.task_spec = workflow.spec.task_specs[fields["spec"]]
        task.thread_id, task.last_state_change = 0, fields["since"]
        task.internal_data = _internal(_REGISTRY.restore(fields["internal"]))
        task.data = self._data(fields["data"])
        shared = shared_output(parent)
        if parent is not None and fields.get("shares"):
            task.data[shared] = parent.data[shared]
        self._done_with(f"t{name}")
        workflow.top_workflow.track.note(task)
        if isinstance(task.task_spec, CatchingEvent) and task._state == TaskState.WAITING:
            workflow.top_workflow.event_manager.add_task(task)
        return task

    def _data(self, entries: dict[str, Any]) -> dict[str, Any]:
        return {name: self._value(entry) for name, entry in entries.items()}

    def _value(self, entry: dict[str, Any]) -> Any:
        if "v" in entry:
            return _REGISTRY.restore(entry["v"])
        if "r" in entry:
            return self._large(entry["r"])
        values: list[Any] = []
        for part in entry["l"]:
            if "c" in part:
                values += self._large(part["c"])
            else:
                values.append(self._value(part))
        return values

    def _large(self, name: str) -> Any:
        self._needed.add(f"v{name}")
        return _REGISTRY.restore(json.loads(self._parts[f"v{name}"]))

    def _done_with(self, part: str) -> None:
        self.uses[part] = frozenset(self._needed) | self.uses.get(part, frozenset())
        self._needed = set()


def _internal(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("merged"):
        count, last = fields["merged"]
        fields["merged"] = [""] * (count - 1) + [last]
    if isinstance(fields.get("remaining"), dict):
        fields["remaining"] = range(fields["remaining"]["from"], fields["remaining"]["to"])
    return fields
