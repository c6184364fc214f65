"""A message as Twilio gives it, and as the connector's document describes it.

Follows https://www.twilio.com/docs/messaging/api/message-resource.
"""

from __future__ import annotations

import re
from operator import itemgetter
from typing import Any

from connector_runtime.connection import Call

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
_values = itemgetter(*_FIELDS)
_PRICE = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def messages_path(call: Call) -> str:
    """Return the path of the account's messages, without `.json`."""
    return f"/2010-04-01/Accounts/{call.settings['accountId']}/Messages"


def to_outputs(call: Call, messages: list[Any]) -> list[dict[str, Any]]:
    """Return the document's 15 fields of each: `price` a number, `error_code` text.

    What can't be converted is left as it is, for the output schema to refuse. A page at a time,
    because a list can be hundreds of thousands of messages.
    """
    try:
        outputs = [dict(zip(_FIELDS, values, strict=True)) for values in map(_values, messages)]
    except KeyError:  # a field that Twilio left out is as good as null
        if not all(isinstance(message, dict) for message in messages):
            raise call.unreadable("holds no message") from None
        outputs = [{name: message.get(name) for name in _FIELDS} for message in messages]
    except TypeError:
        raise call.unreadable("holds no message") from None
    for output in outputs:
        price, code = output["price"], output["error_code"]
        if isinstance(price, str) and _PRICE.fullmatch(price):
            output["price"] = float(price)
        if type(code) is int:
            output["error_code"] = str(code)
    return outputs


def to_output(call: Call, message: Any) -> dict[str, Any]:
    """Return the document's 15 fields of one message; see `to_outputs`."""
    return to_outputs(call, [message])[0]
