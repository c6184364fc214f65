"""A case of the embedded engine: it locks and commits each change of the rules' case."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connector_engines import bpmn
from connector_runtime.errors import InvalidInput

if TYPE_CHECKING:
    from .driver import Driver
    from .engine import Engine

FORMAT = 2


class Case:
    """One run of a process. `Engine.start`, `case`, `resume` and `load_case` return it.

    id       its name, which never changes
    process  the process that it runs
    rules    the `bpmn.Case` that decides what happens; change it only while `lock` is held
    """

    def __init__(self, engine: Engine, rules: bpmn.Case, keeper: bpmn.Keeper | None) -> None:
        self.id = rules.id
        self.process = rules.process
        self.rules = rules
        self.keeper = keeper
        self.lock = threading.RLock()
        self.driver: Driver | None = None
        # The number of its row in the store
        self.number: int | None = None
        # True if its begun calls were made by a program that has ended
        self.is_restored = False
        # The identifiers that its sends returned since the last commit, each with its call
        self.outputs: dict[str, str] = {}
        # The messages and signals that it waited for at the last commit
        self.waits: set[tuple[str, str]] = set()
        self._engine = engine

    def __repr__(self) -> str:
        return repr(self.rules)

    @property
    def workflow(self) -> Any:
        """SpiffWorkflow's own object, for everything that this class does not offer."""
        return self.rules.workflow

    @property
    def data(self) -> dict[str, Any]:
        """The data of the process at its end, or at the last task that has ended."""
        return self.rules.data

    @property
    def status(self) -> str:
        """Return "running", "waiting" (for a time, a person or an event), "finished", "failed", or
        "interrupted" (it is not known whether a call was carried out)."""
        return self.rules.status

    @property
    def error(self) -> dict[str, Any] | None:
        """Return why it stopped: `ConnectorError.to_dict()` plus `task`, the element's id."""
        return self.rules.error

    @property
    def stopped(self) -> list[dict[str, Any]]:
        """Return the calls that have stopped, as `bpmn.Case.stopped` describes them."""
        return self.rules.stopped

    @property
    def late(self) -> list[dict[str, Any]]:
        """Return the results that came too late, as `task`, `element` and `result`.

        The process had left the task of such a call before the call ended.
        """
        return self.rules.late

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks that wait for people, as `bpmn.Case.tasks` describes them."""
        with self.lock:
            return self.rules.tasks

    def run(self) -> None:
        """Run until the case is finished, or waits for a person, a message or a signal.

        It also waits for timers. Raise CaseStopped if the case failed or was interrupted. It keeps
        its state, and `retry` lets it continue.
        """
        self._engine.run([self])
        if self.status in ("failed", "interrupted"):
            raise bpmn.CaseStopped(self)

    def save(self) -> str:
        """Return the whole case as text for `Engine.load_case`: with its data, without settings."""
        with self.lock:
            texts = bpmn.case_parts(self.rules)
        parts = {name: json.loads(text) for name, text in texts.items()}
        process = json.loads(bpmn.process_text(self.process))
        return json.dumps({"format": FORMAT, "id": self.id, "process": process, "parts": parts})

    def complete(self, task: str | Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Complete a user or manual task with the data that a person entered, even while it runs.

        `task` is one of `tasks`, its id, or the id of its element. Raise InvalidInput unless
        exactly one such task waits, and `data` is JSON.
        """
        name = task if isinstance(task, str) else str(task["task"])
        with self.changed():
            self.rules.complete(name, data, self._engine.clock.now())

    def retry(self, name: str | None = None) -> None:
        """Repeat the calls that stopped the case.

        `name` is the id of one element or task (see `stopped`). Without it, all failed calls are
        repeated; if none failed, the interrupted calls. An interrupted call may have been carried
        out. Check that first, and use `settle` if it was. Raise InvalidInput if no call of this
        name has stopped.
        """
        with self._still():
            self.rules.retry(name, self._engine.clock.now())

    def settle(self, output: Mapping[str, Any], name: str | None = None) -> None:
        """Give the output of a call that has stopped, if a person found it out in another way.

        `name` is the id of the element or of the task (see `stopped`). It is needed if `output`
        fits the inputs of several stopped calls. Raise InvalidInput unless `output` is an output of
        the action.
        """
        with self._still():
            task, operator = self.rules.to_settle(output, name)
            _, action = self._engine.action(operator)
            problems = action.output.problems(dict(output))
            if problems:
                raise InvalidInput(
                    f"{action.name} output: {'; '.join(problems)}.", problems=problems
                )
            self.rules.settle(task, output, self._engine.clock.now())
            self._engine.claim(self, task, action, output, is_new=False)

    @contextmanager
    def _still(self) -> Iterator[None]:
        with self.changed():
            if self.driver is not None:
                raise RuntimeError(f"case {self.id} is running")
            yield

    @contextmanager
    def changed(self) -> Iterator[None]:
        """Change the case, commit it, and wake the driver that runs it."""
        with self.lock:
            yield
            self._engine.commit([self])
        self._engine.wake(self)
