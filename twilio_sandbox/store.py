"""The messages of the sandbox's account, and the clock that changes their status."""

from __future__ import annotations

import math
import random
import re
import secrets
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from itertools import count, islice
from typing import Any

from . import numbers

API_VERSION = "2010-04-01"
PRICE_OF_SEGMENT = 0.0075
TRIAL_PREFIX = "Sent from your Twilio trial account - "
DELIVERED = ("queued", "sending", "sent", "delivered")
# A message with one of these statuses was sent, and is charged for.
SENT = frozenset(("sent", "delivered", "undelivered", "received", "read", "partially_delivered"))
# Final statuses: only a message with one of these may be redacted or deleted.
DONE = frozenset(
    ("sent", "delivered", "undelivered", "failed", "received", "read", "canceled",
     "partially_delivered")
)  # fmt: skip
# The date of the newest seeded message (Tue, 15 May 2018 16:02:24 +0000). It is fixed, so that a
# seed always gives the same dates.
SEEDED_UNTIL = 1526400144.0

_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENSION = frozenset("^{}\\[~]|€\f")


class Clock:
    """A clock that never goes back. `advance` moves it forward.

    At first it is `offset_seconds` ahead of this machine's clock (behind it, if negative).
    """

    def __init__(self, offset_seconds: float = 0) -> None:
        self._offset = time.time() - time.monotonic() + offset_seconds

    def now(self) -> float:
        return time.monotonic() + self._offset

    def advance(self, seconds: float) -> None:
        if not seconds >= 0:
            raise ValueError("the sandbox's clock only goes forward")
        self._offset += seconds


@dataclass
class Behaviour:
    """How the account treats messages, if that is not the same in all accounts or at all times."""

    # Lists show a message only this long after it was created. By its SID, it can be read at once.
    list_lag_seconds: float = 0
    # Lists are in the order in which SIDs were made, which may differ by this from `date_created`.
    order_jitter_seconds: float = 0
    # A trial account's texts begin with TRIAL_PREFIX.
    trial_prefix: bool = False
    # The `messaging_service_sid` of messages that use no service.
    default_service: str | None = None

    def change(self, **values: Any) -> None:
        """Change these values. Raise ValueError for another name or a wrong value."""
        for name, value in values.items():
            kinds = _BEHAVIOUR.get(name)
            if kinds is None:
                raise ValueError(f"no behaviour {name!r}; there are {', '.join(_BEHAVIOUR)}")
            if type(value) not in kinds or (isinstance(value, float | int) and not value >= 0):
                raise ValueError(f"{name!r} must be {_KINDS[kinds]}")
        for name, value in values.items():
            setattr(self, name, value)


_BEHAVIOUR: Mapping[str, tuple[type, ...]] = {
    "list_lag_seconds": (int, float),
    "order_jitter_seconds": (int, float),
    "trial_prefix": (bool,),
    "default_service": (str, type(None)),
}
_KINDS = {
    (int, float): "a number of seconds, 0 or more",
    (bool,): "true or false",
    (str, type(None)): "a Messaging Service SID, or null",
}


@dataclass(slots=True)
class Message:
    """One message. `course` has its statuses in their order, one for each step."""

    sid: str
    number: int
    created: float
    to: str
    sender: str | None
    body: str
    course: tuple[str, ...] = DELIVERED
    service: str | None = None
    media: int = 0
    error_code: int | None = None
    direction: str = "outbound-api"
    # When lists begin to show it, and how many seconds after `created` its place in lists is.
    listed: float = 0
    jitter: float = 0
    # When a scheduled message is sent, and when a client canceled or redacted the message.
    starts: float | None = None
    canceled: float | None = None
    redacted: float | None = None
    # Fields that a test gave: they are shown unchanged.
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[float, int]:
        return self.created + self.jitter, self.number


class Store:
    """The stored messages, oldest first. Any thread may call every method."""

    def __init__(
        self,
        account_sid: str,
        step_seconds: float,
        clock_offset_seconds: float = 0,
        behaviour: Behaviour | None = None,
    ) -> None:
        if not 0 <= step_seconds < math.inf:
            raise ValueError("step_seconds must be 0 or more")
        self.account_sid = account_sid
        self.step_seconds = step_seconds
        self.clock = Clock(clock_offset_seconds)
        self.behaviour = behaviour or Behaviour()
        self._rng = random.Random(0)  # noqa: S311 - the same jitter in every run
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._ordered: list[Message] = []
        self._by_sid: dict[str, Message] = {}

    def clear(self) -> None:
        with self._lock:
            self._ordered.clear()
            self._by_sid.clear()

    def new(
        self,
        to: str,
        sender: str | None,
        body: str,
        service: str | None = None,
        media: int = 0,
        *,
        error_code: int | None = None,
        starts: float | None = None,
    ) -> Message:
        """Return a message that is created now. `keep` stores it.

        `error_code` is the code with which it fails later, or None. `starts` is when it is sent, if
        it is scheduled (seconds since 1970).
        """
        course = _course(error_code)
        if service:
            course = ("accepted", *course)
        if starts is not None:
            course = ("scheduled", *course)
        now, jitter = self.clock.now(), self.behaviour.order_jitter_seconds
        return Message(
            sid=("MM" if media else "SM") + secrets.token_hex(16),
            number=next(self._numbers),
            created=now,
            listed=now + self.behaviour.list_lag_seconds,
            jitter=self._rng.uniform(-jitter, jitter),
            to=to,
            sender=sender,
            body=body,
            course=course,
            starts=starts,
            service=service,
            media=media,
            error_code=error_code,
        )

    def keep(self, message: Message) -> None:
        with self._lock:
            insort(self._ordered, message, key=lambda kept: kept.key)
            self._by_sid[message.sid] = message

    def cancel(self, message: Message) -> bool:
        """Cancel a message. Return False if it was sent already."""
        now = self.clock.now()
        status = self.view(message, now)["status"]
        if status not in ("scheduled", "accepted", "queued"):
            return False
        message.course, message.canceled = ("canceled",), now
        return True

    def redact(self, message: Message) -> bool:
        """Delete the text of a message. Return False if its status is not final."""
        now = self.clock.now()
        if not self._is_done(message, now):
            return False
        message.redacted = now
        return True

    def delete(self, message: Message) -> bool:
        """Delete a message. Return False if its status is not final."""
        if not self._is_done(message, self.clock.now()):
            return False
        with self._lock:
            if self._by_sid.pop(message.sid, None) is not None:
                self._ordered.remove(message)
        return True

    def _is_done(self, message: Message, now: float) -> bool:
        return self.view(message, now)["status"] in DONE

    def hide(self, sid: str, seconds: float) -> None:
        """Do not show a message in lists before so many seconds after its creation."""
        with self._lock:
            message = self._by_sid[sid]
            message.listed = message.created + seconds

    def copy(self, sid: str, copies: int) -> None:
        """Store copies of this message. Only their SIDs differ."""
        with self._lock:
            original = self._by_sid[sid]
        for _ in range(copies):
            number, new = next(self._numbers), sid[:2] + secrets.token_hex(16)
            self.keep(replace(original, sid=new, number=number))

    def add(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Store a message with these fields of Twilio's API, and return it. It does not change.

        Its status is 'delivered' unless another is given. `{"direction": "inbound"}` makes a
        received message. Raise ValueError for a field that Twilio does not have.
        """
        inbound = fields.get("direction") == "inbound"
        created = self.clock.now()
        if fields.get("date_created"):
            created = parsedate_to_datetime(fields["date_created"]).timestamp()
        sender, to = "+14155550199", numbers.SENDER
        message = Message(
            sid=fields.get("sid") or "SM" + secrets.token_hex(16),
            number=next(self._numbers),
            created=created,
            to=fields.get("to", to if inbound else sender),
            sender=fields.get("from", sender if inbound else to),
            body=fields.get("body", "A message of the sandbox") or "",
            course=(fields.get("status", "received" if inbound else "delivered"),),
            direction="inbound" if inbound else "outbound-api",
        )
        unknown = set(fields) - set(self.view(message))
        if unknown:
            raise ValueError(f"a message has no field {sorted(unknown)[0]!r}")
        if self.get(message.sid) is not None:
            raise ValueError("there is a message with this 'sid' already")
        message.fixed = dict(fields)
        self.keep(message)
        return self.view(message)

    def seed(self, how_many: int, seed: int = 0) -> None:
        """Store invented messages. The same seed gives the same messages.

        The newest is from 15 May 2018, and there is one second between two messages. Of forty
        messages, four were received, one was not delivered and one used a Messaging Service.
        """
        rng = random.Random(seed)  # noqa: S311 - made-up test data, no secret
        added = [
            _made_up(rng, index, next(self._numbers), SEEDED_UNTIL - index)
            for index in range(how_many)
        ]
        with self._lock:
            new = [message for message in added if message.sid not in self._by_sid]
            self._by_sid.update((message.sid, message) for message in new)
            self._ordered.extend(new)
            self._ordered.sort(key=lambda message: message.key)

    def get(self, sid: str) -> Message | None:
        with self._lock:
            return self._by_sid.get(sid)

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            kept = list(reversed(self._ordered))
        return [self.view(message) for message in kept]

    def page(
        self,
        wanted: Callable[[Message], bool],
        size: int,
        older_than: str | None = None,
        newer_than: str | None = None,
    ) -> list[Message]:
        """Return up to `size` wanted messages, newest first, next to the given SID (if any)."""
        now = self.clock.now()

        def listed(message: Message) -> bool:
            return message.listed <= now and wanted(message)

        with self._lock:
            if newer_than is not None:
                places = range(self._position(newer_than) + 1, len(self._ordered))
            elif older_than is not None:
                places = range(self._position(older_than))[::-1]
            else:
                places = range(len(self._ordered))[::-1]
            messages = list(islice(filter(listed, map(self._ordered.__getitem__, places)), size))
        return messages if newer_than is None else messages[::-1]

    def _position(self, sid: str) -> int:
        return bisect_left(self._ordered, self._by_sid[sid].key, key=lambda kept: kept.key)

    def _stage(self, message: Message, now: float) -> int:
        last = len(message.course) - 1
        first, since = 0, message.created
        if message.starts is not None and last > 0:
            if now < message.starts:
                return 0
            first, since = 1, message.starts
        if not self.step_seconds:
            return last
        return max(0, min(last, first + int((now - since) / self.step_seconds)))

    def _reached(self, message: Message, step: int) -> float:
        """Return when the message reaches a step of its course, in seconds since 1970."""
        if message.canceled is not None:
            return message.canceled
        if message.starts is not None and step > 0:
            return message.starts + (step - 1) * self.step_seconds
        return message.created + step * self.step_seconds

    def sender_of(self, message: Message, now: float) -> Any:
        """Return the message's `from`. With a service, it is None as long as it is 'accepted'."""
        if "from" in message.fixed:
            return message.fixed["from"]
        status = message.course[self._stage(message, now)]
        unknown = status in ("accepted", "scheduled") or message.canceled is not None
        return None if unknown and message.service else message.sender

    def sent_at(self, message: Message, now: float) -> float | None:
        """Return when the message was sent (seconds since 1970), or None if it was not sent yet."""
        if "date_sent" in message.fixed:
            given = message.fixed["date_sent"]
            return None if given is None else parsedate_to_datetime(given).timestamp()
        step = next((at for at, status in enumerate(message.course) if status in SENT), None)
        if step is None or self._stage(message, now) < step:
            return None
        return self._reached(message, step)

    def view_as_created(self, message: Message) -> dict[str, Any]:
        """Return the message as the answer to its creation shows it: with its first status."""
        return self.view(replace(message, course=message.course[:1]))

    def view(self, message: Message, now: float | None = None) -> dict[str, Any]:
        """Return the message as Twilio's API returns it: 20 fields with Twilio's types."""
        now = self.clock.now() if now is None else now
        stage = self._stage(message, now)
        status = message.course[stage]
        sent = self.sent_at(message, now)
        failed = status in ("failed", "undelivered")
        segments = count_segments(message.body)
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Messages/{message.sid}"
        return {
            "account_sid": self.account_sid,
            "api_version": API_VERSION,
            "body": message.body if message.redacted is None else "",
            "date_created": as_rfc2822(int(message.created)),
            "date_sent": None if sent is None else as_rfc2822(int(sent)),
            "date_updated": as_rfc2822(
                int(max(self._reached(message, stage), message.redacted or 0))
            ),
            "direction": message.direction,
            "error_code": message.error_code if failed else None,
            "error_message": (
                numbers.DELIVERY_MESSAGES[message.error_code]
                if failed and message.error_code
                else None
            ),
            "from": self.sender_of(message, now),
            "messaging_service_sid": message.service or self.behaviour.default_service,
            "num_media": str(message.media),
            "num_segments": "0" if status in ("accepted", "scheduled") else str(segments),
            "price": None if sent is None else f"{-PRICE_OF_SEGMENT * segments:.5f}",
            "price_unit": "USD",
            "sid": message.sid,
            "status": status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": message.to,
            "uri": f"{uri}.json",
            **message.fixed,
            **({} if message.redacted is None else {"body": ""}),
            **({} if message.canceled is None else {"status": "canceled"}),
        }


@lru_cache(maxsize=4096)
def as_rfc2822(seconds: int) -> str:
    return formatdate(seconds).replace("-0000", "+0000")


@lru_cache(maxsize=4096)
def count_segments(body: str) -> int:
    """Return the number of SMS for a text.

    In GSM-7, a single SMS has 160 characters and each of several has 153; otherwise 70 and 67.
    """
    if all(letter in _GSM or letter in _GSM_EXTENSION for letter in body):
        units, single, joined = (
            sum(2 if letter in _GSM_EXTENSION else 1 for letter in body),
            160,
            153,
        )
    else:
        units, single, joined = len(body.encode("utf-16-le", "surrogatepass")) // 2, 70, 67
    return 1 if units <= single else math.ceil(units / joined)


_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([T ](?P<time>[0-9]{2}:[0-9]{2}(:[0-9]{2})?)(\.[0-9]{1,9})?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2}|))?"
)


def parse_date_sent(text: str) -> tuple[float, float]:
    """Return the first and the last second of a DateSent filter, in seconds since 1970.

    A date without a time means the whole day (UTC). So does midnight in UTC, because Twilio's
    libraries write a day like that. Any other time means that second. Raise ValueError.
    """
    match = _DATE.fullmatch(text)
    start = parse_moment(text)
    whole_day = match and (
        match["time"] is None
        or (match["time"] in ("00:00:00", "00:00") and match["zone"] in ("Z", ""))
    )
    return start, start + (86399 if whole_day else 0)


def parse_moment(text: str) -> float:
    """Return the time of a date in ISO 8601 or RFC 2822, in whole seconds since 1970.

    A date without a time zone is in UTC. Raise ValueError.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return float(int(moment.timestamp()))
    time_of_day = match["time"] or "00:00:00"
    if len(time_of_day) == len("00:00"):
        time_of_day += ":00"
    zone = match["zone"] if match["zone"] not in (None, "", "Z") else "+0000"
    written = f"{match['day']} {time_of_day} {zone}"
    return datetime.strptime(written, "%Y-%m-%d %H:%M:%S %z").timestamp()


def _course(error_code: int | None) -> tuple[str, ...]:
    if error_code is None:
        return DELIVERED
    if error_code in numbers.NEVER_SENT:
        return "queued", "sending", "failed"
    return "queued", "sending", "sent", "undelivered"


def _made_up(rng: random.Random, index: int, number: int, created: float) -> Message:
    sid = f"SM{rng.getrandbits(128):032x}"
    other = f"+1415555{rng.randrange(100, 200):04d}"
    body = rng.choice(
        ("Your appointment is tomorrow at 10:00.", "Su cita es mañana.", "Ваш код 42")
    )
    kind = index % 40
    if kind % 10 == 7:
        return Message(
            sid, number, created, numbers.SENDER, other, "Sí", ("received",), direction="inbound"
        )
    message = Message(sid, number, created, other, numbers.SENDER, body)
    if kind == 11:
        message.error_code = 30003
        message.course = _course(30003)
    elif kind == 22:
        message.service = "MG" + 32 * "c"
        message.course = ("accepted", *DELIVERED)
    return message
