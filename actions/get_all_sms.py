"""Get All SMS:
https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from connector_runtime import Call

from ._message import messages_path, next_page, read_page, to_outputs

_PAGE_SIZE = 1000  # the most that Twilio gives at once


def run(inputs: dict[str, Any], call: Call) -> Iterator[list[dict[str, Any]]]:
    """Yield every SMS that the account has sent, newest first, a page at a time."""
    path = f"{messages_path(call)}.json"
    first = f"{path}?PageSize={_PAGE_SIZE}"
    page = call.get(first)
    followed = {first}
    previous: set[Any] = set()
    while True:
        messages: list[Any] | None
        messages, uri = read_page(call, page)
        # The list holds received messages too, and has no filter for them.
        outputs = to_outputs(call, _sent(call, messages))
        sids = _sids(outputs)
        if len(sids) < len(outputs) or not sids.isdisjoint(previous):
            outputs = _once(outputs, previous)
        page = messages = None  # or the next page is decoded while this one is still in memory
        yield outputs
        if uri is None:
            return
        # A cursor can repeat a message only where two pages meet, so one page back is enough.
        previous = sids
        page = call.get(next_page(call, uri, path, followed))


def _sent(call: Call, messages: list[Any]) -> list[Any]:
    try:
        return [message for message in messages if message["direction"] != "inbound"]
    except (KeyError, TypeError) as error:
        raise call.unreadable("holds no message with a 'direction'") from error


def _sids(outputs: list[dict[str, Any]]) -> set[Any]:
    try:
        return set(map(itemgetter("sid"), outputs))
    except TypeError:  # a sid that is a list or an object, which the output schema refuses
        return {output["sid"] for output in outputs if isinstance(output["sid"], str)}


def _once(outputs: list[dict[str, Any]], previous: set[Any]) -> list[dict[str, Any]]:
    """Leave out what came before; a sid that is no text is left for the output schema to refuse."""
    seen = set(previous)
    kept = []
    for output in outputs:
        sid = output.get("sid")
        if not isinstance(sid, str) or sid not in seen:
            kept.append(output)
        if isinstance(sid, str):
            seen.add(sid)
    return kept
