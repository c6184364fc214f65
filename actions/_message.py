"""A message as Twilio gives it, and as the connector's document describes it.

Follows https://www.twilio.com/docs/messaging/api/message-resource.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin, urlsplit

from connector_runtime import Call

_FIELDS = (
    "sid",
    "date_created",
    "date_updated",
    "date_sent",
    "account_sid",
    "to",
    "from",
    "body",
    "status",
    "api_version",
    "price",
    "price_unit",
    "error_code",
    "error_message",
    "uri",
)
_PRICE = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def messages_path(call: Call) -> str:
    """Return the path of the account's messages, without `.json`."""
    return f"/2010-04-01/Accounts/{call.settings['accountId']}/Messages"


def to_output(call: Call, message: Any) -> dict[str, Any]:
    """Turn a decoded message into the document's 15 fields: see `to_outputs`."""
    return to_outputs(call, [message])[0]


def to_outputs(call: Call, messages: list[Any]) -> list[dict[str, Any]]:
    """Turn decoded messages into the document's 15 fields: `price` a number, `error_code` text.

    What can't be converted is left as it is, for the output schema to refuse. The messages
    themselves are changed: to copy hundreds of thousands of them costs as much as to decode them.
    """
    outputs = []
    expected: tuple[str, ...] | None = None  # the order of fields that the service keeps to
    numbers: dict[str, float | str] = {}  # an account pays few different prices
    for message in messages:
        if type(message) is not dict:
            raise call.unreadable("holds no message")
        output = message
        try:  # the fields that are not in the document; named one by one, which is twice as fast
            del message["direction"], message["messaging_service_sid"], message["num_media"]
            del message["num_segments"], message["subresource_uris"]
        except KeyError:
            pass  # the next lines see what is left
        names = tuple(message)
        if names != expected:
            if len(names) == len(_FIELDS) and set(names) == set(_FIELDS):
                expected = names
            else:  # Twilio added a field, or left out one that is null
                output = {name: message.get(name) for name in _FIELDS}
        price, code = output["price"], output["error_code"]
        if type(price) is str:
            if price not in numbers:
                numbers[price] = float(price) if _PRICE.fullmatch(price) else price
            output["price"] = numbers[price]
        if code is not None and type(code) is int:
            output["error_code"] = str(code)
        outputs.append(output)
    return outputs


def read_page(call: Call, page: Any) -> tuple[list[Any], Any]:
    """Return the messages of a page of the list, and the address of the next page or None."""
    messages = page.get("messages") if isinstance(page, dict) else None
    if not isinstance(messages, list):
        raise call.unreadable("has a page without 'messages'")
    return messages, page.get("next_page_uri")


def next_page(call: Call, uri: Any, path: str, followed: set[str]) -> str:
    """Return the next page's address, or raise: it must be this account's and a new one."""
    try:
        inside = isinstance(uri, str) and uri and urlsplit(urljoin(path, uri)).path == path
    except ValueError:
        inside = False
    if not inside:
        raise call.unreadable("has a next page outside this account's messages")
    if uri in followed:
        raise call.unreadable("has a next page that was read before")
    followed.add(uri)
    return str(uri)
