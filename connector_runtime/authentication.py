"""How a connector signs in, as its manifest declares it: Basic, Bearer, or an API key in a header.

    "authentication": {"type": "basic", "user": ["keyId", "accountId"], "secret": "token"}
    "authentication": {"type": "bearer", "secret": "token"}
    "authentication": {"type": "apiKey", "header": "X-Api-Key", "secret": "key"}

`user` and `secret` name settings; of several users, the first that has a value is used.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import InvalidConfiguration

_NEEDED = {"basic": {"user"}, "bearer": set[str](), "apiKey": {"header"}}
_VISIBLE = re.compile(r"[!-~]+")
# Headers that the runtime writes itself, and those that set where a request's body ends.
_TAKEN = {"accept", "accept-encoding", "connection", "content-length", "content-type", "cookie"}
_TAKEN |= {"host", "transfer-encoding", "user-agent", "upgrade", "expect", "te", "trailer"}


def problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Give the faults of a manifest's authentication that its schema can't find."""
    declared = manifest["authentication"]
    needed = _NEEDED[declared["type"]]
    for key in sorted({"user", "header"} & (needed ^ declared.keys())):
        if key in needed:
            yield f"'authentication.{key}' is missing: add it for the type '{declared['type']}'"
        else:
            yield f"'authentication.{key}' must not be given with the type '{declared['type']}'"
    parameters = {entry["name"]: entry for entry in manifest["parameters"]}
    secret = parameters.get(declared["secret"])
    if not secret or not secret["secret"] or not secret["required"]:
        yield "'authentication.secret' must name a parameter that is secret and required"
    names = {*parameters, *(entry["name"] for entry in manifest["options"])}
    for place, name in enumerate(declared.get("user", ())):
        if name not in names:
            yield f"'authentication.user[{place}]' names '{name}', which is no setting"
    if declared.get("header", "").lower() in _TAKEN:
        yield "'authentication.header' is a header that the runtime writes: name another"


def headers(declared: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the header that signs in, for checked settings. Raise InvalidConfiguration.

    It holds the secret: it must not be shown.
    """
    secret = str(settings[declared["secret"]])
    if declared["type"] == "basic":
        given = [settings[name] for name in declared["user"] if name in settings]
        if not given:
            names = " or ".join(f"'{name}'" for name in declared["user"])
            raise InvalidConfiguration(f"configuration: {names} is required to sign in.")
        token = base64.b64encode(f"{given[0]}:{secret}".encode()).decode("ascii")
        return {"Authorization": f"Basic {token}"}
    if not _VISIBLE.fullmatch(secret):
        raise InvalidConfiguration(
            f"configuration: '{declared['secret']}' must be letters, digits and signs of ASCII, "
            "without spaces or line breaks."
        )
    if declared["type"] == "bearer":
        return {"Authorization": f"Bearer {secret}"}
    return {declared["header"]: secret}
