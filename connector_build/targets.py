"""What a build makes beside the package: a target whose sources are there, and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from . import bizc, listing
from .findings import Finding
from .package import text_bytes


class Target(NamedTuple):
    """One target: the folder with its sources, how its files are named, and its check."""

    name: str
    folder: str
    pattern: str
    check: Callable[[Path], Iterable[Finding]]

    def has_sources(self, root: Path) -> bool:
        return (root / self.folder).is_dir()


BIZC = Target("bizc", "marketplace/bizagi", "*.js", bizc.check)
LISTING = Target("listing", "marketplace/listing", "*.yaml", listing.check)
TARGETS = (BIZC, LISTING)


def published(root: Path) -> dict[str, bytes]:
    """Return the sources of all targets, by name: they are published as the package is."""
    paths = [path for target in TARGETS for path in (root / target.folder).rglob(target.pattern)]
    paths += root.glob("*.svg")
    return {path.relative_to(root).as_posix(): text_bytes(path) for path in sorted(paths)}
