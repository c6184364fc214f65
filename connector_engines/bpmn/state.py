"""Writes processes and cases as text. A case has many parts, so a commit writes only changed ones.

A case is a mapping of names to JSON texts:

    ""              its head: the last task, the data of the process, what stopped it
    "s" + number    the head of a subprocess, by the task that started it
    "t" + number    a task
    "c" + number    the record of a task's call
    "v" + number    a large value, or a part of a long list; stored once for all tasks that use it

Later parts have higher numbers, so that parts of the same time are stored next to each other.
`Keeper.changes` returns the parts that have changed since they were stored. When a case is
finished, only its head is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
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
from .process import DataStore, Process
from .scripts import ConnectorTask
from .workflow import Subprocess, Task, Workflow, shared_output

Parts = dict[str, str]

# A value with more characters of JSON than this is a part of its own
_LARGE = 256
# How many items of a long list are in one part
_CHUNK = 32


def spiff_registry() -> Any:
    """Return the converters for SpiffWorkflow's objects and for ConnectorTask."""
    config = {**SPIFF_CONFIG, ConnectorTask: ServiceTaskConverter}
    del config[ServiceTask]
    registry = BpmnWorkflowSerializer.configure(config, DefaultRegistry())
    registry.register(
        DataStore,
        lambda store: {"bpmn_id": store.bpmn_id, "bpmn_name": store.bpmn_name},
        lambda fields: DataStore(**fields),
    )
    # The JSON encoder visits the data itself, so the registry must not do it too
    registry._encoder_mode = True
    return registry


_REGISTRY = spiff_registry()
_ENCODER = BpmnWorkflowSerializer(_REGISTRY)._encoder_cls(separators=(",", ":"))
_encode: Callable[[Any], str] = _ENCODER.encode
# The names of variables and elements repeat, so their JSON is cached
_encode_name = lru_cache(4096)(_encode)
# The fields of a task are written without the encoder, which takes twice as long
_BOOLEAN = {True: "true", False: "false"}


def process_text(process: Process) -> str:
    """Return a process as text. A case keeps it, even if the BPMN file changes later."""
    return _encode(process._asdict())


def process_of(text: str) -> Process:
    """Return the process of this text. It contains expressions, which are code."""
    fields = json.loads(text)
    for name in ("spec", "subprocesses"):
        fields[name] = _REGISTRY.restore(fields[name])
    return Process(**fields)


def case_parts(case: Case) -> Parts:
    """Return all parts of a case: JSON texts by name.

    Raise TypeError, ValueError or RecursionError if its data is not JSON.
    """
    writer = _Writer(case)
    writer.write_all()
    return {**writer.parts, **writer.values}


def case_of(
    case_id: str,
    process: Process,
    parts: Mapping[str, str],
    now: float,
    new_id: NewId,
    names: Mapping[str, Any] | None = None,
) -> Case:
    """Return the case of these parts.

    Raise LookupError, TypeError, ValueError or AttributeError if they can't be read.
    """
    return restore(case_id, process, parts, now, new_id, names)[0]


def restore(
    case_id: str,
    process: Process,
    parts: Mapping[str, str],
    now: float,
    new_id: NewId,
    names: Mapping[str, Any] | None = None,
) -> tuple[Case, Keeper]:
    """Return the case of these parts, and its Keeper. Raise as `case_of`."""
    reader = _Reader(process, parts)
    with given(now, new_id):
        case = reader.case(case_id, new_id, names)
    keeper = Keeper(case)
    keeper.kept(parts, reader.uses)
    return case, keeper


class Changes(NamedTuple):
    """Parts to write and names of parts to delete since the case was stored last."""

    put: Parts
    delete: set[str]


class Keeper:
    """Knows which parts of a case are stored, and which must be written next.

    `changes` raises TypeError, ValueError or RecursionError if the data is not JSON. Call `confirm`
    when the changes are stored; until then `changes` returns them again.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        # The hash of each stored part, to see whether it has changed; None: nothing is stored
        self._kept: dict[str, int] | None = None
        # The names of the values that each part uses; parts that use none are left out
        self._uses: dict[str, frozenset[str]] = {}
        # How many parts use each value
        self._users: Counter[str] = Counter()
        self._next: tuple[_Writer, Changes] | None = None
        self._names = _Names()
        self._growing: _Growing = {}
        case.workflow.track.record()

    def kept(self, parts: Mapping[str, str], uses: Mapping[str, frozenset[str]]) -> None:
        """Record that these parts are stored."""
        self._kept = {name: hash(text) for name, text in parts.items()}
        for name, text in parts.items():
            if name.startswith("v"):
                self._names.know(name, text)
        self._uses = {name: values for name, values in uses.items() if values}
        for values in self._uses.values():
            self._users.update(values)

    def changes(self) -> Changes:
        case, track, kept = self._case, self._case.workflow.track, self._kept or {}
        if self._next is not None:
            # The last changes were not stored
            self._growing.clear()
            self._names.forget_chunks()
        writer = _Writer(case, self._names, self._growing)
        delete: set[str] = set()
        if self._kept is None:
            writer.write_all()
        elif case.is_over:
            writer.write_head()
            delete = set(kept).difference(*writer.uses.values())
        else:
            writer.write_head()
            writer.write_tasks(track.changed.values())
            writer.write_calls(case.calls.changed.values())
            delete = {_name("t", number) for number in track.removed}
            delete |= {_name("s", number) for number in track.closed}
            changed = case.calls.changed.items()
            delete |= {_name("c", number) for number, name in changed if name not in case.calls}
        put = {name: text for name, text in writer.parts.items() if kept.get(name) != hash(text)}
        delete = {name for name in delete if name in kept and name not in writer.parts}
        put.update((name, text) for name, text in writer.values.items() if name not in kept)
        delete |= self._unused(writer, delete)
        self._next = writer, Changes(put, delete)
        return self._next[1]

    def confirm(self) -> None:
        """Record that the last `changes` are stored."""
        assert self._next is not None
        writer, changes = self._next
        self._kept = self._kept or {}
        if self._uses:
            for name in (*changes.delete, *writer.parts):
                if values := self._uses.pop(name, None):
                    self._users.subtract(values)
        if writer.uses:
            self._uses.update(writer.uses)
            for values in writer.uses.values():
                self._users.update(values)
        for name in changes.delete:
            self._kept.pop(name, None)
            if name.startswith("v"):
                self._users.pop(name, None)
                self._names.forget(name)
        self._kept.update((name, hash(text)) for name, text in changes.put.items())
        self._next = None
        self._case.workflow.track.record()
        self._case.calls.changed.clear()

    def _unused(self, writer: _Writer, delete: set[str]) -> set[str]:
        """Return the values that no part uses after these parts are written and deleted."""
        if not self._uses:
            return set()
        fewer: Counter[str] = Counter()
        for name in {*delete, *writer.parts}:
            if values := self._uses.get(name):
                fewer.update(values)
        if not fewer:
            return set()
        for values in writer.uses.values():
            fewer.subtract(values)
        return {name for name, count in fewer.items() if 0 < self._users[name] <= count}


class _Writer:
    """Writes the parts of a case: `parts`, their large `values`, and which part `uses` which.

    Parts that use no value are not in `uses`.
    """

    def __init__(
        self, case: Case, names: _Names | None = None, growing: _Growing | None = None
    ) -> None:
        self._case = case
        self._names = names or _Names()
        self._growing = {} if growing is None else growing
        self.parts: Parts = {}
        self.values: Parts = {}
        self.uses: dict[str, frozenset[str]] = {}
        self._needed: set[str] = set()

    def write_all(self) -> None:
        self.write_head()
        if not self._case.is_over:
            workflow = self._case.workflow
            workflows = (workflow, *workflow.subprocesses.values())
            tasks = [task for flow in workflows for task in flow.tasks.values()]
            self.write_tasks(sorted(tasks, key=lambda task: task.number))
            self.write_calls(self._case.calls)

    def write_head(self) -> None:
        case = self._case
        workflow = case.workflow
        events = _encode(workflow.bpmn_events) if workflow.bpmn_events else "[]"
        fault = "null" if case.fault is None else _encode(case.fault)
        late = _encode(case.late) if case.late else "[]"
        self._put(
            "",
            f'{{"w":{self._workflow(workflow)},"events":{events},"fault":{fault},"late":{late}}}',
        )

    def write_tasks(self, tasks: Iterable[Any]) -> None:
        subprocesses = {}
        for task in tasks:
            owner = _number(task.workflow.parent_task_id, self._case.workflow)
            if owner is not None:
                subprocesses[owner] = task.workflow
            self._put(_name("t", task.number), self._task(task, owner))
        for owner, subprocess in subprocesses.items():
            self._put(_name("s", owner), self._workflow(subprocess))

    def write_calls(self, names: Iterable[str]) -> None:
        for name in names:
            call = self._case.calls.get(name)
            if call is not None:
                self._put(_name("c", call.number), _encode({"task": name, **call.to_dict()}))

    def _put(self, name: str, text: str) -> None:
        self.parts[name] = text
        if self._needed:
            self.uses[name] = frozenset(self._needed)
            self._needed = set()

    def _workflow(self, workflow: Any) -> str:
        last = workflow.last_task
        number = last.number if last is not None and not self._case.is_over else "null"
        correlations = _encode(workflow.correlations) if workflow.correlations else "{}"
        return (
            f'{{"last":{number},"success":{_BOOLEAN[workflow.success]},'
            f'"completed":{_BOOLEAN[workflow.completed]},"correlations":{correlations},'
            f'"data":{self._data(workflow.data)}}}'
        )

    def _task(self, task: Any, owner: int | None) -> str:
        internal = _internal_text(task.internal_data) if task.internal_data else "{}"
        parent = task.parent
        fields = (
            f'"id":"{task.id}","in":{_number_text(owner)},'
            f'"parent":{_number_text(parent and parent.number)},"place":{task.position},'
            f'"state":{task._state:d},"since":{task.last_state_change!r},'
            f'"spec":{_encode_name(task.task_spec.name)},"triggered":{_BOOLEAN[task.triggered]},'
            f'"internal":{internal}'
        )
        data = task.data
        shared = shared_output(parent)
        if parent is not None and shared in data and data[shared] is parent.data.get(shared):
            data = {name: value for name, value in data.items() if name != shared}
            fields += ',"shares":true'
        if task._state != TaskState.STARTED:
            return f'{{{fields},"data":{self._data(data)}}}'
        # The results of a loop: earlier items change only if a script was run.
        growing = shared_output(task)
        entries = [
            f"{_encode_name(name)}:"
            + (self._growing_list(task.number, value) if name == growing else self._value(value))
            for name, value in _REGISTRY.clean(data).items()
        ]
        return f'{{{fields},"data":{{{",".join(entries)}}}}}'

    def _data(self, data: Mapping[str, Any]) -> str:
        if not data:
            return "{}"
        items = _REGISTRY.clean(data).items()
        return (
            "{"
            + ",".join(f"{_encode_name(name)}:{self._value(value)}" for name, value in items)
            + "}"
        )

    def _value(self, value: Any) -> str:
        """Return {"v": value}, {"r": name of a large value} or {"l": parts of a list}, as JSON."""
        if type(value) is list and len(value) >= _CHUNK:
            whole = len(value) - len(value) % _CHUNK
            chunks = [value[start : start + _CHUNK] for start in range(0, whole, _CHUNK)]
            parts = [self._chunk(chunk)[0] for chunk in chunks]
            parts += [self._value(item) for item in value[whole:]]
            return f'{{"l":[{",".join(parts)}]}}'
        if type(value) is list:
            texts = [self._value(item) for item in value]
            if sum(map(len, texts)) > _LARGE:
                return f'{{"l":[{",".join(texts)}]}}'
        text = _encode(value)
        return f'{{"v":{text}}}' if len(text) <= _LARGE else f'{{"r":"{self._keep(text)}"}}'

    def _growing_list(self, number: int, value: Any) -> str:
        """Return a list as JSON. If its begin is known to be unchanged, write only its new end."""
        if type(value) is not list or len(value) < _CHUNK:
            return self._value(value)
        seen, scripts, entries = self._growing.get(number, ([], -1, []))
        run = self._case.scripts_run
        same = run == scripts and len(seen) <= len(value)
        if not same or any(old is not new for old, new in zip(seen, value, strict=False)):
            seen, entries = [], []
        whole = len(value) - len(value) % _CHUNK
        known = len(seen) - len(seen) % _CHUNK
        chunks = entries[: known // _CHUNK]
        chunks += [
            self._chunk(value[start : start + _CHUNK]) for start in range(known, whole, _CHUNK)
        ]
        # After the last full chunk, items that were written before have not changed.
        tail = entries[known // _CHUNK :] if known == whole else []
        tail += [self._item(item) for item in value[whole + len(tail) :]]
        entries = chunks + tail
        for _, name in entries:
            if name is not None:
                self._needed.add(name)
        self._growing[number] = (value.copy(), run, entries)
        return f'{{"l":[{",".join(entry for entry, _ in entries)}]}}'

    def _chunk(self, items: list[Any]) -> tuple[str, str | None]:
        name = self._names.of_chunk(items)
        if name is None:
            name = self._keep(_encode(items))
            self._names.know_chunk(items, name)
        self._needed.add(name)
        return f'{{"c":"{name}"}}', name

    def _item(self, item: Any) -> tuple[str, str | None]:
        text = _encode(item)
        if len(text) <= _LARGE:
            return f'{{"v":{text}}}', None
        name = self._keep(text)
        return f'{{"r":"{name}"}}', name

    def _keep(self, text: str) -> str:
        name = self._names.of(text)
        self.values[name] = text
        self._needed.add(name)
        return name


class _Names:
    """Gives each large value a name; equal texts get the same name."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._digests: dict[str, bytes] = {}
        self._count = 0
        self._chunks: dict[tuple[Any, ...], str] = {}

    def of_chunk(self, items: list[Any]) -> str | None:
        """Return the known name of these texts or whole numbers, or None."""
        return self._chunks.get(tuple(items)) if _is_plain(items) else None

    def know_chunk(self, items: list[Any], name: str) -> None:
        if _is_plain(items):
            self._chunks[tuple(items)] = name

    def forget_chunks(self) -> None:
        self._chunks.clear()

    def of(self, text: str) -> str:
        digest = _digest(text)
        if digest not in self._names:
            self._count += 1
            self._add(_name("v", self._count), digest)
        return self._names[digest]

    def know(self, name: str, text: str) -> None:
        self._add(name, _digest(text))
        self._count = max(self._count, int(name[1:]))

    def forget(self, name: str) -> None:
        if name in self._digests:
            del self._names[self._digests.pop(name)]
            self._chunks = {
                items: chunk_name
                for items, chunk_name in self._chunks.items()
                if chunk_name != name
            }

    def _add(self, name: str, digest: bytes) -> None:
        self._names[digest], self._digests[name] = name, digest


# By the number of a loop: the results that were written, how many scripts had run then, and the
# entries that were written for them, each with the name of its value.
_Growing = dict[int, tuple[list[Any], int, list[tuple[str, str | None]]]]


def _is_plain(items: list[Any]) -> bool:
    """Tell whether equal items have equal JSON: 1 and True are equal, but their JSON differs."""
    kind = type(items[0])
    return kind in (str, int) and all(type(item) is kind for item in items)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _name(kind: str, number: int) -> str:
    return f"{kind}{number:08d}"


def _number_text(number: int | None) -> str:
    return "null" if number is None else str(number)


def _number(task: UUID | None, workflow: Any) -> int | None:
    return None if task is None else int(workflow.get_task_from_id(task).number)


class _Reader:
    def __init__(self, process: Process, parts: Mapping[str, str]) -> None:
        self._process = process
        self._parts = parts
        self._last: list[tuple[Any, int | None]] = []
        self.uses: dict[str, frozenset[str]] = {}
        self._needed: set[str] = set()

    def case(self, case_id: str, new_id: NewId, names: Mapping[str, Any] | None) -> Case:
        head = json.loads(self._parts[""])
        process = self._process
        workflow = Workflow(process.spec, process.subprocesses, deserializing=True)
        workflow.task_tree = None
        self._head(workflow, head["w"], "")
        records = [
            (int(name[1:]), json.loads(text))
            for name, text in self._parts.items()
            if name.startswith("t")
        ]
        # A task must come after its parent, and a subprocess after the task that started it.
        records.sort(key=lambda record: int(record[1]["place"]))
        owners: dict[int | None, Any] = {None: workflow}
        numbers: dict[int, Any] = {}
        for number, fields in records:
            task = numbers[number] = self._task(owners[fields["in"]], number, fields, numbers)
            name = _name("s", number)
            if name in self._parts:
                spec = workflow.subprocess_specs[task.task_spec.spec]
                subprocess = Subprocess(spec, task.id, workflow, deserializing=True)
                subprocess.task_tree = None
                subprocess.completed_event.connect(task.task_spec._on_subworkflow_completed, task)
                workflow.subprocesses[task.id] = owners[number] = subprocess
                self._head(subprocess, json.loads(self._parts[name]), name)
        for flow, last in self._last:
            flow.last_task = numbers.get(last or 0)
        workflow.track.count = max(numbers, default=0)
        workflow.bpmn_events = _REGISTRY.restore(head["events"])
        calls = [json.loads(text) for name, text in self._parts.items() if name.startswith("c")]
        return Case(
            case_id,
            process,
            workflow,
            new_id,
            names,
            calls={call.pop("task"): Call.from_dict(call) for call in calls},
            fault=head["fault"],
            late=head["late"],
        )

    def _head(self, workflow: Any, fields: dict[str, Any], part: str) -> None:
        self._last.append((workflow, fields["last"]))
        workflow.success, workflow.completed = fields["success"], fields["completed"]
        workflow.correlations = fields["correlations"]
        workflow.data = self._data(fields["data"])
        self._done_with(part)

    def _task(
        self, workflow: Any, number: int, fields: dict[str, Any], numbers: Mapping[int, Any]
    ) -> Task:
        parent = numbers[fields["parent"]] if fields["parent"] else None
        # The constructor would add the task to its parent and read the clock, so don't use it.
        task = Task.__new__(Task)
        task.id, task.workflow = UUID(fields["id"]), workflow
        workflow.tasks[task.id] = task
        task.number, task.position = number, fields["place"]
        task._parent, task._children = parent and parent.id, []
        if parent is not None:
            parent._children.append(task.id)
        elif workflow.task_tree is None:
            workflow.task_tree = task
        task._state, task.triggered = int(fields["state"]), fields["triggered"]
        task.task_spec = workflow.spec.task_specs[fields["spec"]]
        task.thread_id, task.last_state_change = 0, fields["since"]
        task.internal_data = _internal(_REGISTRY.restore(fields["internal"]))
        task.data = self._data(fields["data"])
        shared = shared_output(parent)
        if parent is not None and fields.get("shares"):
            task.data[shared] = parent.data[shared]
        self._done_with(_name("t", number))
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
        self._needed.add(name)
        return _REGISTRY.restore(json.loads(self._parts[name]))

    def _done_with(self, part: str) -> None:
        self.uses[part] = frozenset(self._needed) | self.uses.get(part, frozenset())
        self._needed = set()


def _internal_text(fields: dict[str, Any]) -> str:
    fields = dict(fields)
    merged, remaining = fields.get("merged"), fields.get("remaining")
    if merged:
        fields["merged"] = [len(merged), merged[-1]]
    if isinstance(remaining, range):
        fields["remaining"] = {"from": remaining.start, "to": remaining.stop}
    if fields.get("event_fired") is False:
        # SpiffWorkflow treats False like a missing entry
        del fields["event_fired"]
    return _encode(_REGISTRY.clean(fields))


def _internal(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("merged"):
        count, last = fields["merged"]
        fields["merged"] = [""] * (count - 1) + [last]
    if isinstance(fields.get("remaining"), dict):
        fields["remaining"] = range(fields["remaining"]["from"], fields["remaining"]["to"])
    return fields
