"""What can be wrong with a process or a case, beside what a connector reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connector_runtime.errors import ConnectorError

if TYPE_CHECKING:
    from .case import Case


class InvalidProcess(ConnectorError):
    """A BPMN file that can't be run: `problems` has every reason with its element's id."""

    code = "INVALID_PROCESS"


class CaseStopped(ConnectorError):
    """A case that can't go on by itself: `code` and `task` say why; `case` is the case."""

    def __init__(self, case: Case | Any) -> None:
        error = case.error or {}
        super().__init__(error.get("message", ""), problems=error.get("problems", ()))
        self.case = case
        self.code = error.get("code", self.code)
        self.outcome = error.get("outcome", self.outcome)
        self.task: str | None = error.get("task")


class UnexpectedFault(ConnectorError):
    """An exception that a connector did not expect. Its text may hold data and is not shown."""

    def __init__(self, effect: str, fault: BaseException) -> None:
        super().__init__(f"The connector failed by itself ({type(fault).__name__}); see the log.")
        self.outcome = "not_sent" if effect == "read" else "unknown"
