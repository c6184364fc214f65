"""The parts of a request, answers, and the bodies of Twilio's errors and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

MESSAGES = {
    20001: "A parameter is not valid: a date, a page without its token, or a number.",
    20003: "Authenticate",
    20004: "Method not allowed",
    20007: "Page size must not be greater than 1000",
    20008: "Resource not accessible with Test Account Credentials",
    20009: "This resource can't be changed or deleted before it is complete",
    20403: "Account is suspended or closed",
    20404: "The requested resource {path} was not found",
    20413: "The request is too large",
    20429: "Too Many Requests",
    20500: "An internal server error has occurred",
    20503: "Service unavailable",
    21211: "Invalid 'To' Phone Number: {to}",
    21212: "Invalid From Number (caller ID): {sender}",
    21266: "'To' and 'From' number cannot be the same: {to}",
    21408: "Permission to send an SMS has not been enabled for the region of the 'To' number: {to}",
    21602: "Message body is required.",
    21603: "A 'From' phone number is required.",
    21604: "A 'To' phone number is required.",
    21606: "The 'From' phone number {sender} is not a message-capable number for this destination.",
    21608: "The number {to} is unverified. Trial accounts cannot send messages to it.",
    21610: "Attempt to send to unsubscribed recipient {to}",
    21611: "This 'From' number {sender} has exceeded the maximum number of queued messages.",
    21612: "The 'To' phone number {to} is not currently reachable using the 'From' {sender}.",
    21614: "'To' number {to} is not a valid mobile number",
    21617: "The concatenated message body exceeds the 1600 character limit",
    21620: "Invalid media URL(s)",
    21657: "The Sender ID {sender} is invalid for {to}",
    21659: "'From' {sender} is not a Twilio phone number or Short Code country mismatch",
    21701: "The Messaging Service does not exist",
    21703: "The Messaging Service has no phone number that can reach {to}",
    21704: "The Messaging Service contains no phone numbers",
    21910: "'From' and 'To' must be of the same channel",
    30409: "The message can't be canceled any more",
    35111: "SendAt must be a date",
    35114: "SendAt must be between 5 minutes and 35 days from now",
    35118: "A MessagingServiceSid is required to schedule a message",
    70051: "Authorization error: the API key lacks the permission for this resource",
    572002: "The trial number {sender} is not assigned to the recipient {to}",
    572005: "The verification of {to} is not finished",
    572006: "A trial account sends predefined templates only",
    575001: "The trial has expired",
}


@dataclass(frozen=True)
class Question:
    """The parts of one request."""

    method: str
    path: str
    query: str
    form: str
    authorization: str

    def parameter(self, name: str) -> str | None:
        """Return the last value of a parameter in the query, or None if it is missing or blank."""
        return parse_qs(self.query).get(name, [None])[-1]


@dataclass(frozen=True)
class Answer:
    """An answer: JSON, or `text` of the given content type instead. A 204 has no body."""

    status: int
    value: Any = None
    text: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def error(
    status: int,
    code: int,
    headers: Mapping[str, str] | None = None,
    *,
    to: str = "",
    sender: str = "",
    path: str = "",
) -> Answer:
    """Return an error as Twilio sends it. Its message may contain numbers, as Twilio's does."""
    body = {
        "code": code,
        "message": MESSAGES.get(code, "Error").format(to=to, sender=sender, path=path),
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, body, headers=headers or {})


def not_found(question: Question) -> Answer:
    return error(404, 20404, path=question.path)


def listing(question: Question, name: str, items: Sequence[Any]) -> Answer:
    """Return a list with one page, in the form of Twilio's API of 2010."""
    shown = {parameter: values[-1] for parameter, values in parse_qs(question.query).items()}
    uri = f"{question.path}?" + urlencode({**shown, "PageSize": "50", "Page": "0"})
    return Answer(
        200,
        {
            "end": max(len(items) - 1, 0),
            "first_page_uri": uri,
            "next_page_uri": None,
            "page": 0,
            "page_size": 50,
            "previous_page_uri": None,
            "start": 0,
            "uri": uri,
            name: list(items),
        },
    )


def newer_listing(question: Question, name: str, items: Sequence[Any], origin: str) -> Answer:
    """Return a list with one page, in the form of Twilio's newer APIs (/v1 and /v2)."""
    url = f"{origin}{question.path}?PageSize=50&Page=0"
    return Answer(
        200,
        {
            name: list(items),
            "meta": {
                "first_page_url": url,
                "key": name,
                "next_page_url": None,
                "page": 0,
                "page_size": 50,
                "previous_page_url": None,
                "url": url,
            },
        },
    )
