"""The record of one call of a connector, with its state, for every engine.

                   begin                  succeed
      WANTED ──────────────────► BEGUN ─────────────► DONE
       ▲  ▲ ▲                    │ │ │                 ▲
       │  │ └── withdraw, ───────┘ │ │                 │
       │  │     repeat, lose       │ │                 │
       │  │                 fail   │ │ doubt           │ settle
       │  └── retry ── FAILED ◄────┘ └────► UNKNOWN ───┤
       │                  └────────────────────────────┤
       └── retry, look ◄────────────────── UNKNOWN ────┘

withdraw  the call was not made: nothing was sent since it was marked as begun
repeat    the connector says that the same call may be made again; it begins again at `due`
lose      it is not known how the call ended (its program was killed, its worker died)
look      the outcome of the call is looked up once more
retry     a person decided to make the call again
settle    a person found out the output of the call

A call that may have been carried out keeps `since`, the time at which it first began. When it
begins again, the connector gets `since`, and looks for the message before it sends one. `withdraw`
and `retry` remove `since`. So do `repeat` and `fail`, because then certainly nothing was done,
unless an earlier attempt may have been carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class State(str, Enum):
    WANTED = "wanted"
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


TRANSITIONS: dict[str, tuple[frozenset[State], State]] = {
    "begin": (frozenset({State.WANTED}), State.BEGUN),
    "withdraw": (frozenset({State.BEGUN}), State.WANTED),
    "repeat": (frozenset({State.BEGUN}), State.WANTED),
    "lose": (frozenset({State.BEGUN}), State.WANTED),
    "succeed": (frozenset({State.BEGUN}), State.DONE),
    "fail": (frozenset({State.BEGUN}), State.FAILED),
    "doubt": (frozenset({State.BEGUN}), State.UNKNOWN),
    "look": (frozenset({State.UNKNOWN}), State.WANTED),
    "retry": (frozenset({State.FAILED, State.UNKNOWN}), State.WANTED),
    "settle": (frozenset({State.FAILED, State.UNKNOWN}), State.DONE),
}


@dataclass
class Call:
    """The record of one call.

    number    the number of its task, under which it is stored
    operator  what it calls: "connector/action"
    element   the id of its service task in the BPMN file
    name      the name of that task for people
    inputs    the inputs it began with, so that a look-up uses the same ones
    attempts  how often it began, for the retries that the process allows
    due       when it may begin, in seconds since 1970
    since     when it first began (seconds since 1970), if it may have been carried out
    before    the value of `since` before it began the last time
    resends   how often it began with permission to send it again because it was not found
    error     why it is FAILED or UNKNOWN, as `ConnectorError.to_dict` gives it, with its task
    """

    number: int = 0
    operator: str = ""
    element: str = ""
    name: str = ""
    state: State = State.WANTED
    inputs: dict[str, Any] | None = None
    attempts: int = 0
    due: float = 0.0
    since: float | None = None
    before: float | None = None
    resends: int = 0
    error: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """The task's name for a message to people."""
        known = self.name and self.name != self.element
        return f"'{self.name}' ({self.element})" if known else f"'{self.element}'"

    def _go(self, event: str) -> None:
        allowed, target = TRANSITIONS[event]
        if self.state not in allowed:
            raise RuntimeError(f"a call that is {self.state.value} can't {event}")
        self.state = target

    def begin(self, now: float) -> None:
        self._go("begin")
        self.attempts += 1
        self.before = self.since
        if self.since is None:
            self.since = now

    def withdraw(self) -> None:
        self._go("withdraw")
        self.attempts -= 1
        self.since = self.before

    def repeat(self, due: float) -> None:
        self._go("repeat")
        self.due = due
        self.since = self.before

    def lose(self, *, harmless: bool) -> None:
        """End without an outcome. A `harmless` call changes nothing, so it is made again."""
        self._go("lose")
        self.due = 0.0
        if harmless:
            self.since = None

    def succeed(self) -> None:
        self._go("succeed")

    def fail(self, error: dict[str, Any]) -> None:
        self._go("fail")
        self.since = self.before
        self.error = error

    def doubt(self, error: dict[str, Any]) -> None:
        self._go("doubt")
        self.error = error

    def look(self, due: float = 0.0) -> None:
        self._go("look")
        self.due = due
        self.error = None

    def retry(self) -> None:
        self._go("retry")
        self.attempts, self.due, self.resends = 0, 0.0, 0
        self.since = self.error = self.inputs = None

    def settle(self) -> None:
        self._go("settle")
        self.error = None

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "state": self.state.value}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Call:
        return cls(**{**record, "state": State(record["state"])})


class Calls(Mapping[str, Call]):
    """The calls of a case that are not over, by the id of their task and by their state.

    changed  the task ids of calls that changed since this was cleared, by the calls' number
    fresh    the task ids of calls that became wanted since this was cleared
    """

    def __init__(self, calls: Mapping[str, Call]) -> None:
        self._calls = dict(calls)
        self._of: dict[State, dict[str, Call]] = {state: {} for state in State}
        for name, call in calls.items():
            self._of[call.state][name] = call
        self.changed: dict[int, str] = {}
        self.fresh = list(self._of[State.WANTED])

    def __getitem__(self, name: str) -> Call:
        return self._calls[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def of(self, state: State) -> Mapping[str, Call]:
        return self._of[state]

    def add(self, name: str, call: Call) -> None:
        self._calls[name] = self._of[call.state][name] = call
        self.changed[call.number] = name
        self.fresh.append(name)

    def go(self, name: str, event: str, *details: Any, **named: Any) -> None:
        """Apply this event to a call; see `TRANSITIONS`. The other arguments are the event's."""
        call = self._calls[name]
        before = call.state
        getattr(call, event)(*details, **named)
        del self._of[before][name]
        self._of[call.state][name] = call
        self.changed[call.number] = name
        if call.state is State.WANTED:
            self.fresh.append(name)

    def forget(self, name: str) -> None:
        call = self._calls.pop(name)
        del self._of[call.state][name]
        self.changed[call.number] = name
