"""What the checks before a build find."""

from __future__ import annotations

from typing import NamedTuple

TIERS = ("error", "warning", "advice")  # an error stops the build

RULES = {
    "file-missing": "error",
    "file-stray": "warning",
    "file-name": "error",
    "text-encoding": "error",
    "size": "error",
    "json": "error",
    "json-duplicate-key": "error",
    "manifest": "error",
    "manifest-schema-copy": "error",
    "name-twice": "error",
    "global-unknown": "error",
    "global-input": "error",
    "handler-missing": "error",
    "handler-undeclared": "error",
    "handler-name": "error",
    "handler-run": "error",
    "handler-syntax": "error",
    "import-outside": "error",
    "schema-missing": "error",
    "schema-undeclared": "error",
    "schema-name": "error",
    "schema-invalid": "error",
    "schema-strict": "error",
    "field-description": "error",
    "field-example": "error",
    "field-default": "error",
    "field-words": "advice",
    "pattern-newline": "warning",
    "streams": "error",
    "identifier": "error",
    "secret-plain": "error",
    "credential": "error",
    "phone-number": "warning",
    "leftover": "error",
    "version": "error",
    "changelog": "error",
    "icon": "error",
    "requirement": "error",
    "requirement-range": "warning",
    "test-missing": "warning",
    "description-long": "advice",
    "bizc-handler": "error",
    "bizc-name": "error",
    "bizc-keyword": "error",
    "bizc-type": "error",
    "bizc-require": "error",
    "bizc-list": "error",
    "bizc-xsd": "error",
    "bizc-icon": "error",
    "text-missing": "error",
    "text-form": "error",
    "text-stale": "error",
}


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


def fault(rule: str, file: str, place: str, message: str) -> Finding:
    """Return a finding, in the tier of its rule."""
    return Finding(RULES[rule], rule, file, place, message)
