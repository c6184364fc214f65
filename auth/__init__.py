"""Twilio's side of a connection: credentials, address, what its errors mean, and the check.

Follows https://www.twilio.com/docs/iam/api and https://www.twilio.com/docs/api/errors.
"""

from __future__ import annotations

import json
import logging
import pkgutil
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from connector_runtime import Explanation, Finding, Inquiry, Service, errors, is_secure

_HINTS: dict[str, Any] = json.loads(pkgutil.get_data(__name__, "hints.json") or b"")

_REGION_ALONE = re.compile(r"https://api\.(?!us1\.)[a-z0-9-]+\.twilio\.com(:443)?/?", re.IGNORECASE)

log = logging.getLogger("connector_runtime")


def connect(settings: Mapping[str, Any]) -> Service:
    """Describe the service that these settings lead to. Raise InvalidConfiguration; no I/O."""
    base_url = settings["apiBaseUrl"]
    if not is_secure(base_url):
        raise errors.InvalidConfiguration(
            "configuration: 'apiBaseUrl' must be https:// and a host name; "
            "http:// is only for loopback addresses such as http://127.0.0.1:8010."
        )
    if _REGION_ALONE.fullmatch(base_url):
        log.warning(
            "'apiBaseUrl' names a region without an edge: since 28 April 2026 Twilio no longer "
            "answers at such addresses. Name both, such as https://api.dublin.ie1.twilio.com."
        )
    return Service(
        name="Twilio",
        base_url=base_url,
        explain=partial(explain, is_key="apiKeySid" in settings),
        request_id_header="Twilio-Request-Id",
        unknown_hint=_HINTS["outcome_unknown"],
        connect_seconds=settings["connectTimeoutSeconds"],
        timeout_seconds=settings["timeoutSeconds"],
        max_attempts=settings["maxAttempts"],
    )


def explain(method: str, status: int, body: Any, is_key: bool = False) -> Explanation:
    """Say what an error answer means. Twilio's own message is left out: it can quote a number.

    Twilio has split codes before: where a code is not known, the status decides. A 401 is explained
    by what signed in, because its code has many causes.
    """
    value = body.get("code") if isinstance(body, dict) else None
    code = str(value) if re.fullmatch(r"[0-9]{1,9}", str(value)) else None
    codes, statuses = _HINTS["codes"], _HINTS["statuses"]
    if status == 401 and code in (None, "20003"):
        known = _HINTS["credentials"]["key" if is_key else "token"]
    else:
        known = (
            codes.get(f"{method} {code}")
            or codes.get(code)
            or statuses.get(f"{method} {status}")
            or statuses.get(str(status), {})
        )
    return Explanation(code, known.get("meaning"), known.get("hint"))


def describe_code(code: str, language: str) -> dict[str, Any] | None:
    """Return what one of Twilio's codes means and what to do; None for one that is not known.

    `step` is the step of the set-up that is at fault, if any; `delivery` tells a code that comes in
    a message's `error_code` after it was accepted, and never as a refusal.
    """
    known = _HINTS["codes"].get(code)
    if known is None or not code.isdigit():
        return None
    text = known if language == "en" else known[language]
    return {
        "code": code,
        "meaning": text["meaning"],
        "hint": text["hint"],
        "step": known.get("step"),
        "delivery": known.get("delivery", False),
    }


def check(inquiry: Inquiry) -> list[Finding]:
    """Check the set-up of an environment, step by step: see `doctor`."""
    from . import doctor  # sending needs none of it

    return doctor.check(inquiry, _HINTS["setup"])
