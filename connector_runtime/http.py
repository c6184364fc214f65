"""One service over HTTP: which requests may be repeated, and what each answer, or none, means."""

from __future__ import annotations

import email.utils
import json
import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

from . import errors
from .hosts import origins
from .transport import MIB, Answer, Failure, Request, Transport, is_loopback, is_secure

__all__ = ["Explanation", "Http", "Service", "is_loopback", "is_secure"]

log = logging.getLogger("connector_runtime")

_FIRST_PAUSE_SECONDS = 0.1
_MAY_BE_EMPTY = {"PUT", "PATCH", "DELETE"}
# Paths that urljoin does not change. It is slow, so it is called for other paths only.
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Explanation(NamedTuple):
    """What a connector knows about an error answer: the service's code, its meaning, what to do."""

    code: str | None = None
    meaning: str | None = None
    hint: str | None = None


def no_explanation(method: str, status: int, body: Any) -> Explanation:
    """Explain nothing: the HTTP status is enough."""
    return Explanation()


class Service(NamedTuple):
    """What a connector's `auth.connect` tells the runtime of the service it speaks to.

    `explain(method, status, body)` gets the decoded body of an answer of 400 or more (None if it is
    no JSON). `unknown_hint` says how to find out whether a write with an unknown outcome was done.
    `connect_seconds` is for a connection, its TLS handshake included; `timeout_seconds` goes from
    the first byte of a request to the last one of its answer.
    """

    name: str
    base_url: str
    explain: Callable[[str, int, Any], Explanation] = no_explanation
    request_id_header: str = "X-Request-Id"
    unknown_hint: str = "It may have been done, so it was not repeated. Look before you try again."
    connect_seconds: float = 10
    timeout_seconds: float = 35
    max_attempts: int = 5


class Http:
    """A service's connections, shared by threads, kept alive until `close`.

    `credentials` are the headers that sign in: see `authentication.headers`. `hosts` are those of
    the manifest, by name.
    """

    def __init__(
        self, service: Service, credentials: Mapping[str, str], hosts: Mapping[str, str]
    ) -> None:
        if not is_secure(service.base_url):
            raise errors.InvalidConfiguration(
                f"configuration: the address of {service.name} must begin with https://; http:// "
                "is only for loopback addresses."
            )
        self._service = service
        parts = urlsplit(service.base_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._origins = origins(hosts, service.base_url)
        self._transport = Transport(
            [self._origin], service.connect_seconds, service.timeout_seconds
        )
        self._closed = threading.Event()
        self.hidden = dict.fromkeys(credentials, "(hidden)")  # the headers as they may be shown
        self._told_time = ("", 0.0)  # a Date header, and when it came
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "connector-runtime",
            **credentials,
        }

    def __repr__(self) -> str:  # the headers hold the credentials
        return f"<Http of {self._service!r}>"

    @property
    def unknown_hint(self) -> str:
        return self._service.unknown_hint

    def wait(self, seconds: float) -> bool:
        """Sleep; return True at once when the connection is closed."""
        return self._closed.wait(seconds)

    def clock_ahead_seconds(self) -> float:
        """Return how much the service's clock is ahead of this machine's, by its last answer."""
        header, received = self._told_time
        try:
            told = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return 0.0
        return told.timestamp() - received if told.tzinfo else 0.0

    def close(self) -> None:
        self._closed.set()
        self._transport.close()

    def prepare(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        document: Any = None,
        host: str | None = None,
    ) -> Request:
        """Build a request, where `path` is a path, or a URL of the same host.

        Its body is the fields of a form, or a document that is sent as JSON. `host` is a name from
        the manifest's `hosts`; without one, it is the service's own.
        """
        origin = self._origin if host is None else self._origin_of(host)
        if _PLAIN_PATH.fullmatch(path):
            target = path
        else:
            url = urlsplit(urljoin(origin, path))
            if f"{url.scheme}://{url.netloc}" != origin:
                raise errors.InvalidAnswer(
                    f"{self._service.name}'s answer points to another server, which was not "
                    "followed."
                )
            target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        if params:
            target += f"{'&' if '?' in target else '?'}{urlencode(params)}"
        headers = self._headers
        body, kind = None, ""
        if form is not None:
            body, kind = urlencode(form).encode("ascii"), "application/x-www-form-urlencoded"
        elif document is not None:
            text = json.dumps(document, ensure_ascii=False, allow_nan=False)
            body, kind = text.encode("utf-8"), "application/json"
        elif method in ("POST", "PUT", "PATCH"):
            body = b""
        if body is not None:
            headers = {**headers, "Content-Length": str(len(body))}
        if kind:
            headers["Content-Type"] = kind
        return Request(method, origin, target, headers, body)

    def _origin_of(self, host: str) -> str:
        if host not in self._origins:
            raise errors.InvalidPackage(
                f"the connector asks the host '{host}', which its manifest does not declare; "
                "add it to 'hosts' in connector.json."
            )
        return self._origins[host]

    def request(
        self,
        action: str,
        repeatable: bool,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        document: Any = None,
        most_bytes: int = MIB,
        host: str | None = None,
        ends: float | None = None,
    ) -> tuple[Any, Callable[[bool], None]]:
        """Make the request, repeat it where that does no harm, return the decoded JSON answer.

        The answer to a PUT, PATCH or DELETE may have no content (HTTP 204): it is None.

        The second value releases the connection: see `transport.Answer`. What may be repeated is
        exactly what is raised as `retryable`. `ends` is a moment of the monotonic clock.
        """
        request = self.prepare(method, path, params, form, document, host)
        attempt, waited = 1, 0.0
        while True:
            if self._closed.is_set():
                raise RuntimeError("this connection is closed")
            outcome = self._attempt(action, repeatable, request, attempt, most_bytes, ends)
            if not isinstance(outcome, errors.ConnectorError):
                return outcome
            pause = outcome.retry_after_seconds
            if pause is None:
                longest = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
                pause = random.uniform(longest / 2, longest)  # noqa: S311
            last = attempt >= self._service.max_attempts
            waited += pause
            late = ends is not None and time.monotonic() + pause >= ends
            if not outcome.retryable or last or late or waited > self._service.timeout_seconds:
                raise outcome
            if self._closed.wait(pause):
                raise outcome
            attempt += 1

    def _attempt(
        self,
        action: str,
        repeatable: bool,
        request: Request,
        attempt: int,
        most_bytes: int,
        ends: float | None,
    ) -> tuple[Any, Callable[[bool], None]] | errors.ConnectorError:
        started = time.perf_counter()
        outcome = self._transport.exchange(request, most_bytes, ends)
        if "Date" in outcome.headers:
            self._told_time = (outcome.headers["Date"], time.time())
        header = outcome.headers.get(self._service.request_id_header, "")
        request_id = header if _REQUEST_ID.fullmatch(header) else None
        log.info(
            "%s attempt %d: HTTP %s in %.0f ms, request %s",
            action,
            attempt,
            outcome.status,
            (time.perf_counter() - started) * 1000,
            request_id,
        )
        if isinstance(outcome, Failure):
            log.debug("%s attempt %d: %s (%s)", action, attempt, outcome.reason, outcome.detail)
            return self._unanswered(outcome, action, repeatable, request_id)
        status = outcome.status
        empty = status == 204 and request.method in _MAY_BE_EMPTY
        is_json, body = (True, None) if empty else _decoded(outcome.content)
        if 200 <= status < 300 and is_json:
            return body, outcome.release
        # After a 5xx, the real answer may still follow on the same connection.
        outcome.release(is_json and 400 <= status < 500)
        if status >= 400:
            return self._refusal(outcome, body, request, action, repeatable, request_id)
        why = "is not valid JSON" if status < 300 else f"is HTTP {status}, which is not followed"
        return self.unreadable(action, repeatable, why, status=status, request_id=request_id)

    def unreadable(
        self, action: str, repeatable: bool, why: str, **details: Any
    ) -> errors.ConnectorError:
        """Make the error for an answer that came and can't be used."""
        text = f"{self._service.name}'s answer to {action} {why}."
        if repeatable:
            return errors.InvalidAnswer(text, **details)
        hint = self._service.unknown_hint
        return errors.OutcomeUnknown(f"{text} {hint}", hint=hint, **details)

    def _unanswered(
        self, failure: Failure, action: str, repeatable: bool, request_id: str | None
    ) -> errors.ConnectorError:
        name = self._service.name
        details: dict[str, Any] = {"status": failure.status, "request_id": request_id}
        if failure.reason == "certificate":
            unsafe = errors.NeverConnected(
                f"{name}'s certificate could not be verified, so nothing was sent. Check the API's "
                "address, and whether a proxy inspects the traffic (REQUESTS_CA_BUNDLE names its "
                "certificate).",
                **details,
            )
            unsafe.retryable = False
            return unsafe
        if not failure.left:
            return errors.NeverConnected(
                f"{name} could not be reached, so nothing was sent. Check the network, the proxy "
                "and the API's address.",
                **details,
            )
        if failure.reason == "encoding":
            return self.unreadable(action, repeatable, "can't be decoded", **details)
        if failure.reason == "size":
            return self.unreadable(action, repeatable, "is too large", **details)
        if failure.reason == "time":
            text = f"No answer from {name} within {self._service.timeout_seconds:g} s."
        else:
            text = f"The connection to {name} broke before its answer came."
        if repeatable:
            return errors.NoAnswer(f"{text} It may be tried again.", **details)
        hint = self._service.unknown_hint
        return errors.OutcomeUnknown(f"{text} {hint}", hint=hint, **details)

    def _refusal(
        self,
        answer: Answer,
        body: Any,
        request: Request,
        action: str,
        repeatable: bool,
        request_id: str | None,
    ) -> errors.ConnectorError:
        status = answer.status
        known = self._service.explain(request.method, status, body)
        hint = known.hint
        where = f"(HTTP {status}, code {known.code})" if known.code else f"(HTTP {status})"
        kind: type[errors.ConnectorError]
        if status == 401:
            kind, text = errors.CredentialsRefused, f"rejected the credentials {where}."
        elif status == 429:
            kind, text = errors.Throttled, f"is receiving too many requests {where}."
        elif status < 500:
            kind = {403: errors.Forbidden, 404: errors.NotFound}.get(status, errors.Refused)
            meaning = f": {known.meaning}" if known.meaning else ""
            text = f"refused {action} {where}{meaning}."
        elif repeatable:
            kind, text = errors.Unavailable, f"is not available {where}. It may be tried again."
        else:
            kind, text = errors.OutcomeUnknown, f"failed while it handled {action} {where}."
            hint = self._service.unknown_hint
        return kind(
            f"{self._service.name} {text}{' ' + hint if hint else ''}",
            status=status,
            provider_code=known.code,
            request_id=request_id,
            hint=hint,
            retry_after_seconds=_retry_after(answer.headers) if kind.retryable else None,
        )


def _decoded(content: bytes) -> tuple[bool, Any]:
    """Decode JSON, and tell whether it was valid. NaN, a lone surrogate and too deep a nesting are
    not."""
    import orjson  # imported late: loading a connector does not need it

    try:
        return True, orjson.loads(content)
    except ValueError:
        return False, None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header; a date there is left to the back-off."""
    text = headers.get("Retry-After", "")
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) else None
