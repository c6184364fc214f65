"""Faults that a test switches on for a number of requests, of one method or to one path.

A number in brackets is the default of an option.

throttle       429, code 20429; retry_after: the header's value (no header without it)
error          status (500), code (20000 + status); stored: the request is carried out
               nevertheless; retry_after
withhold       carried out, but the answer is never sent
reset_before   the connection is reset and nothing is carried out
reset_after    carried out, then the connection is reset
slow           carried out; the answer is sent after `seconds` (1)
drip           carried out; the answer's body (part "head": also the status line and the headers)
               is sent byte by byte, with `seconds` (0.1) between two bytes
early          carried out; an answer with `status` (103; any 1xx, 204 or 304) and no body is sent
               first, `count` (1; null: without end) times, each followed by `seconds` (0.1) of
               waiting; then the real answer is sent on the same connection
raw            carried out; `text` (Latin-1) is sent instead of status line, headers and body, and
               then the connection is closed
html           carried out; an HTML page is sent instead of JSON; status
truncated      carried out; half of the JSON is sent
body           carried out; another body is sent: value (any JSON), text (any text), or patch:
               fields to replace in the message, or in every message of a page; status
redirect       302 to location, nothing is carried out
foreign_page   a page's next_page_uri is `uri`, or a page of `account_sid`, or of another server
repeated_page  a page's next_page_uri is the same page again
overlapping_page  the next page begins `by` (1) messages too early

To send an answer about the wrong recipient: `body` with patch {"to": "+14155550198"}, method POST.

Two faults change what a POST stores. They act together with one of the faults above:

late           lists do not show the message before `seconds` (1) have passed
twin           somebody else sends `copies` (1) identical messages at the same time
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The types of options, if the server needs a certain type.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "status": (int,),
    "seconds": (int, float),
    "stored": (bool,),
    "patch": (dict,),
    "text": (str,),
    "location": (str,),
    "by": (int,),
    "code": (int,),
    "copies": (int,),
    "count": (int,),
    "part": (str,),
}

# The statuses of answers without a body: another answer can follow.
_EARLY = {100, *range(102, 200), 204, 304}

# Each fault with its options and their defaults.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "throttle": {"retry_after": None},
    "error": {"status": 500, "code": None, "stored": False, "retry_after": None},
    "withhold": {},
    "reset_before": {},
    "reset_after": {},
    "slow": {"seconds": 1.0},
    "drip": {"seconds": 0.1, "part": "body"},
    "early": {"status": 103, "count": 1, "seconds": 0.1},
    "raw": {"text": ""},
    "html": {"status": None},
    "truncated": {},
    "body": {"status": None, "value": None, "text": None, "patch": None},
    "redirect": {"location": "https://api.example.com/"},
    "foreign_page": {"uri": None, "account_sid": None},
    "repeated_page": {},
    "overlapping_page": {"by": 1},
    "late": {"seconds": 1.0},
    "twin": {"copies": 1},
}
# These faults act together with another one, and only on a request that creates a message.
OF_STORING = ("late", "twin")


@dataclass(slots=True)
class Fault:
    """A fault for the next `times` requests (None: all), after `after` requests without it."""

    kind: str
    method: str | None
    path: str | None
    times: int | None
    after: int
    options: Mapping[str, Any]

    def concerns(self, method: str, path: str) -> bool:
        if self.kind in OF_STORING and method != "POST":
            return False
        if self.kind.endswith("_page") and not (
            method == "GET" and path.endswith("/Messages.json")
        ):
            return False
        return self.method in (None, method) and path.endswith(self.path or "")


class Faults:
    """The faults that are switched on. The first one that fits a request acts on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(
        self,
        kind: str,
        method: str | None,
        path: str | None,
        times: int | None,
        after: int,
        options: dict[str, Any],
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; there are {', '.join(sorted(KINDS))}")
        unknown = set(options) - set(KINDS[kind])
        if unknown:
            raise ValueError(f"fault {kind!r} has no option {sorted(unknown)[0]!r}")
        for name, value in options.items():
            if name in _TYPES and value is not None and type(value) not in _TYPES[name]:
                expected = " or ".join(allowed.__name__ for allowed in _TYPES[name])
                raise ValueError(f"{name!r} of fault {kind!r} must be {expected}")
        if kind == "early" and options.get("status", 103) not in _EARLY:
            raise ValueError("'status' of fault 'early' must be 100, 102 to 199, 204 or 304")
        if kind == "drip" and options.get("part", "body") not in ("body", "head"):
            raise ValueError("'part' of fault 'drip' must be body or head")
        if method is not None and not isinstance(method, str):
            raise ValueError("'method' must be the name of an HTTP method")
        if path is not None and not isinstance(path, str):
            raise ValueError("'path' must be the end of a path")
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError("'times' must be a whole number of 1 or more, or null for always")
        if type(after) is not int or after < 0:
            raise ValueError("'after' must be a whole number of 0 or more")
        fault = Fault(
            kind, method and method.upper(), path, times, after, {**KINDS[kind], **options}
        )
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def next_for(self, method: str, path: str) -> tuple[Fault | None, list[Fault]]:
        """Return this request's fault (or None) and its faults of OF_STORING, and count them."""
        first: Fault | None = None
        storing: list[Fault] = []
        with self._lock:
            for fault in list(self._faults):
                of_storing = fault.kind in OF_STORING
                if not fault.concerns(method, path) or (first and not of_storing):
                    continue
                if any(fault.kind == other.kind for other in storing):
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                if of_storing:
                    storing.append(fault)
                else:
                    first = fault
        return first, storing
