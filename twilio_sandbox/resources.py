"""Finds Twilio's resource for a request, and checks who may use it. HTTP is in `server`.

One server stands in for all of Twilio's hosts (api, messaging, accounts, voice, lookups): they have
no path in common.
"""

from __future__ import annotations

import re

from . import console, messages
from .answers import Answer, Question, error, not_found
from .credentials import Account, refusal
from .setup import Setup
from .store import API_VERSION, Store

_PATHS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (rf"/{API_VERSION}/Accounts/(?P<account>[^/]+?)\.json", "Account"),
        (rf"/{API_VERSION}/Accounts/(?P<account>[^/]+?)/Balance\.json", "Balance"),
        (rf"/{API_VERSION}/Accounts/(?P<account>[^/]+?)/Messages\.json", "Messages"),
        (rf"/{API_VERSION}/Accounts/(?P<account>[^/]+?)/Messages/(?P<sid>[^/]+?)\.json", "Message"),
        (
            rf"/{API_VERSION}/Accounts/(?P<account>[^/]+?)/IncomingPhoneNumbers\.json",
            "PhoneNumbers",
        ),
        (rf"/{API_VERSION}/Accounts/(?P<account>[^/]+?)/OutgoingCallerIds\.json", "CallerIds"),
        (r"/v1/Services", "Services"),
        (
            r"/v1/Services/(?P<sid>[^/]+?)"
            r"(?P<part>|/PhoneNumbers|/AlphaSenders|/ShortCodes|/Compliance/Usa2p)",
            "Service",
        ),
        (r"/v1/Tollfree/Verifications", "TollfreeVerifications"),
        (r"/v1/Messaging/GeoPermissions", "GeoPermissions"),
        (r"/v1/DialingPermissions/Countries/(?P<sid>[A-Z]{2})", "DialingPermissions"),
        (r"/v2/PhoneNumbers/(?P<sid>[^/]+)", "Lookup"),
    )
)
_TWILIO_PATH = re.compile(rf"/{API_VERSION}/Accounts/[^/]+(/[A-Za-z]+(/[^/]+)?)?")
_METHODS = {"Messages": ("GET", "POST"), "Message": ("GET", "POST", "DELETE")}


def answer(question: Question, account: Account, setup: Setup, store: Store, origin: str) -> Answer:
    """Carry out one request as Twilio would."""
    name, parts = _resource(question.path)
    if name is None:
        return _not_json(question)
    kind = account.kind_of(question.authorization)
    method = "GET" if question.method == "HEAD" else question.method
    refused = refusal(kind, parts.get("account"), f"{method} {name}", account, setup)
    if refused is not None and refused.status == 401:
        return refused
    if method not in _METHODS.get(name, ("GET",)):
        return error(405, 20004)
    if refused is not None:
        return refused
    if name == "Messages" and method == "POST":
        return messages.create(question, setup, store, testing=kind == "test")
    if name == "Messages":
        return messages.list_all(question, store)
    if name == "Message" and method == "POST":
        return messages.update(question, store, parts["sid"])
    if name == "Message" and method == "DELETE":
        return messages.delete(question, store, parts["sid"])
    if name == "Message":
        return messages.fetch(question, store, parts["sid"])
    if name == "Account":
        return console.account(account, setup)
    if name == "Balance":
        return console.balance(question, account, setup)
    if name == "PhoneNumbers":
        return console.phone_numbers(question, account, setup)
    if name == "CallerIds":
        return console.caller_ids(question, account, setup)
    if name == "Services":
        return console.services(question, account, setup, origin)
    if name == "Service":
        return console.service(question, account, setup, origin, parts["sid"], parts["part"])
    if name == "TollfreeVerifications":
        return console.toll_free_verifications(question, setup, origin)
    if name == "GeoPermissions":
        return console.geo_permissions(question, setup)
    if name == "DialingPermissions":
        return console.dialing_permissions(question, setup, parts["sid"])
    return console.lookup(parts["sid"], origin)


def _resource(path: str) -> tuple[str | None, dict[str, str]]:
    """Return the name of the resource at a path (or None), and the variable parts of the path."""
    for pattern, name in _PATHS:
        match = pattern.fullmatch(path)
        if match is not None:
            return name, match.groupdict()
    return None, {}


def _not_json(question: Question) -> Answer:
    if not _TWILIO_PATH.fullmatch(question.path) or question.path.endswith(".json"):
        return not_found(question)
    # Twilio would send XML data here. The sandbox has no XML, so it says what to do instead.
    return Answer(
        404,
        text="<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException>"
        "<Code>20404</Code><Message>The sandbox answers JSON only: end the path with .json"
        "</Message><MoreInfo>https://www.twilio.com/docs/errors/20404</MoreInfo>"
        "<Status>404</Status></RestException></TwilioResponse>",
        content_type="application/xml",
    )
