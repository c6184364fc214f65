"""The errors of Twilio's and the sandbox's test numbers, and which senders are possible."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .countries import E164

if TYPE_CHECKING:
    from .setup import Setup

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
# Only the sandbox has these. A Messaging Service of zeros has no sender: 21704.
SERVICE_ERRORS = {"MG" + 31 * "0" + "1": 21703}
NO_SUCH_SERVICE = frozenset({"MG" + 31 * "0" + "2"})

# Delivery fails after the message was accepted, so these codes are not HTTP errors.
_DELIVERY_CODES = (*range(30001, 30009), 30032, 30034, 30044, 30450)
DELIVERY_ERRORS: dict[str, int] = {f"+1500555{code - 27000}": code for code in _DELIVERY_CODES}
DELIVERY_MESSAGES = {
    30001: "Queue overflow",
    30002: "Account suspended",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    30032: "Toll-Free number has not been verified",
    30034: "Message from an unregistered number",
    30044: "Trial message length exceeded",
    30450: "Message delivery blocked by SMS pumping protection",
}
# Twilio does not send a message with these codes. Messages with the other codes are charged for.
NEVER_SENT = {30001, 30002, 30032, 30034, 30044, 30450}

# Use these with fullmatch: Python's $ also matches before a line break at the end.
FICTION = re.compile(r"\+1[2-9][0-9]{2}55501[0-9]{2}")
SHORT_CODE = re.compile(r"[0-9]{3,8}")
SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")


def is_alphanumeric(sender: str) -> bool:
    return bool(_ALPHANUMERIC.fullmatch(sender))


def refusal_of_sender(sender: str, test_credentials: bool, setup: Setup) -> int | None:
    """Return the code with which Twilio refuses this `From`, or None if it accepts it."""
    number = sender.removeprefix("whatsapp:")
    if number in FROM_ERRORS:
        return FROM_ERRORS[number]
    if test_credentials:
        return None if sender == SENDER else 21606
    if E164.fullmatch(number):
        able = setup.number(number)
        if able is None:
            return 21659
        return None if able["sms"] else 21606
    if SHORT_CODE.fullmatch(sender) or is_alphanumeric(sender):
        return None
    return 21212


def refusal_of_recipient(recipient: str, sender: str) -> int | None:
    """Return the code with which Twilio refuses this `To`, or None if it accepts it."""
    number = recipient.removeprefix("whatsapp:")
    if number in TO_ERRORS:
        return TO_ERRORS[number]
    if SHORT_CODE.fullmatch(recipient):
        return None
    if not E164.fullmatch(number):
        return 21211
    if sender and recipient.startswith("whatsapp:") != sender.startswith("whatsapp:"):
        return 21910
    return None
