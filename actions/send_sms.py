"""Send SMS: https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from connector_runtime import Call, Found

from ._message import messages_path, next_page, read_page, to_output

# An alphanumeric sender may begin with MG too, but has at most 11 characters.
_MESSAGING_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_TRIAL_PREFIX = "Sent from your Twilio trial account - "
_PAGE_SIZE = 50  # so that the longest texts still fit into the size of an answer
_MOST_PAGES = 200
_GRACE = timedelta(seconds=5)  # Twilio's seconds are whole, and its clock is read from an answer
# The order is nearly that of creation: read on until a message is older by so much.
_OUT_OF_ORDER = timedelta(minutes=5)


def run(inputs: dict[str, Any], call: Call) -> dict[str, Any]:
    """Send one SMS and return it as Twilio took it, usually `queued` or `accepted`."""
    sender = inputs["from"]
    key = "MessagingServiceSid" if _MESSAGING_SERVICE.fullmatch(sender) else "From"
    form = {"To": inputs["to"], key: sender, "Body": inputs["body"]}
    message = to_output(call, call.post(f"{messages_path(call)}.json", form))
    if message["to"] != inputs["to"]:
        raise call.unreadable("is about a message to another recipient")
    return message


def find(inputs: dict[str, Any], call: Call, since: datetime) -> Found:
    """Return the messages that a send that began at `since` may have made.

    By recipient alone: the list's other filters leave out what is still queued, or has no sender
    yet. A match has this sender and this text; a candidate has this sender and another text, which
    Twilio may have changed (smart encoding, shortened links, redaction).
    """
    path = f"{messages_path(call)}.json"
    uri = f"{path}?{urlencode({'To': inputs['to'], 'PageSize': _PAGE_SIZE})}"
    followed: set[str] = set()
    matches, candidates = [], []
    for _ in range(_MOST_PAGES):
        followed.add(uri)
        messages, following = read_page(call, call.get(uri))
        begun = call.on_services_clock(since) - _GRACE
        is_past = False
        for message in messages:
            created = _created(call, message)
            is_past = is_past or created < begun - _OUT_OF_ORDER
            if (
                created >= begun
                and _is_candidate(inputs, message)
                and message["sid"] not in candidates  # two pages may show the same message
            ):
                candidates.append(message["sid"])
                if message.get("body") in (inputs["body"], _TRIAL_PREFIX + inputs["body"]):
                    matches.append(to_output(call, message))
        if following is None or is_past:
            return Found(matches, candidates)
        uri = next_page(call, following, path, followed)
    raise call.unreadable(f"has more than {_MOST_PAGES} pages")


def _is_candidate(inputs: dict[str, Any], message: dict[str, Any]) -> bool:
    sender = inputs["from"]
    name = "messaging_service_sid" if _MESSAGING_SERVICE.fullmatch(sender) else "from"
    return bool(
        message.get("direction") == "outbound-api"
        and message.get("to") == inputs["to"]
        and message.get(name) == sender
        and isinstance(message.get("sid"), str)
    )


def _created(call: Call, message: Any) -> datetime:
    try:
        text = message["date_created"]
        created = parsedate_to_datetime(text if isinstance(text, str) else "")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise call.unreadable("holds a message without 'date_created'") from error
    return created if created.tzinfo else created.replace(tzinfo=timezone.utc)
