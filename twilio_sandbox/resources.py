"""Twilio's resources: who may ask, what is refused, what is answered. No HTTP in here."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

from . import numbers
from .store import API_VERSION, TRIAL_PREFIX, Message, Store, as_rfc2822, parse_date_sent

MESSAGES = {
    20001: "A Page of 1 or more needs the PageToken of a next_page_uri; PageSize is a number.",
    20003: "Authenticate",
    20004: "Method not allowed",
    20007: "Page size must not be greater than 1000",
    20008: "Resource not accessible with Test Account Credentials",
    20404: "The requested resource {path} was not found",
    20413: "The request is too large",
    20429: "Too Many Requests",
    20500: "An internal server error has occurred",
    20503: "Service unavailable",
    21211: "Invalid 'To' Phone Number: {to}",
    21212: "Invalid From Number (caller ID): {sender}",
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
    21659: "'From' {sender} is not a Twilio phone number or Short Code country mismatch",
    21701: "The Messaging Service does not exist",
    21703: "The Messaging Service contains no phone numbers",
    21910: "'From' and 'To' must be of the same channel",
}

FILTERS = ("To", "From", "DateSent", "DateSent<", "DateSent>")

_PATH = re.compile(
    rf"/{API_VERSION}/Accounts/(?P<account>[^/]+?)"
    r"(?P<resource>/Messages|/IncomingPhoneNumbers|/Messages/(?P<sid>[^/]+?)|)\.json"
)
_TWILIO_PATH = re.compile(rf"/{API_VERSION}/Accounts/[^/]+(/[A-Za-z]+(/[^/]+)?)?")
_PAGE_TOKEN = re.compile(r"P(?P<side>[AB])(?P<sid>(SM|MM)[0-9a-fA-F]{32})")


@dataclass(frozen=True)
class Question:
    """One request, taken apart."""

    method: str
    path: str
    query: str
    form: str
    authorization: str


@dataclass(frozen=True)
class Answer:
    """What goes back: JSON, or `text` of the given type in its place."""

    status: int
    value: Any = None
    text: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Account:
    """The made-up account, its API key and its test credentials."""

    sid: str
    auth_token: str
    api_key_sid: str
    api_key_secret: str
    test_sid: str
    test_auth_token: str

    def of(self, authorization: str) -> str | None:
        """Return the Account SID that these credentials open, None where they open nothing."""
        known = {
            f"{self.sid}:{self.auth_token}": self.sid,
            f"{self.api_key_sid}:{self.api_key_secret}": self.sid,
            f"{self.test_sid}:{self.test_auth_token}": self.test_sid,
        }
        return known.get(_basic(authorization))


def user_of(authorization: str) -> str | None:
    """Return the user name of an Authorization header; never the password."""
    user, colon, _ = _basic(authorization).partition(":")
    return user if colon else None


def _basic(authorization: str) -> str:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def error(
    status: int,
    code: int,
    headers: Mapping[str, str] | None = None,
    *,
    to: str = "",
    sender: str = "",
    path: str = "",
) -> Answer:
    """Return Twilio's error body; its message may show numbers, as Twilio's does."""
    body = {
        "code": code,
        "message": MESSAGES.get(code, "Error").format(to=to, sender=sender, path=path),
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, body, headers=headers or {})


def answer(question: Question, account: Account, store: Store) -> Answer:
    """Carry out one request as Twilio would."""
    match = _PATH.fullmatch(question.path)
    if match is None:
        return _not_json(question.path)
    opened = account.of(question.authorization)
    if opened is None or opened != match["account"]:
        return error(401, 20003, {"WWW-Authenticate": 'Basic realm="Twilio API"'})
    resource = match["resource"]
    testing = opened == account.test_sid
    if question.method == "POST" and resource == "/Messages":
        return _create(question, store, testing)
    if question.method not in ("GET", "HEAD"):
        return error(405, 20004)
    if testing:
        return error(403, 20008)
    if resource == "":
        return Answer(200, _account(account.sid))
    if resource == "/Messages":
        return _list(question, store)
    if resource == "/IncomingPhoneNumbers":
        return _phone_numbers(question, account.sid)
    message = store.get(match["sid"])
    if message is None:
        return error(404, 20404, path=question.path)
    return Answer(200, store.view(message))


def _not_json(path: str) -> Answer:
    if not _TWILIO_PATH.fullmatch(path) or path.endswith(".json"):
        return error(404, 20404, path=path)
    # Twilio would answer XML here. The sandbox has none to give, and says what to do instead.
    return Answer(
        404,
        text="<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException>"
        "<Code>20404</Code><Message>The sandbox answers JSON only: end the path with .json"
        "</Message><MoreInfo>https://www.twilio.com/docs/errors/20404</MoreInfo>"
        "<Status>404</Status></RestException></TwilioResponse>",
        content_type="application/xml",
    )


def _create(question: Question, store: Store, testing: bool) -> Answer:
    form = parse_qs(question.form)  # blank values count as missing, as with Twilio
    to, sender, body, service = (
        form.get(name, [""])[-1] for name in ("To", "From", "Body", "MessagingServiceSid")
    )
    media = form.get("MediaUrl", [])
    refused = _refusal(to, sender, body, service, media, "ContentSid" in form, testing)
    if refused:
        return error(400, refused, to=to, sender=sender)
    if store.behaviour.trial_prefix and not testing:
        body = TRIAL_PREFIX + body
    message = store.new(to, sender or numbers.SENDER, body, service or None, len(media))
    if testing:
        # Test credentials get an answer, and nothing is kept that could be looked up.
        test_sid = user_of(question.authorization) or ""
        return Answer(201, _in_account(store.view_as_created(message), test_sid))
    store.keep(message)
    return Answer(201, store.view_as_created(message))


def _refusal(
    to: str, sender: str, body: str, service: str, media: list[str], content: bool, testing: bool
) -> int | None:
    if not to.strip():
        return 21604
    if not (sender.strip() or service):
        return 21603
    if not (body or media or content):
        return 21602
    if len(body) > 1600:
        return 21617
    if len(media) > 10 or not all(re.match("https?://.", each) for each in media):
        return 21620
    return (
        (numbers.refusal_of_service(service, testing) if service else None)
        or (numbers.refusal_of_sender(sender, testing) if sender else None)
        or numbers.refusal_of_recipient(to, sender)
    )


def _in_account(view: dict[str, Any], sid: str) -> dict[str, Any]:
    base = f"/{API_VERSION}/Accounts/{sid}/Messages/{view['sid']}"
    return {
        **view,
        "account_sid": sid,
        "uri": f"{base}.json",
        "subresource_uris": {"media": f"{base}/Media.json"},
    }


def _list(question: Question, store: Store) -> Answer:
    query = {name: values[-1] for name, values in parse_qs(question.query).items()}
    try:
        size, page = _whole(query.get("PageSize", "50")), _whole(query.get("Page", "0"))
        wanted = _filter(query, store)
    except ValueError:
        return error(400, 20001)
    if size > 1000:
        return error(400, 20007)
    token = _PAGE_TOKEN.fullmatch(query.get("PageToken", ""))
    known = token is not None and store.get(token["sid"]) is not None
    if size < 1 or (page > 0 and not known) or ("PageToken" in query and not known):
        return error(400, 20001)

    # One more than the page holds tells whether another page follows.
    if token is not None and token["side"] == "B":
        found = store.page(wanted, size + 1, newer_than=token["sid"])
        newer, older, found = page > 0 and len(found) > size, True, found[-size:]
    else:
        found = store.page(wanted, size + 1, older_than=token["sid"] if token else None)
        newer, older, found = page > 0, len(found) > size, found[:size]

    filters = {name: query[name] for name in FILTERS if name in query}
    path = question.path

    def uri(number: int, **cursor: str) -> str:
        shown = {**filters, "PageSize": str(size), "Page": str(number), **cursor}
        return f"{path}?{urlencode(shown)}"

    now = store.clock.now()
    return Answer(
        200,
        {
            "end": page * size + max(len(found) - 1, 0),
            "first_page_uri": uri(0),
            "next_page_uri": (
                uri(page + 1, PageToken=f"PA{found[-1].sid}") if older and found else None
            ),
            "page": page,
            "page_size": size,
            "previous_page_uri": (
                uri(page - 1, PageToken=f"PB{found[0].sid}") if newer and found else None
            ),
            "start": page * size,
            "uri": f"{path}?{question.query}" if question.query else uri(0),
            "messages": [store.view(each, now) for each in found],
        },
    )


def _whole(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("not a whole number")
    return int(text)


def _filter(query: Mapping[str, str], store: Store) -> Callable[[Message], bool]:
    """Return a test of one message; ValueError where a date can't be read."""
    to, sender = query.get("To"), query.get("From")
    first, last = float("-inf"), float("inf")
    for name in ("DateSent", "DateSent<", "DateSent>"):
        if name not in query:
            continue
        start, end = parse_date_sent(query[name])
        # 'DateSent<' is on or before, 'DateSent>' on or after: the whole day counts.
        if name != "DateSent<":
            first = max(first, start)
        if name != "DateSent>":
            last = min(last, end)
    dated = first > float("-inf") or last < float("inf")
    now = store.clock.now()

    def wanted(message: Message) -> bool:
        if to is not None and message.to != to:
            return False
        if sender is not None and store.sender_of(message, now) != sender:
            return False
        if not dated:
            return True
        sent = store.sent_at(message, now)
        return sent is not None and first <= int(sent) <= last

    return wanted


def _account(sid: str) -> dict[str, Any]:
    uri = f"/{API_VERSION}/Accounts/{sid}"
    return {
        "date_created": as_rfc2822(1525000000),
        "date_updated": as_rfc2822(1526000000),
        "friendly_name": "Sandbox account",
        "owner_account_sid": sid,
        "sid": sid,
        "status": "active",
        "subresource_uris": {
            "incoming_phone_numbers": f"{uri}/IncomingPhoneNumbers.json",
            "messages": f"{uri}/Messages.json",
        },
        "type": "Full",
        "uri": f"{uri}.json",
    }


def _phone_numbers(question: Question, sid: str) -> Answer:
    asked = parse_qs(question.query).get("PhoneNumber", [None])[-1]
    listed = [numbers.SENDER, numbers.CANNOT_SEND_SMS]
    if asked is not None:
        listed = [asked] if numbers.is_on_account(asked) else []
    found = [_phone_number(sid, each) for each in listed]
    pattern = {} if asked is None else {"PhoneNumber": asked}
    uri = f"{question.path}?" + urlencode({**pattern, "PageSize": "50", "Page": "0"})
    return Answer(
        200,
        {
            "end": max(len(found) - 1, 0),
            "first_page_uri": uri,
            "next_page_uri": None,
            "page": 0,
            "page_size": 50,
            "previous_page_uri": None,
            "start": 0,
            "uri": uri,
            "incoming_phone_numbers": found,
        },
    )


def _phone_number(account_sid: str, number: str) -> dict[str, Any]:
    sid = "PN" + number.removeprefix("+").zfill(32)
    return {
        "account_sid": account_sid,
        "api_version": API_VERSION,
        "capabilities": {
            "fax": False,
            "mms": number != numbers.CANNOT_SEND_SMS,
            "sms": number != numbers.CANNOT_SEND_SMS,
            "voice": True,
        },
        "date_created": as_rfc2822(1525000000),
        "date_updated": as_rfc2822(1526000000),
        "friendly_name": number,
        "phone_number": number,
        "sid": sid,
        "status": "in-use",
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{sid}.json",
        "voice_url": "",
    }
