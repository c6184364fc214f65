"""Whether a secret or a person's number is about to be published.

A package is published, and this is the last check before it. Tools that search a whole repository,
such as detect-secrets, know more kinds of secrets and may guess. A finding here stops the build, so
these checks do not guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from .. import package
from ..findings import Finding, fault, plain_place
from ..targets import published
from .icon import texts_of_picture
from .tree import Tree, inside

_SECRET_NAME = re.compile(
    r"(?i:token|secret|passw|passphrase|passcode|credential|bearer|jwt|pwd|key$)"
    r"|(?i:(?<![a-z])(?:pin|pass)(?![a-z]))|(?<=[a-z0-9])(?:Pin|Pass)(?![a-z])"
)
# A group marks the part that has many different letters in a real value.
_START, _END = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"
_CREDENTIALS = {
    "an identifier with 32 hexadecimal digits": re.compile(
        rf"{_START}[A-Z]{{2}}([0-9A-Fa-f]{{32}}){_END}"
    ),
    "32 hexadecimal digits, as a token has": re.compile(rf"{_START}([0-9A-Fa-f]{{32}}){_END}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an Authorization header": re.compile(
        r"\b(?:(?:Basic|Bearer) |(?i:basic|bearer) +(?=\S*[0-9]))([A-Za-z0-9+/_.=~-]{20,})"
    ),
    "a URL with a password": re.compile(
        r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\"'<>]*:[^\s/@\"'<>]+@"
    ),
    "an access key": re.compile(
        rf"{_START}(?:AKIA|AIza|SG\.|gh[oprsu]_|github_pat_|xox[abeprs]-|[rs]k_live_)"
        r"([A-Za-z0-9_.-]{12,})"
    ),
    "a signed token": re.compile(rf"{_START}eyJ([\w-]{{8,}}\.[\w-]{{8,}}\.[\w-]{{8,}})"),
}
_NUMBER = re.compile(r"\+[1-9][0-9]{7,14}\b")
# Numbers that are reserved for examples in North America: 555-0100 to 555-0199. A connector names
# more in pyproject.toml: [tool.connector] example-numbers.
_EXAMPLES = r"\+1[0-9]{3}55501[0-9]{2}"


def check(tree: Tree) -> Iterator[Finding]:
    """Find credentials and phone numbers in what is published."""
    more = package.settings(tree.root, "example-numbers")
    examples = re.compile("|".join([_EXAMPLES, *(more or ())]))
    for name, content in {**tree.files, **published(tree.root)}.items():
        if name.endswith(".png"):
            lines = [("text in the picture", text) for text in texts_of_picture(content)]
        else:
            lines = _suspect_lines(content)
        for place, line in lines:
            yield from credentials(name, place, line)
            if more is None:
                continue  # this project does not ask for the check of phone numbers
            for match in _NUMBER.finditer(line):
                if not examples.fullmatch(match[0]):
                    message = "a phone number that may be somebody's: use a reserved one"
                    yield fault("phone-number", name, place, message)


@lru_cache(maxsize=1024)  # cached as `parse` is
def _suspect_lines(content: bytes) -> list[tuple[str, str]]:
    """Return place and text of each line with anything that looks like a credential or number."""
    patterns = (*_CREDENTIALS.values(), _NUMBER)
    text = content.decode("utf-8", "replace")
    if not any(pattern.search(text) for pattern in patterns):
        return []  # the usual case; reading line by line takes ten times as long
    lines = enumerate(text.splitlines(), 1)
    return [
        (f"line {n}", line)
        for n, line in lines
        if any(pattern.search(line) for pattern in patterns)
    ]


def credentials(name: str, place: str, line: str) -> Iterator[Finding]:
    """Find credentials in one line of a file."""
    for what, pattern in _CREDENTIALS.items():
        if any(_looks_real(match) for match in pattern.finditer(line)):
            message = f"{what}: take it out, and withdraw it if it was real"
            yield fault("credential", name, place, message)


def _looks_real(match: re.Match[str]) -> bool:
    """Tell a real value from an example such as ACaaaa…: that has few different letters."""
    return not match.groups() or len(set(match[1].lower())) > 6


def check_names(tree: Tree) -> Iterator[Finding]:
    """Find settings and fields that have a secret's name and are not declared secret."""
    for entry in [*tree.manifest["parameters"], *tree.manifest["options"]]:
        if _SECRET_NAME.search(entry["name"]) and not entry.get("secret"):
            message = "its name says that it is a secret: make it a parameter with 'secret': true"
            yield fault("secret-plain", "connector.json", entry["name"], message)
    for file, schema, action in tree.schemas():
        for place, name in _names((), schema):
            if _SECRET_NAME.search(name):
                message = "its name says that it is a secret, which no output may hold: take it out"
                if file == action["input"]:
                    message = (
                        "its name says that it is a secret, and an input is kept by the process: "
                        "make it a parameter with 'secret': true"
                    )
                yield fault("secret-plain", file, plain_place(place), message)


def _names(path: tuple[str | int, ...], schema: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Give the place and name of every field."""
    for key, field in inside(schema, "properties").items():
        yield (*path, key), key
        yield from _names((*path, key), field)
    if inside(schema, "items"):
        yield from _names((*path, 0), schema["items"])
