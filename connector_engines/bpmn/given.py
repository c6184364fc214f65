"""The time and the identifiers that SpiffWorkflow uses while a case runs a step.

SpiffWorkflow takes both from the machine. But an engine that repeats its history, such as Temporal,
must supply the same values each time. So this module replaces these names in SpiffWorkflow's
modules, once, and no others:

SpiffWorkflow.task.uuid4    the id of a new task
SpiffWorkflow.task.time     when a task changed its state; joins merge data in this order
...timer.datetime           whether a timer's moment has come

Outside of `given` they work as before, so nothing changes for other users of SpiffWorkflow.
"""

from __future__ import annotations

import datetime as calendar
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import SpiffWorkflow.task
from SpiffWorkflow.bpmn.specs.event_definitions import timer

NewId = Callable[[], UUID]


class _Given(NamedTuple):
    now: float
    new_id: NewId


_GIVEN: ContextVar[_Given | None] = ContextVar("connector_engines.bpmn.given", default=None)


class given:
    """In this block, SpiffWorkflow uses `now` (seconds since 1970) and ids from `new_id`."""

    def __init__(self, now: float, new_id: NewId) -> None:
        self._given = _Given(now, new_id)

    def __enter__(self) -> None:
        self._token = _GIVEN.set(self._given)

    def __exit__(self, *_: object) -> None:
        _GIVEN.reset(self._token)


_machine_id = SpiffWorkflow.task.uuid4
_machine_time = SpiffWorkflow.task.time.time


def _new_id() -> UUID:
    context = _GIVEN.get()
    return context.new_id() if context else _machine_id()


def moment() -> float:
    """Return the given time in seconds since 1970, or the machine's time outside of `given`."""
    context = _GIVEN.get()
    return context.now if context else _machine_time()


class _Kind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, calendar.datetime)


class datetime(calendar.datetime, metaclass=_Kind):
    """The `datetime` of expressions and timers: its `now` is the given time.

    It creates ordinary datetimes, which can be compared and saved as usual.
    """

    def __new__(cls, *parts: Any, **named: Any) -> Any:
        return calendar.datetime(*parts, **named)

    @classmethod
    def now(cls, tz: calendar.tzinfo | None = None) -> Any:
        return calendar.datetime.fromtimestamp(moment(), tz)

    @classmethod
    def today(cls) -> Any:
        return cls.now()

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(calendar.timezone.utc).replace(tzinfo=None)


SpiffWorkflow.task.uuid4 = _new_id
SpiffWorkflow.task.time = SimpleNamespace(time=moment)
timer.datetime = datetime
