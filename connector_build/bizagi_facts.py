"""What every connector has in Bizagi, as far as it is known: types, properties, codes."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from typing import Any

from connector_runtime import errors

# No public page states these. They are concluded from Bizagi's build tools; if Studio disagrees,
# correct them here. guide.en.yaml and guide.es.yaml have the list, under `concluded`.
DATATYPE = ""  # of every parameter and property
AUTHENTICATION = "custom"
RUNTIME_VERSION = "1"
XSD_TYPES = {
    "string": "xs:string",
    "number": "xs:decimal",
    "integer": "xs:integer",
    "boolean": "xs:boolean",
    "date": "xs:dateTime",
}
OUTSIDE = "../../../../../../../"  # from node_modules/<module> to the folder that holds the logs

# Options of the manifest that have no use here, as nothing is kept between two calls.
_NOT_HERE = ("resendAfterSeconds", "keepDays")
# The options that transport.js and resolution.js read, where a manifest does not declare them.
_STANDARD: list[dict[str, Any]] = [
    {
        "name": "connectTimeoutSeconds",
        "type": "number",
        "default": 10,
        "minimum": 0.1,
        "maximum": 300,
        "description": "How long to wait for a connection, its TLS handshake included.",
        "mustBe": "a number of seconds from 0.1 to 300",
    },
    {
        "name": "timeoutSeconds",
        "type": "number",
        "default": 35,
        "minimum": 0.1,
        "maximum": 300,
        "description": "How long to wait at most for a whole answer, and for all pauses together.",
        "mustBe": "a number of seconds from 0.1 to 300",
    },
    {
        "name": "maxAttempts",
        "type": "integer",
        "default": 5,
        "minimum": 1,
        "maximum": 10,
        "description": "How many times a request is made at most, if repeating it does no harm.",
        "mustBe": "a whole number from 1 to 10",
    },
    {
        "name": "resolveSeconds",
        "type": "number",
        "default": 45,
        "minimum": 0,
        "maximum": 300,
        "description": "How long to look for the result of a write whose answer was lost; "
        "0 switches the look-up off.",
        "mustBe": "a number of seconds from 0 to 300",
    },
]
_PROXY = {
    "name": "proxyUrl",
    "displayName": "Proxy",
    "type": "string",
    "secret": True,  # it may hold a password
    "description": "The proxy that leads to the service, with its user and password if it wants "
    "them. When it is empty, HTTPS_PROXY and NO_PROXY of the environment are used.",
    "example": "http://proxy.example.com:8080",
    "pattern": "^(https?://)?([!-.0-?A-~]+@)?[A-Za-z0-9.\\-\\[\\]:]+/?$(?!\\n)",
    "mustBe": "http:// or https:// and a host name, such as http://proxy.example.com:8080; "
    "user and password may stand before the host name: http://user:password@proxy.example.com",
}


def options(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the properties that Studio shows beside the authentication parameters."""
    declared = [option for option in manifest["options"] if option["name"] not in _NOT_HERE]
    names = {option["name"] for option in declared}
    return [*declared, *(o for o in _STANDARD if o["name"] not in names), _PROXY]


def codes() -> list[str]:
    """Return every error code that an action can answer with: processes decide by them."""
    # Codes that can't occur: Bizagi does not load the package for Python, and keeps no ledger.
    elsewhere = {errors.InvalidPackage.code, errors.LedgerFailed.code}
    return sorted({kind.code for kind in errors.kinds()} - elsewhere | {"CONNECTOR_ERROR"})


def kind_of(field: Mapping[str, Any]) -> str:
    """Return a field's one type for Bizagi; "date" where its example is an RFC 2822 date.

    What may be text or something else is text: Bizagi has no type for both.
    """
    declared = field["type"]
    kinds = [declared] if isinstance(declared, str) else [k for k in declared if k != "null"]
    if "string" not in kinds:
        return str(kinds[0])
    examples = field.get("examples", ())
    return "date" if examples and all(map(_is_date, examples)) else "string"


def _is_date(example: Any) -> bool:
    try:
        return isinstance(example, str) and bool(email.utils.parsedate_to_datetime(example))
    except (TypeError, ValueError):
        return False


def bound(manifest: Mapping[str, Any], values: Mapping[str, float] | None = None) -> float:
    """Return how many seconds a call may take at most, a page of a list aside."""
    known: dict[str, Any] = {o["name"]: o.get("default") for o in options(manifest)}
    known |= values or {}
    attempts = known["maxAttempts"] * (known["connectTimeoutSeconds"] + known["timeoutSeconds"])
    return float(attempts + known["timeoutSeconds"] + known["resolveSeconds"])
