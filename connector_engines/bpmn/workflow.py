"""Keeps SpiffWorkflow's tree of tasks small: the time of a step depends on its changes only.

SpiffWorkflow keeps every task that ever ran, and visits all of them (down to a depth of 1,000) at
every step. Here, separate collections have the tasks that are ready or waiting, each change is
recorded for the code that stores the case, and `prune` removes finished tasks that are not needed
any more. The rules of BPMN are SpiffWorkflow's, unchanged.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any
from uuid import UUID

from SpiffWorkflow.bpmn import BpmnWorkflow
from SpiffWorkflow.bpmn.specs.control import (
    BoundaryEventJoin,
    BoundaryEventSplit,
    StartEventSplit,
)
from SpiffWorkflow.bpmn.specs.event_definitions.multiple import MultipleEventDefinition
from SpiffWorkflow.bpmn.specs.event_definitions.timer import TimerEventDefinition
from SpiffWorkflow.bpmn.specs.mixins.multiinstance_task import LoopTask, MultiInstanceTask
from SpiffWorkflow.bpmn.specs.mixins.unstructured_join import UnstructuredJoin
from SpiffWorkflow.bpmn.util.subworkflow import BpmnSubWorkflow
from SpiffWorkflow.bpmn.util.task import BpmnTaskFilter
from SpiffWorkflow.specs.Join import Join
from SpiffWorkflow.task import Task as SpiffTask
from SpiffWorkflow.util.deep_merge import DeepMerge
from SpiffWorkflow.util.task import TaskState

from .given import moment

# SpiffWorkflow's timers fire only after their time, not exactly at it
_AFTER_SECONDS = 0.001
_TIMED = (TimerEventDefinition, MultipleEventDefinition)
_OVER = TaskState.COMPLETED | TaskState.CANCELLED
_ANY = BpmnTaskFilter()


class Track:
    """What is open in a case, and what has changed.

    Tasks are kept by their number, because it is hashed much faster than a UUID.

    ready    tasks that the engine can run, in the order in which they became ready
    manual   tasks that wait for a person
    changed  tasks to store; filled after `record` was called
    removed  numbers of tasks to delete from the store
    closed   numbers of tasks whose subprocess must be deleted from the store
    left     whether the process has left tasks that had started
    touched  tasks that changed since `prune` ran
    """

    def __init__(self) -> None:
        self.ready: dict[int, Task] = {}
        self.manual: dict[int, Task] = {}
        self.changed: dict[int, Task] = {}
        self.removed: set[int] = set()
        self.closed: set[int] = set()
        self.recording = False
        self.left = False
        self.touched: dict[int, Task] = {}
        self.count = 0

    def record(self) -> None:
        """Record the changes from now on."""
        self.recording = True
        self.changed, self.removed, self.closed = {}, set(), set()

    def note(self, task: Task) -> None:
        name, state = task.number, task._state
        self.ready.pop(name, None)
        self.manual.pop(name, None)
        task.workflow.waiting.pop(name, None)
        if state == TaskState.READY:
            (self.manual if task.task_spec.manual else self.ready)[name] = task
        elif state == TaskState.WAITING:
            task.workflow.waiting[name] = task
        self.touched[name] = task
        if self.recording:
            self.changed[name] = task
            if state == TaskState.COMPLETED:
                loop = task.parent
                if loop is not None and isinstance(loop.task_spec, LoopTask):
                    # The loop has the result of this instance now
                    self.changed[loop.number] = loop

    def drop(self, task: Task) -> None:
        for tasks in (self.ready, self.manual, self.touched, task.workflow.waiting):
            tasks.pop(task.number, None)
        if self.recording:
            self.changed.pop(task.number, None)
            self.removed.add(task.number)


class Task(SpiffTask):  # type: ignore[misc]  # SpiffWorkflow has no types
    """A task that records its changes.

    `number` counts the tasks of a case in the order of their creation. `position` orders the
    children of a task: a task that replaces a removed one gets that one's position.
    """

    number: int
    position: int
    _state: int
    # True for a task of a join whose data has been merged
    spent = False

    @cached_property
    def split_id(self) -> UUID | None:
        """The id of the task at which the branches of this join began; it stays until they end."""
        split = self.find_ancestor(self.task_spec.split_task)
        return split.id if split is not None else None

    def _set_state(self, value: int) -> None:
        if value != self._state:
            if value == TaskState.CANCELLED:
                self.workflow.top_workflow.track.left = True
            self.last_state_change = moment()
            self._state = value
            if value == TaskState.COMPLETED and isinstance(self.task_spec, UnstructuredJoin):
                self._spend_others()
        self.workflow.top_workflow.track.note(self)

    def _spend_others(self) -> None:
        for task in self.workflow.tasks.values():
            if task.task_spec is self.task_spec and task is not self and task.has_state(_OVER):
                task.spent = True
                self.workflow.top_workflow.track.touched[task.number] = task

    def _add_child(self, task_spec: Any, state: int = TaskState.MAYBE) -> Any:
        task = super()._add_child(task_spec, state)
        self.workflow.top_workflow.track.note(task)
        return task

    def _inherit_data(self) -> None:
        track = self.workflow.top_workflow.track
        if track.recording:
            track.changed[self.number] = self
        parent, mine = self.parent, self.data
        shared = shared_output(parent)
        for name, value in parent.data.items():
            if name == shared:
                mine[name] = value
            elif name in mine:
                DeepMerge.merge(mine, {name: value})
            else:
                mine[name] = value.copy() if type(value) in (dict, list, set) else value

    def is_descendant_of(self, task: Any) -> bool:
        ancestor = self.parent
        while ancestor is not None and ancestor is not task:
            ancestor = ancestor.parent
        return ancestor is not None

    def find_ancestor(self, spec_name: str) -> Any:
        ancestor = self.parent
        while ancestor is not None and ancestor.task_spec.name != spec_name:
            ancestor = ancestor.parent
        return ancestor

    def __iter__(self) -> Iterator[Any]:
        return _walk(self, _ANY)


def shared_output(task: Any) -> str | None:
    """Return the name of the list in which a loop collects its results, or None.

    All instances of the loop share this list: a copy for each instance would be slow.
    """
    spec = task.task_spec if task is not None else None
    if isinstance(spec, MultiInstanceTask) and spec.data_output is not None:
        return str(spec.data_output.bpmn_id)
    return None


class _Tasks(dict):  # type: ignore[type-arg]
    """The tasks of a workflow by their id. A task that is added becomes a `Task` (see above)."""

    def __init__(self, track: Track) -> None:
        super().__init__()
        self.track = track

    def __setitem__(self, name: UUID, task: Any) -> None:
        # SpiffWorkflow creates tasks of its own class; this is the first place that sees them
        task.__class__ = Task
        self.track.count += 1
        task.number = task.position = self.track.count
        super().__setitem__(name, task)


class _Tracked:
    """The common methods of a process and its subprocesses."""

    waiting: dict[int, Task]
    task_tree: Any
    top_workflow: Any

    @property
    def tasks(self) -> _Tasks:
        return self._tasks

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        if tasks:
            # These tasks are registered already
            return
        self.waiting = {}
        self._tasks = _Tasks(self.top_workflow.track)

    def get_tasks_iterator(
        self,
        first_task: Any = None,
        end_at_spec: str | None = None,
        skip_subprocesses: bool = False,
        task_filter: Any = None,
        **options: Any,
    ) -> Iterator[Any]:
        # This tree has no limit of depth
        options.pop("max_depth", None)
        chosen = task_filter or BpmnTaskFilter(**options)
        return _walk(first_task or self.task_tree, chosen, end_at_spec, skip_subprocesses)

    def collect_log_extras(self, dct: Any = None) -> dict[str, Any]:
        # SpiffWorkflow would add a list of all tasks, which nothing uses
        return dict(dct or {})

    def update_waiting_tasks(self) -> None:
        # Each round of a timer with a cycle leaves a join that waits for the end of the activity.
        # All of them wait for the same event, and the first one that continues cancels the others.
        # So only one of them is updated.
        updated = set()
        for task in list(self.waiting.values()):
            if task._state != TaskState.WAITING:
                continue
            if isinstance(task.task_spec, BoundaryEventJoin):
                join = (task.task_spec.name, task.split_id)
                if join in updated:
                    continue
                updated.add(join)
            elif _is_later(task):
                continue
            task.task_spec._update(task)

    def _remove_task(self, name: UUID) -> None:
        task = self._tasks[name]
        for child in list(task._children):
            self._remove_task(child)
        task.parent._children.remove(name)
        self._remove(task)
        self._task_removed_notify(task)  # type: ignore[attr-defined]

    def _remove(self, task: Any) -> None:
        del self._tasks[task.id]
        if not task.has_state(TaskState.FINISHED_MASK):
            self.top_workflow.track.left = True
            # Other code may still refer to this task
            task._state = TaskState.CANCELLED
        self.top_workflow.event_manager.remove_task(task)
        self.top_workflow.track.drop(task)


class Subprocess(_Tracked, BpmnSubWorkflow):  # type: ignore[misc]
    pass


class Workflow(_Tracked, BpmnWorkflow):  # type: ignore[misc]
    def __init__(self, spec: Any, subprocess_specs: Any, **options: Any) -> None:
        self.track = Track()
        super().__init__(spec, subprocess_specs, **options)

    def create_subprocess(self, my_task: Any, spec_name: str) -> Subprocess:
        subprocess = Subprocess(
            self.subprocess_specs[spec_name], parent_task_id=my_task.id, top_workflow=self
        )
        self.subprocesses[my_task.id] = subprocess
        return subprocess

    def delete_subprocess(self, my_task: Any) -> list[Any]:
        subprocess = self.subprocesses.pop(my_task.id)
        if self.track.recording:
            self.track.closed.add(my_task.number)
        tasks = list(subprocess.tasks.values())
        for task in list(tasks):
            if task.id in self.subprocesses:
                tasks += self.delete_subprocess(task)
            subprocess._remove(task)
        return tasks

    def do_engine_steps(
        self, will_complete_task: Any = None, did_complete_task: Callable[[Any], None] | None = None
    ) -> None:
        ready = self.track.ready
        while ready:
            for task in list(ready.values()):
                if task._state == TaskState.READY and task.number in ready:
                    task.run()
                    if did_complete_task is not None:
                        did_complete_task(task)
        self.refresh_timers()

    def refresh_timers(self) -> None:
        for task in list(self.event_manager.tasks.values()):
            if isinstance(task.task_spec.event_definition, _TIMED) and not _is_later(task):
                task.task_spec._update(task)

    def prune(self) -> None:
        """Remove the finished tasks that are not needed any more.

        A finished task is needed by its children until they have its data, by a join until it has
        merged the data of each branch, by a loop until it has merged the result of the instance,
        and by an activity with boundary events until it ends. Of a chain of finished tasks only the
        last one stays.
        """
        touched, self.track.touched = self.track.touched, {}
        if self.completed:
            # The store deletes all tasks of a finished case
            return
        work = []
        for task in touched.values():
            if task._state & _OVER:
                work += [task.parent, task]
            elif task.internal_data and isinstance(task.task_spec, LoopTask):
                _shorten(task.internal_data)
        while work:
            task = work.pop()
            if task is None or not task._state & _OVER or task.id not in task.workflow.tasks:
                continue
            if task.id in self.subprocesses:
                self.delete_subprocess(task)
            parent = task.parent
            if parent is None:
                if task.data and all(
                    child._state == TaskState.COMPLETED for child in task.children
                ):
                    task.data = {}
                    self.track.note(task)
            elif _is_done_with(task, parent):
                children = task.children
                work += [parent, *children]
                self._take_out(task, parent, children)
        self.track.touched.clear()

    def _take_out(self, task: Any, parent: Any, children: list[Any]) -> None:
        place = parent._children.index(task.id)
        parent._children[place : place + 1] = task._children
        for child in children:
            child._parent = parent.id
            child.position = task.position
            self.track.note(child)
        task.workflow._remove(task)


def timer_due(task: Any) -> float | None:
    """Return when an event's timer fires, in seconds since 1970; None if it has no timer (yet).

    Raise ValueError or OverflowError if the timer has a date that does not exist.
    """
    value = task.internal_data.get("event_value")
    if isinstance(value, dict):
        value = value["next"] if value["cycles"] else None
    return _due(value) if isinstance(value, str) else None


@lru_cache(maxsize=10_000)
def _due(text: str) -> float | None:
    when = TimerEventDefinition.parse_time_or_duration(text)
    return when.timestamp() + _AFTER_SECONDS if isinstance(when, datetime.datetime) else None


def _is_later(task: Any) -> bool:
    due = timer_due(task)
    return due is not None and due > moment()


def _shorten(internal: dict[str, Any]) -> None:
    """Replace the list of indexes that a sequential loop still has to do by a range."""
    remaining = internal.get("remaining")
    if type(remaining) is list and remaining and type(remaining[0]) is int:
        places = range(remaining[0], remaining[0] + len(remaining))
        if remaining == list(places):
            internal["remaining"] = places


def _is_done_with(task: Any, parent: Any) -> bool:
    if task is task.workflow.last_task or len(task._children) > 1:
        return False
    completed = task._state == TaskState.COMPLETED
    if parent._state == TaskState.STARTED and isinstance(parent.task_spec, LoopTask):
        merged = parent.internal_data.get("merged", ())
        return completed and not task._children and str(task.id) in merged
    if not parent._state & _OVER:
        return False
    if not task._children:
        if isinstance(task.task_spec, UnstructuredJoin) and not task.spent:
            return False
    elif not completed or task.children[0]._state != TaskState.COMPLETED:
        return False
    return not _is_open(task) and not _is_open(parent)


def _is_open(task: Any) -> bool:
    """Tell whether an activity that has boundary or start events has not ended yet."""
    if not isinstance(task.task_spec, (BoundaryEventSplit, StartEventSplit)):
        return False
    # Do not count a later run of the same activity, which is further down the tree.
    inside = (inner for child in task.children for inner in _walk(child, _ANY, task.task_spec.name))
    return any(
        isinstance(inner.task_spec, Join)
        and inner.task_spec.split_task == task.task_spec.name
        and not inner.has_state(TaskState.FINISHED_MASK)
        for inner in inside
    )


def _walk(
    first: Any, chosen: Any, end_at_spec: str | None = None, skip_subprocesses: bool = False
) -> Iterator[Any]:
    """Yield the chosen tasks of the tree below `first`, depth first, as SpiffWorkflow does."""
    least = TaskState.COMPLETED
    if chosen.state & TaskState.PREDICTED_MASK:
        least = TaskState.MAYBE
    elif chosen.state & TaskState.DEFINITE_MASK:
        least = TaskState.FUTURE
    subprocesses = {} if skip_subprocesses else first.workflow.top_workflow.subprocesses
    stack = [first]
    while stack:
        task = stack.pop()
        subprocess = subprocesses.get(task.id)
        if (task._state >= least or subprocess) and task.task_spec.name != end_at_spec:
            stack += reversed(task.children)
            if subprocess is not None:
                stack.append(subprocess.task_tree)
        if chosen.matches(task):
            yield task
