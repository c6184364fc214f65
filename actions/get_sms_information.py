"""Get SMS information:
https://www.twilio.com/docs/messaging/api/message-resource#fetch-a-message-resource.
"""

from __future__ import annotations

from typing import Any

from connector_runtime import Call

from ._message import messages_path, to_output


def run(inputs: dict[str, Any], call: Call) -> dict[str, Any]:
    """Return one SMS as it stands now."""
    message = to_output(call, call.get(f"{messages_path(call)}/{inputs['sid']}.json"))
    if message["sid"] != inputs["sid"]:
        raise call.unreadable("is about another message")
    return message
