"""A message as Twilio gives it, and as the connector's document describes it.

Follows https://www.twilio.com/docs/messaging/api/message-resource.
"""

from __future__ import annotations

import re
from typing import Any

from connector_runtime.connection import Call

_PRICE = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def messages_path(call: Call) -> str:
    """Return the path of the account's messages, without `.json`."""
    return f"/2010-04-01/Accounts/{call.settings['accountId']}/Messages"


def to_output(call: Call, message: Any) -> dict[str, Any]:
    """Return the document's 15 fields: `price` a number, `error_code` text, the rest as it came.

    What can't be converted is left as it is, for the output schema to refuse.
    """
    if not isinstance(message, dict):
        raise call.unreadable("holds no message")
    get = message.get
    price, code = get("price"), get("error_code")
    return {
        "sid": get("sid"),
        "date_created": get("date_created"),
        "date_updated": get("date_updated"),
        "date_sent": get("date_sent"),
        "account_sid": get("account_sid"),
        "to": get("to"),
        "from": get("from"),
        "body": get("body"),
        "status": get("status"),
        "api_version": get("api_version"),
        "price": float(price) if isinstance(price, str) and _PRICE.fullmatch(price) else price,
        "price_unit": get("price_unit"),
        "error_code": str(code) if type(code) is int else code,
        "error_message": get("error_message"),
        "uri": get("uri"),
    }
