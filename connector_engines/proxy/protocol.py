"""What goes over the wire: a request's fields, its key, and the answers in Spiff Arena's form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from connector_runtime.errors import ConnectorError

KEY_HEADER = "Spiff-Connector-Proxy-Api-Key"
ENGINES_OWN = "spiff__"  # how the names begin that an engine adds to the inputs
TASK = "spiff__task_id"

_MARK = re.compile(rb'[{}\[\]",:]')
_DEEP_MARK = re.compile(rb'[{}\[\]"]')
_IN_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_QUOTED_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_PLAIN_KEY = re.compile(r"[!#-~]+")
# For errors after which nothing was done and which may be repeated, without a service's status.
_REPEATABLE = {"THROTTLED": 429, "NO_ANSWER": 504}
_NOT_REPEATABLE = {"INVALID_INPUT": 400, "NOT_FOUND": 404}
IN_DOUBT = 409


class TooLarge(Exception):
    """What is kept of a request is larger than the limit."""


class Fields:
    """The JSON object of a request, given in pieces, without what the engine adds to it.

    An engine adds all data of its task, which may be megabytes. This is skipped as it arrives, so
    that only the inputs need memory; a usual decoder would need several times the whole size. In
    what is skipped, only the nesting is checked.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept = bytearray()
        self._member = 0  # where the current member begins in `_kept`
        self._depth = 0
        self._in_string = False
        self._dropping = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece. Raise TooLarge."""
        data = self._rest + data
        self._rest = b""
        position = begin = 0
        while position < len(data):
            if self._in_string:
                match = _IN_STRING.match(data, position)
                position = match.end() if match else position
                if position < len(data):
                    if data[position : position + 1] == b"\\":
                        # Its second character has not come yet.
                        self._rest = data[position:]
                        break
                    self._in_string = False
                    position += 1
                continue
            mark = (_DEEP_MARK if self._depth > 1 else _MARK).search(data, position)
            if mark is None:
                position = len(data)
                break
            position = mark.end()
            sign = mark.group()
            if sign == b'"':
                self._in_string = True
            elif sign in b"{[":
                self._depth += 1
                if self._depth == 1:
                    self._keep(data[begin:position])
                    begin, self._member = position, len(self._kept)
            elif sign in b"}]":
                self._depth -= 1
                if self._depth == 0:
                    begin = self._end_member(data, begin, mark.start())
            elif self._depth == 1 and sign == b",":
                begin = self._end_member(data, begin, mark.start())
                self._member = len(self._kept) + 1
            elif self._depth == 1 and not self._dropping:
                self._keep(data[begin:position])
                begin = position
                self._dropping = self._is_engines_own()
        self._keep(data[begin:position])

    def value(self) -> dict[str, Any]:
        """Return the fields, skipped ones as None. Raise ValueError for anything else."""
        fields = json.loads(
            self._kept.decode("utf-8"), object_pairs_hook=unique, parse_constant=_no_constant
        )
        if not isinstance(fields, dict):
            raise ValueError("it is no object")
        return fields

    def _keep(self, data: bytes) -> None:
        if not self._dropping:
            self._kept += data
            if len(self._kept) > self._most_bytes:
                raise TooLarge

    def _end_member(self, data: bytes, begin: int, end: int) -> int:
        if not self._dropping:
            self._keep(data[begin:end])
        else:
            self._dropping = False
            self._keep(b"null")
        return end

    def _is_engines_own(self) -> bool:
        try:
            name = json.loads(self._kept[self._member : -1])
        except ValueError:
            return False  # `value` says so
        return isinstance(name, str) and name.startswith(ENGINES_OWN) and name != TASK


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is given twice")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def key_of(header: list[str], task: Any) -> str | None:
    """Return what names a call: the header Idempotency-Key, or else the engine's task.

    The header is a quoted string, as in draft-ietf-httpapi-idempotency-key-header; one without
    quotes is taken too. Raise ValueError for another form.
    """
    if not header:
        return task if isinstance(task, str) and task.strip() else None
    (text,) = header
    text = text.strip(" \t")
    if quoted := _QUOTED_KEY.fullmatch(text):
        text = re.sub(r"\\(.)", r"\1", quoted.group(1))
    elif not _PLAIN_KEY.fullmatch(text):
        raise ValueError("it is no string")
    if not text.strip():
        raise ValueError("it is empty")
    return text


def answer(body: Any, status: int, error: Mapping[str, str] | None = None) -> bytes:
    """Return the answer of a command that ran, in version 2 of the protocol."""
    return json.dumps({
        "command_response_version": 2,
        "command_response": {"body": body, "mimetype": "application/json", "http_status": status},
        "error": error,
        "spiff__logs": [],
    }).encode()  # fmt: skip


def fault(error: ConnectorError) -> bytes:
    told = {"error_code": error.code, "message": str(error)}
    return answer(error.to_dict(), status_of(error), told)


def status_of(error: ConnectorError) -> int:
    """Return the `http_status` of an error.

    Callers repeat 429 and whatever is 500 or above by themselves, so these are only for what did
    nothing and may be repeated.
    """
    if error.outcome == "unknown":
        return IN_DOUBT
    status = error.status or 0
    if error.retryable:
        own = status if status == 429 or 500 <= status <= 599 else 503
        return _REPEATABLE.get(error.code, own)
    if 400 <= status <= 499 and status != 429:
        return status
    return _NOT_REPEATABLE.get(error.code, 424)


class UnderWay(ConnectorError):
    """A command did not end in time. It goes on."""

    code = "UNDER_WAY"
    outcome = "unknown"
    when = "a command takes longer than the proxy lets its caller wait; it goes on"
    advice = "Ask again with the same key. Without a key, look in the proxy's log."


class Unexpected(ConnectorError):
    """A command failed with an unexpected exception."""

    code = "UNEXPECTED"
    outcome = "unknown"
    when = "a fault of the connector or the proxy after a command began"
    advice = "See the proxy's log. It may have been carried out: look before you repeat it."
