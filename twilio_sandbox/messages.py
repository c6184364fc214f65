"""Twilio's Messages resource: create, fetch, list, change, delete. HTTP is in `server`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode

from . import numbers
from .answers import Answer, Question, error, not_found
from .countries import NO_ALPHANUMERIC, country_of, is_toll_free
from .credentials import user_of
from .setup import Setup
from .store import (
    API_VERSION,
    TRIAL_PREFIX,
    Message,
    Store,
    count_segments,
    parse_date_sent,
    parse_moment,
)

FILTERS = ("To", "From", "DateSent", "DateSent<", "DateSent>")
_PAGE_TOKEN = re.compile(r"P(?P<side>[AB])(?P<sid>(SM|MM)[0-9a-fA-F]{32})")
# The most segments for a trial account of the newer kind. This is an assumption.
_TRIAL_SEGMENTS = 2
# The HTTP status of a refusal with this code; other codes have 400.
_STATUSES = {21701: 404}


def create(question: Question, setup: Setup, store: Store, testing: bool) -> Answer:
    # Blank values count as missing, as at Twilio
    form = parse_qs(question.form)
    to, sender, body, service = (
        form.get(name, [""])[-1] for name in ("To", "From", "Body", "MessagingServiceSid")
    )
    media = form.get("MediaUrl", [])
    refused = _missing(to, sender, body, service, media, "ContentSid" in form)
    if not refused and service:
        refused, sender = _sender_of_service(service, sender, to, setup, testing)
    if not refused and sender:
        refused = numbers.refusal_of_sender(sender, testing, setup)
    if not refused:
        refused = numbers.refusal_of_recipient(to, sender) or _no_route(to, sender, setup)
    if not refused and not testing:
        refused = _refused_by_setup(to, sender, body, setup)
    try:
        starts = _scheduled(form, service, store)
    except ValueError as problem:
        refused = refused or int(str(problem))
    if refused:
        return error(_STATUSES.get(refused, 400), refused, to=to, sender=sender)
    trial = setup.type == "Trial" and setup.trial_regime == "verified"
    if (trial or store.behaviour.trial_prefix) and not testing:
        body = TRIAL_PREFIX + body
    message = store.new(
        to,
        sender,
        body,
        service or None,
        len(media),
        error_code=_delivery_error(to, sender, body, setup),
        starts=starts,
    )
    if testing:
        # With test credentials, the message is not stored.
        test_sid = user_of(question.authorization) or ""
        return Answer(201, _in_account(store.view_as_created(message), test_sid))
    store.keep(message)
    return Answer(201, store.view_as_created(message))


def _missing(
    to: str, sender: str, body: str, service: str, media: list[str], content: bool
) -> int | None:
    if not to.strip():
        return 21604
    if not (sender.strip() or service):
        return 21603
    if not (body or media or content):
        return 21602
    if len(body) > 1600:
        return 21617
    if len(media) > 10 or not all(re.match("https?://.", url) for url in media):
        return 21620
    return None


def _sender_of_service(
    service: str, sender: str, to: str, setup: Setup, testing: bool
) -> tuple[int | None, str]:
    """Return the code why a Messaging Service can't send (or None), and the sender it chooses."""
    senders = None if testing else setup.service(service)
    if senders is None or not numbers.SERVICE.fullmatch(service):
        # The test account has no Messaging Service
        return 21701, sender
    if service in numbers.SERVICE_ERRORS:
        return numbers.SERVICE_ERRORS[service], sender
    pool = [*senders["numbers"], *senders["short_codes"], *senders["alpha"]]
    if not pool:
        return 21704, sender
    fitting = [candidate for candidate in pool if not _no_route(to, candidate, setup)]
    if not fitting:
        return 21703, sender
    return None, sender or fitting[0]


def _no_route(to: str, sender: str, setup: Setup) -> int | None:
    """Return the code if this kind of sender can't reach the recipient, otherwise None."""
    if sender == to:
        return 21266
    alphanumeric = numbers.is_alphanumeric(sender)
    if alphanumeric and (country_of(to) in NO_ALPHANUMERIC or numbers.SHORT_CODE.fullmatch(to)):
        return 21657
    return None


def _refused_by_setup(to: str, sender: str, body: str, setup: Setup) -> int | None:
    """Return the code if the account's set-up refuses the country, recipient or text, or None."""
    if to.startswith("whatsapp:") or numbers.SHORT_CODE.fullmatch(to):
        return None
    if not setup.is_enabled(country_of(to)):
        return 21408
    if setup.type == "Full":
        return None
    if setup.trial_regime == "verified":
        return None if to in setup.verified else 21608
    if setup.expired:
        return 575001
    if to in setup.pending:
        return 572005
    if to not in setup.verified or setup.assigned.get(to) != sender:
        return 572002
    return None if body in setup.templates else 572006


def _delivery_error(to: str, sender: str, body: str, setup: Setup) -> int | None:
    """Return the code with which the message fails after it was accepted, or None."""
    known = numbers.DELIVERY_ERRORS.get(to.removeprefix("whatsapp:"))
    if known:
        return known
    if setup.type == "Trial" and setup.trial_regime == "templates":
        return 30044 if count_segments(body) > _TRIAL_SEGMENTS else None
    able = setup.number(sender)
    if able is None or able["registered"]:
        return None
    if is_toll_free(sender):
        return 30032 if country_of(to) in ("US", "CA") else None
    return 30034 if country_of(to) == "US" and sender.startswith("+1") else None


def _scheduled(form: Mapping[str, list[str]], service: str, store: Store) -> float | None:
    """Return when a scheduled message is sent (seconds since 1970); None if it is not scheduled.

    Raise ValueError, with Twilio's code as its text.
    """
    if "ScheduleType" not in form and "SendAt" not in form:
        return None
    if not service:
        raise ValueError(35118)
    try:
        starts = parse_moment(form.get("SendAt", [""])[-1])
    except ValueError:
        raise ValueError(35111) from None
    if not 300 <= starts - store.clock.now() <= 35 * 86400:
        raise ValueError(35114)
    return starts


def fetch(question: Question, store: Store, sid: str) -> Answer:
    message = store.get(sid)
    return not_found(question) if message is None else Answer(200, store.view(message))


def update(question: Question, store: Store, sid: str) -> Answer:
    """Redact a message's text (an empty Body) or cancel it (Status canceled)."""
    message = store.get(sid)
    if message is None:
        return not_found(question)
    form = parse_qs(question.form, keep_blank_values=True)
    body, status = form.get("Body", [None])[-1], form.get("Status", [None])[-1]
    if body or status not in (None, "canceled"):
        return error(400, 20001)
    if status == "canceled" and not store.cancel(message):
        return error(409, 30409)
    if body == "" and not store.redact(message):
        return error(409, 20009)
    return Answer(200, store.view(message))


def delete(question: Question, store: Store, sid: str) -> Answer:
    message = store.get(sid)
    if message is None:
        return not_found(question)
    return Answer(204) if store.delete(message) else error(409, 20009)


def _in_account(view: dict[str, Any], sid: str) -> dict[str, Any]:
    base = f"/{API_VERSION}/Accounts/{sid}/Messages/{view['sid']}"
    return {
        **view,
        "account_sid": sid,
        "uri": f"{base}.json",
        "subresource_uris": {"media": f"{base}/Media.json"},
    }


def list_all(question: Question, store: Store) -> Answer:
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

    # Read one message more than a page has, to see whether another page follows.
    if token is not None and token["side"] == "B":
        messages = store.page(wanted, size + 1, newer_than=token["sid"])
        newer, older, messages = page > 0 and len(messages) > size, True, messages[-size:]
    else:
        messages = store.page(wanted, size + 1, older_than=token["sid"] if token else None)
        newer, older, messages = page > 0, len(messages) > size, messages[:size]

    filters = {name: query[name] for name in FILTERS if name in query}
    path = question.path

    def uri(number: int, **cursor: str) -> str:
        shown = {**filters, "PageSize": str(size), "Page": str(number), **cursor}
        return f"{path}?{urlencode(shown)}"

    now = store.clock.now()
    return Answer(
        200,
        {
            "end": page * size + max(len(messages) - 1, 0),
            "first_page_uri": uri(0),
            "next_page_uri": (
                uri(page + 1, PageToken=f"PA{messages[-1].sid}") if older and messages else None
            ),
            "page": page,
            "page_size": size,
            "previous_page_uri": (
                uri(page - 1, PageToken=f"PB{messages[0].sid}") if newer and messages else None
            ),
            "start": page * size,
            "uri": f"{path}?{question.query}" if question.query else uri(0),
            "messages": [store.view(message, now) for message in messages],
        },
    )


def _whole(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError("not a whole number")
    return int(text)


def _filter(query: Mapping[str, str], store: Store) -> Callable[[Message], bool]:
    """Return a function that tells whether a message is wanted. Raise ValueError for a bad date."""
    to, sender = query.get("To"), query.get("From")
    first, last = float("-inf"), float("inf")
    for name in ("DateSent", "DateSent<", "DateSent>"):
        if name not in query:
            continue
        start, end = parse_date_sent(query[name])
        # 'DateSent<' means on or before that day, 'DateSent>' means on or after it.
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
