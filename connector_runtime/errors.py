"""What can go wrong, as data that an engine can decide by.

ConnectorError
├── InvalidPackage        INVALID_PACKAGE        the folder or file is no connector
├── InvalidConfiguration  INVALID_CONFIGURATION  the settings of this environment are wrong
├── UnknownAction         UNKNOWN_ACTION         the connector has no such action
├── InvalidInput          INVALID_INPUT          the action's input is wrong
├── CredentialsRefused    CREDENTIALS_REFUSED    HTTP 401
├── Forbidden             FORBIDDEN              HTTP 403
├── NotFound              NOT_FOUND              HTTP 404
├── Refused               REFUSED                any other HTTP 4xx
├── Throttled             THROTTLED              HTTP 429, may be repeated
├── Unavailable           UNAVAILABLE            HTTP 5xx to an action that may be repeated
├── NoAnswer              NO_ANSWER              no answer to an action that may be repeated
│   └── NeverConnected    NEVER_CONNECTED        the request never left, may be repeated
├── OutcomeUnknown        OUTCOME_UNKNOWN        it may have been done: never repeat it unasked
└── InvalidAnswer         INVALID_ANSWER         the service's answer can't be read
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ConnectorError(Exception):
    """Any expected fault. `str()` of it says where, what and what to do.

    code                 stable text for programs and BPMN error events
    retryable            whether the same call may be made again without harm
    outcome              "not_sent" (nothing was done), "refused" (the service said no) or
                         "unknown" (it may have been done)
    status               HTTP status of the service's answer, if there was one
    provider_code        the service's own error code, as text
    request_id           the service's name for the request, for its support
    hint                 what to do about it
    retry_after_seconds  how long the service asked to wait
    problems             every fault found in an input, the settings or a package
    """

    code = "CONNECTOR_ERROR"
    retryable = False
    outcome = "not_sent"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        provider_code: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
        retry_after_seconds: float | None = None,
        problems: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.provider_code = provider_code
        self.request_id = request_id
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds
        self.problems = tuple(problems)

    def to_dict(self) -> dict[str, Any]:
        """Return the fault as plain JSON, for an engine to keep or to map."""
        return {
            "code": self.code,
            "message": str(self),
            "retryable": self.retryable,
            "outcome": self.outcome,
            "status": self.status,
            "provider_code": self.provider_code,
            "request_id": self.request_id,
            "hint": self.hint,
            "retry_after_seconds": self.retry_after_seconds,
            "problems": list(self.problems),
        }


class InvalidPackage(ConnectorError):
    code = "INVALID_PACKAGE"


class InvalidConfiguration(ConnectorError):
    code = "INVALID_CONFIGURATION"


class UnknownAction(ConnectorError):
    code = "UNKNOWN_ACTION"


class InvalidInput(ConnectorError):
    code = "INVALID_INPUT"


class CredentialsRefused(ConnectorError):
    code = "CREDENTIALS_REFUSED"
    outcome = "refused"


class Forbidden(ConnectorError):
    code = "FORBIDDEN"
    outcome = "refused"


class NotFound(ConnectorError):
    code = "NOT_FOUND"
    outcome = "refused"


class Refused(ConnectorError):
    code = "REFUSED"
    outcome = "refused"


class Throttled(ConnectorError):
    code = "THROTTLED"
    retryable = True


class Unavailable(ConnectorError):
    code = "UNAVAILABLE"
    retryable = True


class NoAnswer(ConnectorError):
    code = "NO_ANSWER"
    retryable = True


class NeverConnected(NoAnswer):
    code = "NEVER_CONNECTED"


class OutcomeUnknown(ConnectorError):
    code = "OUTCOME_UNKNOWN"
    outcome = "unknown"


class InvalidAnswer(ConnectorError):
    code = "INVALID_ANSWER"
