"""What is known of one call of a connector: a record with named states, for every engine.

                   begin                  succeed
      WANTED ──────────────────► BEGUN ─────────────► DONE
       ▲  ▲ ▲                    │ │ │                 ▲
       │  │ └── withdraw, ───────┘ │ │                 │
       │  │     repeat, lose       │ │                 │
       │  │                 fail   │ │ doubt           │ settle
       │  └── retry ── FAILED ◄────┘ └────► UNKNOWN ───┤
       │                  └────────────────────────────┤
       └── retry, look ◄────────────────── UNKNOWN ────┘

withdraw  it was not made after all: its mark is taken back before anything left
repeat    the connector says that the same call may be made again; it is, from `due` on
lose      nobody knows how it ended (its process was killed, its worker died)
look      its outcome is looked up once more
retry     somebody decided that it is made again
settle    somebody found out what it returned

A call that may have been carried out keeps `since`, the moment at which it first began: whoever
begins it again says so to the connector, which looks for its message before it sends one. Only
`withdraw`, an outcome that is surely none (`repeat`, `fail`) of a call that was not in doubt
before, and `retry` let go of that moment.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
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

    attempts  how often it was begun, for the retries that the process allows
    due       when it may begin; seconds since 1970
    since     when it first began, while it may have been carried out
    before    what `since` was before it began this time
    error     why it is FAILED or UNKNOWN, as `ConnectorError.to_dict` gives it, with its task
    """

    state: State = State.WANTED
    attempts: int = 0
    due: float = 0.0
    since: float | None = None
    before: float | None = None
    error: dict[str, Any] | None = None

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
        """End without an outcome. A `harmless` call (it changes nothing) is simply made again."""
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
        self.attempts, self.due, self.since, self.error = 0, 0.0, None, None

    def settle(self) -> None:
        self._go("settle")
        self.error = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "state": self.state.value}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Call:
        return cls(**{**record, "state": State(record["state"])})
