"""How the sandbox's account is set up, and the scenarios that a person can choose.

A scenario has a set-up, credentials and a sender. `done` changes a set-up as a step of the
connector's document changes the account in the console.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from . import numbers
from .countries import country_of

RECIPIENT = "+573001234567"
SERVICE = "MG" + 32 * "5"
# A Messaging Service without a sender
EMPTY_SERVICE = "MG" + 32 * "0"
TOLL_FREE = "+18445550100"
COLOMBIAN = "+576015550100"

_NUMBER = {"sms": True, "voice": True, "mms": True, "registered": True}
_SERVICE: Mapping[str, Any] = {"numbers": [], "alpha": [], "short_codes": [], "campaign": None}
ALL_COUNTRIES = "all"


@dataclass(frozen=True)
class Setup:
    """How the account is set up, as the console would show it.

    numbers         number → {sms, voice, mms: what it can do; registered: for the US}, all booleans
    any_number      the account also has the numbers reserved for fiction (+1 NXX 555 01XX)
    services        SID → {numbers, alpha, short_codes: its senders; campaign: VERIFIED, …}
    any_service     every other Messaging Service exists too, with the account's number
    countries       ISO codes of the countries for SMS, or "all"; voice_countries: for calls
    verified        Verified Caller IDs; pending: numbers whose code was not entered yet
    trial_regime    "verified": any text, to verified numbers only; "templates": predefined texts
    assigned        recipient → the trial number that may send to it ("templates" only)
    templates       the predefined texts ("templates" only)
    expired         the trial's 30 days are over ("templates" only)
    balance         in US dollars, as text; None for a subaccount, which has no balance
    """

    status: str = "active"
    type: str = "Full"
    trial_regime: str = "verified"
    expired: bool = False
    friendly_name: str = "Sandbox account"
    owner: str | None = None
    balance: str | None = "25.00000"
    numbers: Mapping[str, Mapping[str, bool]] = field(
        default_factory=lambda: {
            numbers.SENDER: {},
            numbers.CANNOT_SEND_SMS: {"sms": False, "mms": False},
        }
    )
    any_number: bool = True
    services: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {
            SERVICE: {"numbers": [numbers.SENDER], "campaign": "VERIFIED"},
            EMPTY_SERVICE: {},
        }
    )
    any_service: bool = True
    countries: Any = ALL_COUNTRIES
    voice_countries: Any = ALL_COUNTRIES
    verified: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    assigned: Mapping[str, str] = field(default_factory=dict)
    templates: tuple[str, ...] = ()

    def number(self, number: str) -> Mapping[str, bool] | None:
        """Return what a number can do, or None if the account does not have this number."""
        if number in self.numbers:
            return {**_NUMBER, **self.numbers[number]}
        fiction = self.any_number and numbers.FICTION.fullmatch(number)
        return _NUMBER if fiction else None

    def service(self, sid: str) -> Mapping[str, Any] | None:
        """Return the senders of a Messaging Service, or None if there is no such service."""
        if sid in self.services:
            return {**_SERVICE, **self.services[sid]}
        if self.any_service and sid not in numbers.NO_SUCH_SERVICE:
            return {**_SERVICE, "numbers": [numbers.SENDER], "campaign": "VERIFIED"}
        return None

    def is_enabled(self, country: str | None, voice: bool = False) -> bool:
        enabled = self.voice_countries if voice else self.countries
        return enabled == ALL_COUNTRIES or country in enabled

    def changed(self, changes: Mapping[str, Any]) -> Setup:
        """Return a set-up with these fields changed. Raise ValueError for a wrong name or value."""
        known = {entry.name: entry for entry in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"a set-up has no {name!r}; it has {', '.join(known)}")
            check = _CHECKS.get(name, _is_text)
            if not check(value):
                raise ValueError(f"{name!r} of a set-up can't have this value")
        return replace(self, **changes)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_text, value))


def _is_countries(value: Any) -> bool:
    return value == ALL_COUNTRIES or (
        _is_list_of_texts(value) and all(re.fullmatch("[A-Z]{2}", country) for country in value)
    )


def _has_entries_like(pattern: Mapping[str, Any]) -> Any:
    def check(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(entry, Mapping) and set(entry) <= set(pattern) for entry in value.values()
        )

    return check


_CHECKS: Mapping[str, Any] = {
    "status": lambda value: value in ("active", "suspended", "closed"),
    "type": lambda value: value in ("Full", "Trial"),
    "trial_regime": lambda value: value in ("verified", "templates"),
    "expired": lambda value: isinstance(value, bool),
    "any_number": lambda value: isinstance(value, bool),
    "any_service": lambda value: isinstance(value, bool),
    "owner": lambda value: value is None or _is_text(value),
    "balance": lambda value: value is None or _is_text(value),
    "numbers": _has_entries_like(_NUMBER),
    "services": _has_entries_like(_SERVICE),
    "countries": _is_countries,
    "voice_countries": _is_countries,
    "verified": _is_list_of_texts,
    "pending": _is_list_of_texts,
    "assigned": lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values())),
    "templates": _is_list_of_texts,
}


def done(setup: Setup, step: int) -> Setup:
    """Return the set-up after a step of the connector's document was done in the console.

    1 and 2: the account is active and has credit; 5: it has a number from the US that can send
    SMS; 6: the recipient's country is enabled; 7: the recipient is verified. The steps 3 and 4 only
    show the account's SID and token. Raise ValueError for any other.
    """
    country = country_of(RECIPIENT)
    if step in (1, 2):
        balance = setup.balance if setup.balance is None else "15.50000"
        return replace(setup, status="active", expired=False, balance=balance)
    if step in (3, 4):
        return setup
    if step == 5:
        number: Mapping[str, Any] = {}
        services = {
            **setup.services,
            SERVICE: {"numbers": [numbers.SENDER], "campaign": "VERIFIED"},
        }
        return replace(
            setup,
            numbers={**setup.numbers, numbers.SENDER: number},
            services=services,
            assigned={**setup.assigned, RECIPIENT: numbers.SENDER},
        )
    if step == 6:
        return replace(
            setup,
            countries=_with(setup.countries, country),
            voice_countries=_with(setup.voice_countries, country),
        )
    if step == 7:
        return replace(setup, verified=_with(setup.verified, RECIPIENT), pending=())
    raise ValueError("the document has the steps 1 to 7")


def _with(values: Any, value: Any) -> Any:
    return values if values == ALL_COUNTRIES or value in values else (*values, value)


@dataclass(frozen=True)
class Scenario:
    """A set-up, who signs in, and from which sender. `credentials` are a name in `Credentials`."""

    description: str
    setup: Setup
    credentials: str = "token"
    sender: str = numbers.SENDER


_OWN: Mapping[str, Any] = {numbers.SENDER: {}}
_TRIAL = Setup(
    type="Trial",
    friendly_name="My first Twilio account",
    balance="15.50000",
    numbers=_OWN,
    any_number=False,
    any_service=False,
    countries=("CO", "US"),
    voice_countries=("CO", "US"),
    verified=(RECIPIENT,),
)

SCENARIOS: Mapping[str, Scenario] = {
    "ready": Scenario("a full account; everything works", Setup()),
    "new": Scenario(
        "a trial account just opened: no number, country or recipient yet (steps 5, 6 and 7)",
        replace(
            _TRIAL, numbers={}, services={}, countries=("US",), voice_countries=("US",), verified=()
        ),
    ),
    "trial": Scenario(
        "a trial account of the older kind, set up: verified recipients only", _TRIAL
    ),
    "templates": Scenario(
        "a trial account of the newer kind, set up: predefined texts only",
        replace(
            _TRIAL,
            trial_regime="templates",
            assigned={RECIPIENT: numbers.SENDER},
            templates=("Your appointment is tomorrow at 10:00.", "Su cita es mañana a las 10:00."),
        ),
    ),
    "suspended": Scenario("a suspended account", Setup(status="suspended")),
    "closed": Scenario("a closed account", Setup(status="closed")),
    "no-credit": Scenario("a full account without credit", Setup(balance="0.00000")),
    "subaccount": Scenario(
        "a subaccount: it has no balance of its own",
        Setup(owner="AC5a4db0c0000000000000000000000009", balance=None),
    ),
    "main-key": Scenario("signed in with a Main API key", Setup(), "main"),
    "standard-key": Scenario("signed in with a Standard API key", Setup(), "standard"),
    "restricted-key": Scenario(
        "signed in with a Restricted API key that may only send", Setup(), "restricted"
    ),
    "test-credentials": Scenario("signed in with test credentials", Setup(), "test"),
    "colombian-number": Scenario(
        "a Colombian number, which can't send SMS",
        Setup(numbers={COLOMBIAN: {"sms": False, "mms": False}}),
        sender=COLOMBIAN,
    ),
    "foreign-number": Scenario(
        "a number that is not the account's", Setup(numbers={}, any_number=False)
    ),
    "unregistered": Scenario(
        "a US number that is not registered for recipients in the US (10DLC)",
        Setup(numbers={numbers.SENDER: {"registered": False}}, services={}),
    ),
    "toll-free": Scenario(
        "a toll-free number that is not verified",
        Setup(numbers={TOLL_FREE: {"registered": False}}),
        sender=TOLL_FREE,
    ),
    "service": Scenario("a Messaging Service as sender", Setup(), sender=SERVICE),
    "empty-service": Scenario("a Messaging Service without senders", Setup(), sender=EMPTY_SERVICE),
    "alphanumeric": Scenario("a name as sender", Setup(), sender="Clinic-24"),
}
