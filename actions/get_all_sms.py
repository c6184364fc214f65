"""Get All SMS:
https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from connector_runtime.connection import Call

from ._message import messages_path, to_output

_PAGE_SIZE = 1000  # the most that Twilio gives at once


def run(inputs: dict[str, Any], call: Call) -> Iterator[list[dict[str, Any]]]:
    """Yield every SMS that the account has sent, newest first, a page at a time."""
    path = f"{messages_path(call)}.json"
    first = f"{path}?PageSize={_PAGE_SIZE}"
    page = call.get(first)
    followed = {first}
    previous: set[Any] = set()
    while True:
        messages = page.get("messages") if isinstance(page, dict) else None
        if not isinstance(messages, list):
            raise call.unreadable("has a page without 'messages'")
        sent = []
        sids: set[Any] = set()
        for message in messages:
            output = to_output(call, message)
            sid = output["sid"]
            if isinstance(sid, str):  # anything else is left for the output schema to refuse
                if sid in previous or sid in sids:
                    continue
                sids.add(sid)
            # The list holds received messages too, and has no filter for them.
            if message.get("direction") != "inbound":
                sent.append(output)
        yield sent
        uri = page.get("next_page_uri")
        if uri is None:
            return
        # A cursor can repeat a message only where two pages meet, so one page back is enough.
        previous = sids
        page = call.get(_checked(call, uri, path, followed))


def _checked(call: Call, uri: str, path: str, followed: set[str]) -> str:
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
    return uri
