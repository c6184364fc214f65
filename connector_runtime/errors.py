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
    hint                 what to do about it, a sentence
    retry_after_seconds  how long the service asked to wait, in seconds
    problems             every fault found in an input, the settings or a package: a tuple of
                         sentences without a full stop
    candidates           the identifiers (text) of everything that a call of unknown outcome may
                         have made: a tuple, empty where nothing is known
    looked_until         when the runtime last looked for what such a call made: ISO 8601, in UTC

    What is not known is None, or an empty tuple. No field holds a secret, a phone number or a
    message's body.
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
        """Return the fault as plain JSON: an object of the fields above, with tuples as lists."""
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

    Raised by `load`. Nothing was sent. `problems` has every fault of a manifest.
    """

    code = "INVALID_PACKAGE"
    when = "the folder or file is no connector"
    advice = "Correct the package, or load another one."


class InvalidConfiguration(ConnectorError):
    """The settings of an environment are wrong, or the file that they come from.

    Raised by `Connector.connect` and by what reads the file. Nothing was sent. `problems` has every
    fault, without the values.
    """

    code = "INVALID_CONFIGURATION"
    when = "a parameter or option is wrong"
    advice = "Correct the settings of this environment."


class UnknownAction(ConnectorError):
    """The connector has no action of this name; the message lists those that it has.

    Raised by everything that takes an action's name. Nothing was sent.
    """

    code = "UNKNOWN_ACTION"
    when = "there is no such action"
    advice = "Correct the action's name."


class InvalidInput(ConnectorError):
    """An action's input breaks its schema.

    Raised before the first request, so nothing was sent. `problems` has every fault, each with the
    field's name in quotes.
    """

    code = "INVALID_INPUT"
    when = "the input is wrong; all its problems at once"
    advice = "Correct what the message names."


class CredentialsRefused(ConnectorError):
    """The service does not accept the credentials (HTTP 401). Nothing was done.

    `status` is 401; `provider_code` is the service's own code, where the answer has one.
    """

    code = "CREDENTIALS_REFUSED"
    outcome = "refused"
    when = "HTTP 401"
    advice = "Correct the credentials of this environment."


class Forbidden(ConnectorError):
    """The credentials are accepted, but do not allow this (HTTP 403). Nothing was done.

    `status` is 403; `provider_code` is the service's own code, where the answer has one.
    """

    code = "FORBIDDEN"
    outcome = "refused"
    when = "HTTP 403"
    advice = "Give the account or key the right, or use another one."


class NotFound(ConnectorError):
    """What was asked for does not exist (HTTP 404). Nothing was done.

    `status` is 404; `provider_code` is the service's own code, where the answer has one.
    """

    code = "NOT_FOUND"
    outcome = "refused"
    when = "HTTP 404"
    advice = "Correct the identifier, or the account."


class Refused(ConnectorError):
    """The service refused the request (any other HTTP 4xx). Nothing was done.

    `status` is the HTTP status, `provider_code` the service's own code, `hint` what to do about it,
    where that is known.
    """

    code = "REFUSED"
    outcome = "refused"
    when = "any other HTTP 4xx; `provider_code` is the service's own"
    advice = "Do what the message says: the same request is refused again."


class Throttled(ConnectorError):
    """There were too many requests at once (HTTP 429). Nothing was done.

    Raised after the runtime has tried again itself. `status` is 429; `retry_after_seconds` is how
    long the service asked to wait, where it said so.
    """

    code = "THROTTLED"
    retryable = True
    when = "HTTP 429, too many at once"
    advice = "Try again later."


class Unavailable(ConnectorError):
    """The service failed (HTTP 5xx) at an action that may be repeated.

    Raised after the runtime has tried again itself. `status` is the HTTP status;
    `retry_after_seconds` is how long the service asked to wait, where it said so.
    """

    code = "UNAVAILABLE"
    retryable = True
    when = "HTTP 5xx to an action that may be repeated"
    advice = "Try again later."


class NoAnswer(ConnectorError):
    """No answer came, in time or at all, to an action that may be repeated.

    Raised after the runtime has tried again itself. `status` is None.
    """

    code = "NO_ANSWER"
    retryable = True
    when = "no answer to an action that may be repeated"
    advice = "Try again later."


class NeverConnected(NoAnswer):
    """No connection was made, so the request was not sent. Nothing was done, whatever the action.

    `retryable` is false where the server's certificate is the reason: trying again does not help.
    """

    code = "NEVER_CONNECTED"
    when = "the request was not sent: no connection was made"
    advice = "Check the network, the proxy and the address; try again."


class OutcomeUnknown(ConnectorError):
    """A request was sent and may have been carried out: no answer came, or none that can be read.

    Raised for actions that must not be repeated. Do not make the same call again before you know
    whether this one was carried out. `candidates` has the identifiers of what it may have made, and
    `looked_until` says when the runtime last looked (ISO 8601, in UTC).
    """

    code = "OUTCOME_UNKNOWN"
    outcome = "unknown"
    when = "a write that got no answer, or none that can be read"
    advice = "First find out whether it was done. **Never repeat it automatically.**"


class LedgerFailed(ConnectorError):
    """The ledger of keys can't be written, so the call was not begun. Nothing was sent.

    Raised by `Connection.run` with `key`.
    """

    code = "LEDGER_FAILED"
    retryable = True
    when = "the ledger can't be written, so nothing was sent"
    advice = "Free the disk, or correct the rights of the file; try again."


class InvalidAnswer(ConnectorError):
    """An answer came to an action that may be repeated, but it can't be read.

    It is no JSON, or not what the action's output schema says, or too large. `status` is the HTTP
    status, where one was read.
    """

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
