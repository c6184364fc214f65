"""What the checks before a build find."""

from __future__ import annotations

from typing import NamedTuple

TIERS = ("error", "warning", "advice")  # an error stops the build


class Finding(NamedTuple):
    """One fault: which rule, in which file, where in it, and what to do, without a full stop."""

    tier: str
    rule: str
    file: str
    place: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.place}" if self.place else self.file
        return f"{self.tier:<8} {where}: {self.message}. [{self.rule}]"
