"""What the checks before a build find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from connector_runtime.schema import Fault, Schema
from connector_runtime.schema import place as write_place

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
    "authentication": "error",
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
    "version": "error",
    "changelog": "error",
    "icon": "error",
    "requirement": "error",
    "requirement-range": "warning",
    "test-missing": "warning",
    "test-empty": "warning",
    "case-missing": "warning",
    "version-step": "error",
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
    """Return a finding in the tier of its rule; its text can be printed, whatever names it has."""
    written = (text.encode("utf-8", "backslashreplace").decode() for text in (file, place, message))
    return Finding(RULES[rule], rule, *written)


def plain_place(path: tuple[str | int, ...]) -> str:
    """Write a path in a document as findings show it: without quotes, "" for the whole."""
    return write_place(path).strip("'") if path else ""


def of_schema(
    rule: str, file: str, schema: Schema, document: Any, forms: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Find where a document breaks its schema; `forms` says what the texts with a pattern are."""
    faults = schema.faults(document)
    problems = schema.problems(document) if faults else []
    for broken, problem in zip(faults, problems, strict=True):
        about = problem.removeprefix(write_place(broken.path)).strip()
        yield fault(rule, file, plain_place(broken.path), _to_do(broken, about, forms or {}))


def _to_do(broken: Fault, about: str, forms: Mapping[str, str]) -> str:
    limit = broken.subschema.get(broken.keyword)
    words = {
        "required": "it is required: add it",
        "additionalProperties": f"it {about}: correct it or take it out",
        "minLength": f"it must have at least {limit} letter: say it",
        "minItems": f"it must have at least {limit} entry: add it",
        "uniqueItems": "an entry is in it twice: keep one",
        "json": "it is read as a date or another kind of value: put it in quotes",
        "surrogate": f"it {about}: correct it",
        "depth": f"it {about}: make it flatter",
    }
    if broken.keyword == "pattern" and "x-mustBe" not in broken.subschema:
        steps = [str(step) for step in broken.path if isinstance(step, str)]
        form = forms.get(".".join(steps), forms.get(steps[-1] if steps else ""))
        return f"it must be {form or broken.subschema.get('description', 'of another form')}"
    return words.get(broken.keyword, f"it {about}")
