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
_NAMES = frozenset(_FIELDS)
_NOT_IN_DOCUMENT = (
    "direction",
    "messaging_service_sid",
    "num_media",
    "num_segments",
    "subresource_uris",
)
_PRICE = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def messages_path(call: Call) -> str:
    """Return the path of the account's messages, without `.json`."""
    return f"/2010-04-01/Accounts/{call.settings['accountId']}/Messages"


def to_output(call: Call, message: dict[str, Any]) -> dict[str, Any]:
    """Turn a decoded message into the document's 15 fields: `price` a number, `error_code` text.

    What can't be converted is left as it is, for the output schema to refuse. The message itself
    is changed: to copy hundreds of thousands of them would cost as much as to decode them.
    """
    if not isinstance(message, dict):
        raise call.unreadable("holds no message")
    try:
        for name in _NOT_IN_DOCUMENT:
            del message[name]
    except KeyError:
        pass  # the next line sees what is left
    if message.keys() != _NAMES:  # Twilio added a field, or left out one that is null
        message = {name: message.get(name) for name in _FIELDS}
    price, code = message["price"], message["error_code"]
    if isinstance(price, str) and _PRICE.fullmatch(price):
        message["price"] = float(price)
    if code is not None and type(code) is int:
        message["error_code"] = str(code)
    return message


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
