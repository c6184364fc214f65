"""A case of an engine in this process: its rules, under a lock, committed after each change."""

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
    """One run of a process. `Engine.start`, `case`, `resume` and `load_case` give them.

    id       its name, which never changes
    process  the process it follows
    rules    the `bpmn.Case` that decides; changed only under `lock`
    """

    def __init__(self, engine: Engine, rules: bpmn.Case, keeper: bpmn.Keeper | None) -> None:
        self.id = rules.id
        self.process = rules.process
        self.rules = rules
        self.keeper = keeper
        self.lock = threading.RLock()
        self.driver: Driver | None = None
        self.is_restored = False  # its begun calls belong to a process that has ended
        self.outputs: dict[str, str] = {}  # identifiers made by its sends since the last commit
        self.waits: set[tuple[str, str]] = set()  # as they were in the last commit
        self._engine = engine

    def __repr__(self) -> str:
        return repr(self.rules)

    @property
    def workflow(self) -> Any:
        """SpiffWorkflow's own object, for everything that this class has not."""
        return self.rules.workflow

    @property
    def data(self) -> dict[str, Any]:
        """The data of the process at its end, or at the task that it has reached."""
        return self.rules.data

    @property
    def status(self) -> str:
        """Return "running", "waiting" (for a moment or somebody), "finished", "failed" or
        "interrupted": nobody knows whether a call was carried out."""
        return self.rules.status

    @property
    def error(self) -> dict[str, Any] | None:
        """Return why it stopped: `ConnectorError.to_dict()` and `task`, the element's id."""
        return self.rules.error

    @property
    def stopped(self) -> list[dict[str, Any]]:
        """Return the calls that stand still, as `bpmn.Case.stopped` describes them."""
        return self.rules.stopped

    @property
    def late(self) -> list[dict[str, Any]]:
        """Return the results of calls that the process had left: `task`, `element`, `result`."""
        return self.rules.late

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks that wait for people, as `bpmn.Case.tasks` describes them."""
        with self.lock:
            return self.rules.tasks

    def run(self) -> None:
        """Run until the case is finished, or waits for something that only others can give.

        It sleeps while a timer runs. Raise CaseStopped when it failed or was interrupted; what was
        reached stays, and `retry` lets it go on.
        """
        self._engine.run([self])
        if self.status in ("failed", "interrupted"):
            raise bpmn.CaseStopped(self)

    def save(self) -> str:
        """Return the whole case as text for `Engine.load_case`. No secret is in it; its data is."""
        with self.lock:
            texts = bpmn.case_parts(self.rules)
        parts = {name: json.loads(text) for name, text in texts.items()}
        process = json.loads(bpmn.process_text(self.process))
        return json.dumps({"format": FORMAT, "id": self.id, "process": process, "parts": parts})

    def complete(self, task: str | Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """End a user or manual task with what somebody entered; also while the case runs.

        `task` is one of `tasks`, its own id, or its element's. Raise InvalidInput where it does
        not wait, or is not one.
        """
        name = task if isinstance(task, str) else str(task["task"])
        with self.changed():
            self.rules.complete(name, data, self._engine.clock.now())

    def retry(self, name: str | None = None) -> None:
        """Let a stopped case try again what stopped it.

        `name` is the element or the task (see `stopped`) to try; without it, all that failed is
        tried, and only where nothing failed, the interrupted calls. Those may have been carried
        out: look first, and `settle` what was. Raise InvalidInput where nothing of this name
        stopped.
        """
        with self._still():
            self.rules.retry(name, self._engine.clock.now())

    def settle(self, output: Mapping[str, Any], name: str | None = None) -> None:
        """Give the output of a call that failed or was interrupted, found out by other means.

        `name` is the element or the task (see `stopped`), where several stand still and `output`
        fits the inputs of more than one. Raise InvalidInput unless `output` is what the action
        returns.
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
        """Change the case, commit it, and wake whoever runs it."""
        with self.lock:
            yield
            self._engine.commit([self])
        self._engine.wake(self)
