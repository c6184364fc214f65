"""Send SMS: https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource."""

from __future__ import annotations

import re
from typing import Any

from connector_runtime import Call

from ._message import messages_path, to_output

# An alphanumeric sender may begin with MG too, but has at most 11 characters.
_MESSAGING_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")


def run(inputs: dict[str, Any], call: Call) -> dict[str, Any]:
    """Send one SMS and return it as Twilio took it, usually `queued` or `accepted`."""
    sender = inputs["from"]
    key = "MessagingServiceSid" if _MESSAGING_SERVICE.fullmatch(sender) else "From"
    form = {"To": inputs["to"], key: sender, "Body": inputs["body"]}
    message = to_output(call, call.post(f"{messages_path(call)}.json", form))
    if message["to"] != inputs["to"]:
        raise call.unreadable("is about a message to another recipient")
    return message
