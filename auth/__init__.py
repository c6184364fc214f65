"""Twilio's side of a connection: credentials, address, what its errors mean, and the check.

Follows https://www.twilio.com/docs/iam/api and https://www.twilio.com/docs/api/errors.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import Any

from connector_runtime import Call, Explanation, Service, errors, is_secure

_HINTS: dict[str, Any] = json.loads(pkgutil.get_data(__name__, "hints.json") or b"")


def connect(settings: Mapping[str, Any]) -> Service:
    """Describe the service that these settings lead to. Raise InvalidConfiguration; no I/O."""
    base_url = settings["apiBaseUrl"]
    if not is_secure(base_url):
        raise errors.InvalidConfiguration(
            "configuration: 'apiBaseUrl' must be https:// and a host name; "
            "http:// is only for loopback addresses such as http://127.0.0.1:8010."
        )
    return Service(
        name="Twilio",
        base_url=base_url,
        explain=explain,
        request_id_header="Twilio-Request-Id",
        unknown_hint=_HINTS["outcome_unknown"],
        connect_seconds=settings["connectTimeoutSeconds"],
        timeout_seconds=settings["timeoutSeconds"],
        max_attempts=settings["maxAttempts"],
    )


def explain(method: str, status: int, body: Any) -> Explanation:
    """Say what an error answer means. Twilio's own message is left out: it can quote a number.

    The status decides, a code only makes the hint more exact: Twilio has split codes before.
    """
    found = body.get("code") if isinstance(body, dict) else None
    code = str(found) if re.fullmatch(r"[0-9]{1,9}", str(found)) else None
    statuses = _HINTS["statuses"]
    known = (
        statuses.get(f"{method} {status}")
        or _HINTS["codes"].get(code)
        or statuses.get(str(status), {})
    )
    return Explanation(code, known.get("meaning"), known.get("hint"))


def check(call: Call) -> Iterator[tuple[str, bool, str]]:
    """Check an environment: credentials accepted? whose account? can `from` send SMS?

    Yield (what was checked, whether it holds, detail). Raise ConnectorError where Twilio can't be
    asked at all.
    """
    path = f"/2010-04-01/Accounts/{call.settings['accountId']}"
    try:
        account = call.get(f"{path}.json")
    except (errors.CredentialsRefused, errors.Forbidden, errors.NotFound) as error:
        yield "credentials", False, str(error)
        return
    if not isinstance(account, dict) or "status" not in account:
        raise call.unreadable("names no account")
    yield "credentials", True, "Twilio accepts them."
    active = account["status"] == "active"
    yield "account", active, f"{account.get('friendly_name')} ({account['status']})"
    sender = call.globals.get("from")
    if sender is None:
        yield "from", True, "Not set: each Send SMS must name its own."
    elif not sender.startswith("+"):
        yield "from", True, "Not a phone number: Twilio checks it when a message is sent."
    else:
        found = call.get(f"{path}/IncomingPhoneNumbers.json", {"PhoneNumber": sender})
        yield _sender(call, found, sender)


def _sender(call: Call, found: Any, sender: str) -> tuple[str, bool, str]:
    try:
        numbers = [n for n in found["incoming_phone_numbers"] if n["phone_number"] == sender]
        able = [number for number in numbers if number["capabilities"]["sms"]]
    except (KeyError, TypeError) as error:
        raise call.unreadable("has no list of phone numbers") from error
    if not numbers:
        return "from", False, f"Not a number of this account. {_HINTS['codes']['21659']['hint']}"
    if not able:
        return "from", False, f"It can't send SMS. {_HINTS['codes']['21606']['hint']}"
    return "from", True, "A number of this account that can send SMS."
