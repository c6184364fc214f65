"""Whether the version is valid, and the change log has it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..changelog import changelog_date
from ..findings import Finding, fault
from .tree import Tree

_VERSION = re.compile(  # semver.org, without build metadata: a package's name could not carry it
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
)


def check(tree: Tree) -> Iterator[Finding]:
    """Find a version that is none, or has no dated heading in CHANGELOG.md."""
    version = tree.manifest["version"]
    if not _VERSION.fullmatch(version):
        message = f"'{version}' is no semantic version: correct it"
        yield fault("version", "connector.json", "version", message)
        return
    text = tree.files.get("CHANGELOG.md", b"").decode("utf-8", "replace")
    if changelog_date(text, version) is None:
        message = f"it needs a heading '## [{version}] - ' and the date, as in 2026-01-31"
        yield fault("changelog", "CHANGELOG.md", "", message)
