"""The account's credentials, and which requests Twilio refuses for each kind of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from .answers import Answer, error
from .setup import Setup

UNAUTHORIZED = {"WWW-Authenticate": 'Basic realm="Twilio API"'}


@dataclass(frozen=True)
class Account:
    """The invented account, its API keys (kind → SID, secret) and its test credentials."""

    sid: str
    auth_token: str
    keys: Mapping[str, tuple[str, str]]
    test_sid: str
    test_auth_token: str

    @property
    def api_key_sid(self) -> str:
        return self.keys["standard"][0]

    @property
    def api_key_secret(self) -> str:
        return self.keys["standard"][1]

    def kind_of(self, authorization: str) -> str | None:
        """Return "token", "test" or the kind of the API key; None for wrong credentials."""
        known = {
            f"{self.sid}:{self.auth_token}": "token",
            f"{self.test_sid}:{self.test_auth_token}": "test",
            **{f"{sid}:{secret}": kind for kind, (sid, secret) in self.keys.items()},
        }
        return known.get(_basic(authorization))


def refusal(
    kind: str | None, account_sid: str | None, resource: str, account: Account, setup: Setup
) -> Answer | None:
    """Return Twilio's answer if these credentials may not make this request, otherwise None.

    `account_sid` is the one in the path, or None. `resource` is the method and the name of the
    resource, such as "GET Messages".
    """
    own = account.test_sid if kind == "test" else account.sid
    if kind is None or account_sid not in (None, own) or setup.status == "closed":
        return error(401, 20003, UNAUTHORIZED)
    if kind == "test":
        return None if resource == "POST Messages" else error(403, 20008)
    if kind == "restricted" and resource != "POST Messages":
        return error(403, 70051)
    # A Standard key may not read these. For Geo Permissions this is an assumption.
    if kind == "standard" and resource in ("GET Account", "GET GeoPermissions"):
        return error(401, 20003, UNAUTHORIZED)
    if setup.status == "suspended" and resource != "GET Account":
        return error(403, 20403)
    return None


def user_of(authorization: str) -> str | None:
    """Return the user name of an Authorization header; never the password."""
    user, colon, _ = _basic(authorization).partition(":")
    return user if colon else None


def _basic(authorization: str) -> str:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
