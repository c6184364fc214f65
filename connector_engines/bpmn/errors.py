"""The errors of processes and cases. Connectors have their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connector_runtime.errors import ConnectorError

if TYPE_CHECKING:
    from .case import Case


class InvalidProcess(ConnectorError):
    """A BPMN file can't be run. `problems` has every reason, with the id of the element."""

    code = "INVALID_PROCESS"


class CaseStopped(ConnectorError):
    """A case failed or was interrupted. `code` and `task` (the element's id) say why."""

    def __init__(self, case: Case | Any) -> None:
        error = case.error or {}
        super().__init__(error.get("message", ""), problems=error.get("problems", ()))
        self.case = case
        self.code = error.get("code", self.code)
        self.outcome = error.get("outcome", self.outcome)
        self.task: str | None = error.get("task")


class UnexpectedFault(ConnectorError):
    """A connector raised an unexpected exception. Its text may contain data and is not shown."""

    def __init__(self, effect: str, fault: BaseException) -> None:
        name = type(fault).__name__
        super().__init__(f"The connector failed because of its own defect ({name}); see the log.")
        self.outcome = "not_sent" if effect == "read" else "unknown"
