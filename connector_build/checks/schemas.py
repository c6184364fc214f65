"""Whether the actions' schemas are strict and explained, and accept their own examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from connector_runtime.schema import Schema, reference_engine

from ..findings import Finding, fault, plain_place
from .tree import Tree, inside

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def check(tree: Tree) -> Iterator[Finding]:
    """Find schemas that are invalid, accept anything, or refuse their own examples."""
    for name, schema, action in tree.schemas():
        try:
            if not isinstance(schema, dict):
                raise ValueError("not an object")
            _compile(tree.files[name])
        except ValueError as error:
            message = f"it is no JSON Schema of 2020-12 ({error}): correct it"
            yield fault("schema-invalid", name, "", message)
            continue
        faults = [*_strict(name, (), schema)]
        yield from faults
        examples = [] if faults else schema.get("examples", [])
        if any(Schema(schema).problems(example) for example in examples):
            yield fault("field-example", name, "examples", "one does not validate: correct it")
        identifier = action.get("identifier", "")
        if name == action["output"] and identifier not in {"", *inside(schema, "properties")}:
            message = f"'identifier' of {action['name']} must name a field in it"
            yield fault("identifier", name, identifier, message)
        if name == action["output"] and action.get("streams"):
            items = inside(inside(inside(schema, "properties"), action["streams"]), "items")
            unknown = set(action.get("summary", ())) - set(inside(items, "properties"))
            if not items:
                message = f"'streams' of {action['name']} must name a list in it"
                yield fault("streams", name, action["streams"], message)
            elif unknown:
                message = f"'summary' of {action['name']} names what is not in it: take it out"
                yield fault("streams", name, ", ".join(sorted(unknown)), message)


@lru_cache(maxsize=256)  # cached as `parse` is: the reference validator takes 20 ms
def _compile(content: bytes) -> None:
    """Raise ValueError for what is no JSON Schema of 2020-12."""
    reference_engine(json.loads(content))


def _strict(name: str, path: tuple[str | int, ...], schema: Mapping[str, Any]) -> Iterator[Finding]:
    where = plain_place(path)
    if not path and schema.get("$schema") != _DIALECT:
        message = f"it must say which JSON Schema it is: give it '$schema': '{_DIALECT}'"
        yield fault("schema-strict", name, "$schema", message)
    if not path and schema.get("type") != "object":
        message = "an action takes and gives an object: the schema's 'type' must be 'object'"
        yield fault("schema-strict", name, "type", message)
    if not path or "object" in schema.get("type", ()) or "properties" in schema:
        if schema.get("additionalProperties") is not False or "properties" not in schema:
            message = "an object must list its 'properties' and forbid 'additionalProperties'"
            yield fault("schema-strict", name, where, message)
        for key in sorted(set(schema.get("required", ())) - set(schema.get("properties", ()))):
            message = f"'{key}' is required, but is no property: declare it or take it out"
            yield fault("schema-strict", name, f"{where}.required".lstrip("."), message)
        for key, rules in schema.get("properties", {}).items():
            if not isinstance(rules, dict) or "type" not in rules:
                message = "a field must be an object that says its 'type'"
                yield fault("schema-strict", name, plain_place((*path, key)), message)
                continue
            yield from field(name, plain_place((*path, key)), rules)
            yield from _strict(name, (*path, key), rules)
    if isinstance(schema.get("items"), dict):
        yield from _strict(name, (*path, 0), schema["items"])


def field(name: str, place: str, rules: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what is wrong with one field: its texts, examples, default and pattern."""
    if not str(rules.get("description", "")).strip():
        yield fault("field-description", name, place, "it has no description: say what it is")
    examples = rules.get("examples", [])
    if not examples:
        yield fault("field-example", name, place, "it has no example: give one that validates")
    try:
        schema = Schema(
            {
                key: value
                for key, value in rules.items()
                if key not in ("description", "examples") and value is not None
            }
        )
    except ValueError:
        message = "its rules are no schema by themselves: correct the pattern, or do not use '$ref'"
        yield fault("schema-invalid", name, place, message)
        return
    for example in examples:
        if schema.problems(example):
            yield fault(
                "field-example", name, place, "an example of it does not validate: correct it"
            )
    if "default" in rules and schema.problems(rules["default"]):
        yield fault("field-default", name, place, "its default does not validate: correct it")
    if "pattern" in rules:
        if not rules.get("x-mustBe"):
            message = "say with 'x-mustBe' what it must be, or users read a regular expression"
            yield fault("field-words", name, place, message)
        pattern = str(rules["pattern"])
        # An output's pattern needs no end where 'maxLength' limits the text.
        if pattern.endswith("$") and not pattern.endswith(r"\$"):
            message = r"Python's $ lets a trailing line break pass: end the pattern in $(?!\n)"
            yield fault("pattern-newline", name, place, message)
