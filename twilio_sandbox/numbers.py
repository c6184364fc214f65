"""What Twilio's test numbers, and the sandbox's own, lead to; and what a sender may look like."""

from __future__ import annotations

import re

SENDER = "+15005550006"
CANNOT_SEND_SMS = "+15005550007"

FROM_ERRORS = {
    "+15005550001": 21212,
    CANNOT_SEND_SMS: 21606,
    "+15005550008": 21611,
}
TO_ERRORS = {
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
    "+15005550010": 21608,
}
SERVICE_ERRORS = {"MG" + 32 * "0": 21703}

# Delivery failures come after the message was accepted: they are no HTTP error.
DELIVERY_ERRORS = {f"+1500555300{digit}": 30000 + digit for digit in range(1, 9)}
DELIVERY_MESSAGES = {
    30001: "Queue overflow",
    30002: "Account suspended",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
}
# These never left Twilio; the others did and are charged for.
NEVER_SENT = {30001, 30002}

# fullmatch throughout: Python's $ would let a trailing line break pass.
_E164 = re.compile(r"\+(1[2-9][0-9]{9}|[2-9][0-9]{6,14})")
_FICTION = re.compile(r"\+1[2-9][0-9]{2}55501[0-9]{2}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")


def is_on_account(number: str) -> bool:
    """Tell whether the sandbox's live account has this number."""
    return number in (SENDER, CANNOT_SEND_SMS) or bool(_FICTION.fullmatch(number))


def refusal_of_sender(sender: str, test_credentials: bool) -> int | None:
    """Return the code that Twilio refuses this `From` with, or None where it takes it."""
    number = sender.removeprefix("whatsapp:")
    if number in FROM_ERRORS:
        return FROM_ERRORS[number]
    if test_credentials:
        return None if sender == SENDER else 21606
    if _E164.fullmatch(number):
        return None if is_on_account(number) else 21659
    if _SHORT_CODE.fullmatch(sender) or _ALPHANUMERIC.fullmatch(sender):
        return None
    return 21212


def refusal_of_service(service: str, test_credentials: bool) -> int | None:
    """Return the code that Twilio refuses this `MessagingServiceSid` with, or None."""
    if test_credentials or not _SERVICE.fullmatch(service):
        return 21701  # the test account has no Messaging Service
    return SERVICE_ERRORS.get(service)


def refusal_of_recipient(recipient: str, sender: str) -> int | None:
    """Return the code that Twilio refuses this `To` with, or None where it takes it."""
    number = recipient.removeprefix("whatsapp:")
    if number in TO_ERRORS:
        return TO_ERRORS[number]
    if not _E164.fullmatch(number):
        return 21211
    if sender and recipient.startswith("whatsapp:") != sender.startswith("whatsapp:"):
        return 21910
    return None
