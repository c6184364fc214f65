"""What can go wrong, as data that an engine can decide by.

ConnectorError
├── InvalidPackage, InvalidConfiguration, UnknownAction, InvalidInput    nothing was sent
├── CredentialsRefused, Forbidden, NotFound, Refused                     the service said no
├── Throttled, Unavailable, NoAnswer ── NeverConnected                   may be repeated
├── OutcomeUnknown                                                       it may have been done
└── InvalidAnswer                                                        it can't be read
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ConnectorError(Exception):
    """Any expected fault. `str()` of it says where, what and what to do.

    code                 stable text for programs and BPMN error events
    when                 when it is raised, for the tables in documents
    advice               what to do about an error of this code, for the same tables
    retryable            whether the same call may be made again without harm
    outcome              "not_sent" (nothing was done), "refused" (the service said no) or
                         "unknown" (it may have been done)
    status               HTTP status of the service's answer, if there was one
    provider_code        the service's own error code, as text
    request_id           the service's name for the request, for its support
    hint                 what to do about it
    retry_after_seconds  how long the service asked to wait
    problems             every fault found in an input, the settings or a package
    candidates           identifiers of all that a call of unknown outcome may have made
    looked_until         ISO 8601 moment of the last look for what it made, in UTC
    """

    code = "CONNECTOR_ERROR"
    when = ""
    advice = ""
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
        candidates: Sequence[str] = (),
        looked_until: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.provider_code = provider_code
        self.request_id = request_id
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds
        self.problems = tuple(problems)
        self.candidates = tuple(candidates)
        self.looked_until = looked_until

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
            "candidates": list(self.candidates),
            "looked_until": self.looked_until,
        }


class InvalidPackage(ConnectorError):
    """A folder or file is no connector, or not one that this runtime takes.

    Raised by `load`, before anything is sent. `problems` has every fault of a manifest.
    """

    code = "INVALID_PACKAGE"
    when = "the folder or file is no connector"
    advice = "Correct the package, or load another one."


class InvalidConfiguration(ConnectorError):
    """The settings of an environment are wrong, or the file that they come from.

    Raised by `Connector.connect` and by what reads a file, before anything is sent. `problems` has
    every fault; no value is shown.
    """

    code = "INVALID_CONFIGURATION"
    when = "a parameter or option is wrong"
    advice = "Correct the settings of this environment."


class UnknownAction(ConnectorError):
    """The connector has no action of this name; the message lists those that it has."""

    code = "UNKNOWN_ACTION"
    when = "there is no such action"
    advice = "Correct the action's name."


class InvalidInput(ConnectorError):
    """An action's input breaks its schema. Nothing was sent; `problems` has every fault."""

    code = "INVALID_INPUT"
    when = "the input is wrong; all its problems at once"
    advice = "Correct what the message names."


class CredentialsRefused(ConnectorError):
    """The service does not accept the credentials (HTTP 401). Nothing was done."""

    code = "CREDENTIALS_REFUSED"
    outcome = "refused"
    when = "HTTP 401"
    advice = "Correct the credentials of this environment."


class Forbidden(ConnectorError):
    """The credentials are accepted and do not allow this (HTTP 403). Nothing was done."""

    code = "FORBIDDEN"
    outcome = "refused"
    when = "HTTP 403"
    advice = "Give the account or key the right, or use another one."


class NotFound(ConnectorError):
    """What was asked for is not there (HTTP 404). Nothing was done."""

    code = "NOT_FOUND"
    outcome = "refused"
    when = "HTTP 404"
    advice = "Correct the identifier, or the account."


class Refused(ConnectorError):
    """The service refused the request (any other HTTP 4xx). Nothing was done.

    `provider_code` is the service's own code, `hint` what to do about it, where that is known.
    """

    code = "REFUSED"
    outcome = "refused"
    when = "any other HTTP 4xx; `provider_code` is the service's own"
    advice = "Do what the message says: the same request is refused again."


class Throttled(ConnectorError):
    """There were too many requests at once (HTTP 429). Nothing was done.

    `retry_after_seconds` is how long the service asked to wait, where it said so.
    """

    code = "THROTTLED"
    retryable = True
    when = "HTTP 429, too many at once"
    advice = "Try again later."


class Unavailable(ConnectorError):
    """The service failed (HTTP 5xx) at an action that may be repeated."""

    code = "UNAVAILABLE"
    retryable = True
    when = "HTTP 5xx to an action that may be repeated"
    advice = "Try again later."


class NoAnswer(ConnectorError):
    """No answer came, in time or at all, to an action that may be repeated."""

    code = "NO_ANSWER"
    retryable = True
    when = "no answer to an action that may be repeated"
    advice = "Try again later."


class NeverConnected(NoAnswer):
    """The request did not leave: no connection was made. Nothing was done, whatever the action.

    Where the server's certificate is at fault, `retryable` is false.
    """

    code = "NEVER_CONNECTED"
    when = "the request never left"
    advice = "Check the network, the proxy and the address; try again."


class OutcomeUnknown(ConnectorError):
    """A request left and may have been carried out: no answer came, or none that can be read.

    Raised for actions that must not be repeated. The same call must not be made again before it is
    known what became of this one.
    """

    code = "OUTCOME_UNKNOWN"
    outcome = "unknown"
    when = "a write that was not answered, or not readably"
    advice = "Find out what became of it first. **Never repeat it by itself.**"


class LedgerFailed(ConnectorError):
    """A ledger of keys can't be written, so the call was not begun."""

    code = "LEDGER_FAILED"
    retryable = True
    when = "the ledger can't be written, so nothing was sent"
    advice = "Free the disk, or correct the rights of the file; try again."


class InvalidAnswer(ConnectorError):
    """An answer came to an action that may be repeated, and can't be read."""

    code = "INVALID_ANSWER"
    when = "the answer to an action that may be repeated can't be read"
    advice = "Tell whoever looks after the connector."


def kinds() -> list[type[ConnectorError]]:
    """Return every kind of ConnectorError of this module, in the order in which they are here."""
    return [
        value
        for value in globals().values()
        if isinstance(value, type)
        and issubclass(value, ConnectorError)
        and value is not ConnectorError
    ]
