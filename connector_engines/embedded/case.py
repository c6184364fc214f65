"""A case of an engine in this process: its rules, under a lock, committed after each change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connector_engines import bpmn
from connector_runtime.errors import InvalidInput

if TYPE_CHECKING:
    from .engine import Engine

FORMAT = 2


class Case:
    """One run of a process. `Engine.start`, `resume` and `load_case` make them.

    id       its name for ever
    process  the process it follows
    rules    what decides; changed only under `lock`
    """

    def __init__(self, engine: Engine, rules: bpmn.Case) -> None:
        self.id = rules.id
        self.process = rules.process
        self.rules = rules
        self.lock = threading.RLock()
        self.driven = False
        self._engine = engine

    def __repr__(self) -> str:
        return repr(self.rules)

    @property
    def workflow(self) -> Any:
        """SpiffWorkflow's own object, for what this class does not offer."""
        return self.rules.workflow

    @property
    def data(self) -> dict[str, Any]:
        """The data of the process: where it ended, or where it stands."""
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
        """Return the calls that stand still: `task` (its own id), `element` (of the BPMN file),
        `why` ("interrupted" or "failed") and `inputs`, by which to tell those of a loop apart."""
        return self.rules.stopped

    @property
    def late(self) -> list[dict[str, Any]]:
        """Return what came of calls that the process had left: `task`, `element`, `result`."""
        return self.rules.late

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
            saved = {
                "format": FORMAT,
                "id": self.id,
                "process": json.loads(bpmn.process_text(self.process)),
                "case": json.loads(bpmn.case_text(self.rules)),
            }
        return json.dumps(saved)

    def retry(self, name: str | None = None) -> None:
        """Let a stopped case try again what stopped it.

        `name` is the element or the task (see `stopped`) to try; without it, all that failed is
        tried, and only where nothing failed, the interrupted calls. Those may have been carried
        out: look first, and `settle` what was. Raise InvalidInput where nothing of this name
        stopped.
        """
        with self._changed():
            self.rules.retry(name, time.time())

    def settle(self, output: Mapping[str, Any], name: str | None = None) -> None:
        """Give the output of a call that failed or was interrupted, found out by other means.

        `name` is the element or the task (see `stopped`), where several stand still and `output`
        has not the inputs of one alone. Raise InvalidInput unless `output` is what the action
        returns.
        """
        with self._changed():
            task, operator = self.rules.to_settle(output, name)
            _, action = self._engine.action(operator)
            problems = action.output.problems(dict(output))
            if problems:
                raise InvalidInput(
                    f"{action.name} output: {'; '.join(problems)}.", problems=problems
                )
            self.rules.settle(task, output, time.time())

    @contextmanager
    def _changed(self) -> Iterator[None]:
        with self.lock:
            if self.driven:
                raise RuntimeError(f"case {self.id} is running")
            yield
            self._engine.commit([self])
