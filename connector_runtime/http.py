"""One service over HTTP: which requests may be repeated, and what an answer or its absence means.

Requests go through requests' transport adapter, not its Session: the adapter follows no redirect,
keeps no cookie and reads no .netrc, each of which could carry credentials or bodies elsewhere.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
)

from . import errors

log = logging.getLogger("connector_runtime")

_CONNECTIONS = 128  # kept alive at most; beyond that a thread's connection is closed after its use
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Explanation(NamedTuple):
    """What a connector knows about an error answer: the service's code, its meaning, what to do."""

    code: str | None = None
    meaning: str | None = None
    hint: str | None = None


class Service(NamedTuple):
    """What a connector's `auth.connect` tells the runtime of the service it speaks to.

    `explain(method, status, body)` gets the decoded body of an answer of 400 or more (None if it is
    no JSON). `unknown_hint` says how to find out what became of a write whose outcome is unknown.
    """

    name: str
    base_url: str
    credentials: tuple[str, str]
    explain: Callable[[str, int, Any], Explanation]
    request_id_header: str
    unknown_hint: str
    timeout_seconds: float
    max_attempts: int

    def __repr__(self) -> str:  # the credentials must never show in a traceback or a log
        return f"<Service {self.name} at {self.base_url}>"


def is_secure(url: str) -> bool:
    """Tell whether credentials may travel to `url`: https, or a loopback address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or is_loopback(host or ""))


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address is this machine's own, without asking DNS."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Http:
    """A service's connections, shared by threads, kept alive until `close`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=_CONNECTIONS)
        self._closed = threading.Event()
        # Read once: requests' own Session goes through the environment again for every request.
        environment = requests.Session().merge_environment_settings(
            service.base_url, {}, None, None, None
        )
        self._verify: bool | str = environment["verify"] or True
        self._proxies = environment["proxies"]
        if is_loopback(urlsplit(service.base_url).hostname or ""):
            self._proxies = {}

    def close(self) -> None:
        self._closed.set()
        self._adapter.close()

    def prepare(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> requests.PreparedRequest:
        """Build a request, of which `path` may be anything that stays with this service."""
        url = urljoin(self._service.base_url, path)
        if urlsplit(url)[:2] != urlsplit(self._service.base_url)[:2]:
            raise errors.InvalidAnswer(
                f"{self._service.name}'s answer points to another server, which was not followed."
            )
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        headers["User-Agent"] = f"connector-runtime requests/{requests.__version__}"
        return requests.Request(
            method, url, headers, params=params, data=form, auth=self._service.credentials
        ).prepare()

    def request(
        self,
        action: str,
        repeatable: bool,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Any:
        """Make the request, again where that does no harm, and return the decoded JSON answer.

        What may be repeated is exactly what is raised as `retryable`.
        """
        if self._closed.is_set():
            raise RuntimeError("this connection is closed")
        prepared = self.prepare(method, path, params, form)
        attempt, waited = 1, 0.0
        while True:
            try:
                return self._attempt(action, repeatable, prepared, attempt)
            except errors.ConnectorError as error:
                pause = error.retry_after_seconds
                if pause is None:
                    longest = _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
                    pause = random.uniform(longest / 2, longest)  # noqa: S311
                    pause = min(pause, _LONGEST_PAUSE_SECONDS)
                last = attempt >= self._service.max_attempts
                waited += pause
                if not error.retryable or last or waited > self._service.timeout_seconds:
                    raise
                if self._closed.wait(pause):
                    raise
            attempt += 1

    def _attempt(
        self, action: str, repeatable: bool, prepared: requests.PreparedRequest, attempt: int
    ) -> Any:
        timeout = self._service.timeout_seconds
        started = time.perf_counter()
        status, request_id = None, None
        try:
            response = self._adapter.send(
                prepared, timeout=(timeout, timeout), verify=self._verify, proxies=self._proxies
            )
            status = response.status_code
            found = response.headers.get(self._service.request_id_header, "")
            request_id = found if _REQUEST_ID.fullmatch(found) else None
            # In one piece: requests' own `content` reads 10 kB at a time.
            content = response.raw.read(decode_content=True)
        except (requests.RequestException, HTTPError) as error:
            self._raise_unanswered(error, action, repeatable, status, request_id)
        finally:
            log.info(
                "%s attempt %d: HTTP %s in %.0f ms, request %s",
                action,
                attempt,
                status,
                (time.perf_counter() - started) * 1000,
                request_id,
            )
        if 200 <= status < 300:
            try:
                return _decode(content)
            except ValueError:
                why = "is not valid JSON"
        else:
            if status >= 400:
                self._raise_error(response, content, prepared, action, repeatable, request_id)
            why = f"is HTTP {status}, which is not followed"
        raise self.unreadable(action, repeatable, why, status=status, request_id=request_id)

    def unreadable(
        self, action: str, repeatable: bool, why: str, **details: Any
    ) -> errors.ConnectorError:
        """Make the error for an answer that came and can't be used."""
        text = f"{self._service.name}'s answer to {action} {why}."
        if repeatable:
            return errors.InvalidAnswer(text, **details)
        hint = self._service.unknown_hint
        return errors.OutcomeUnknown(f"{text} {hint}", hint=hint, **details)

    def _raise_unanswered(
        self,
        error: requests.RequestException | HTTPError,
        action: str,
        repeatable: bool,
        status: int | None,
        request_id: str | None,
    ) -> NoReturn:
        name = self._service.name
        details: dict[str, Any] = {"status": status, "request_id": request_id}
        if _is_certificate_fault(error):
            unsafe = errors.NeverConnected(
                f"{name}'s certificate could not be verified, so nothing was sent. Check the API's "
                "address, and whether a proxy inspects the traffic (REQUESTS_CA_BUNDLE names its "
                "certificate).",
                **details,
            )
            unsafe.retryable = False
            raise unsafe from error
        if _never_connected(error):
            raise errors.NeverConnected(
                f"{name} could not be reached, so nothing was sent. Check the network, the proxy "
                "and the API's address.",
                **details,
            ) from error
        if isinstance(error, DecodeError):
            raise self.unreadable(action, repeatable, "can't be decoded", **details) from error
        if isinstance(error, requests.Timeout | ReadTimeoutError):
            text = f"No answer from {name} within {self._service.timeout_seconds:g} s."
        else:
            text = f"The connection to {name} broke before its answer came."
        if repeatable:
            raise errors.NoAnswer(f"{text} It may be tried again.", **details) from error
        hint = self._service.unknown_hint
        raise errors.OutcomeUnknown(f"{text} {hint}", hint=hint, **details) from error

    def _raise_error(
        self,
        response: requests.Response,
        content: bytes,
        prepared: requests.PreparedRequest,
        action: str,
        repeatable: bool,
        request_id: str | None,
    ) -> NoReturn:
        status = response.status_code
        try:
            body = _decode(content)
        except ValueError:
            body = None  # an error page; the status says enough
        known = self._service.explain(str(prepared.method), status, body)
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
        raise kind(
            f"{self._service.name} {text}{' ' + hint if hint else ''}",
            status=status,
            provider_code=known.code,
            request_id=request_id,
            hint=hint,
            retry_after_seconds=_retry_after(response) if kind.retryable else None,
        )


def _decode(content: bytes) -> Any:
    """Decode JSON, or raise ValueError for NaN, a lone surrogate or a nesting beyond reason too."""
    import orjson  # only an answer needs it; loading a connector does not

    return orjson.loads(content)


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds of a Retry-After header; a date there is left to the back-off."""
    text = response.headers.get("Retry-After", "")
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) else None


def _reason(error: BaseException) -> Any:
    """Return urllib3's own reason for what requests wraps."""
    inner = error.args[0] if error.args else None
    return inner.reason if isinstance(inner, MaxRetryError) else inner


def _never_connected(error: Exception) -> bool:
    if isinstance(error, requests.exceptions.ProxyError | requests.ConnectTimeout):
        return True
    return isinstance(_reason(error), NewConnectionError | ConnectTimeoutError)


def _is_certificate_fault(error: Exception) -> bool:
    """Tell a refused certificate, seen before anything is sent, from a TLS fault at any time."""
    reason = _reason(error)
    inner = reason.args[0] if isinstance(reason, Exception) and reason.args else None
    return isinstance(inner, ssl.SSLCertVerificationError)
