"""Whether what an action takes from global parameters agrees with those parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..findings import Finding, fault
from .tree import Tree, inside

_WORDS = {
    "title",
    "description",
    "$comment",
    "examples",
    "x-mustBe",
    "default",
}  # these keywords validate nothing


def check(tree: Tree) -> Iterator[Finding]:
    """Find globals that are no global parameter, no input, or have other rules there."""
    parameters = {entry["name"]: entry for entry in tree.manifest["parameters"]}
    for number, action in enumerate(tree.manifest["actions"]):
        if action["input"] in tree.files and action["input"] not in tree.documents:
            continue  # `documents` or `files` reports it
        fields = inside(tree.documents.get(action["input"]), "properties")
        for name in action["globals"]:
            place = f"actions[{number}].globals"
            if not parameters.get(name, {}).get("global"):
                message = f"'{name}' is no global parameter: declare it, or take it out"
                yield fault("global-unknown", "connector.json", place, message)
            elif name not in fields:
                message = f"'{name}' is no input of {action['name']}: add it to {action['input']}"
                yield fault("global-input", "connector.json", place, message)
            elif not _agree(parameters[name], inside(fields, name)):
                message = f"'{name}' has other rules as parameter than as input: make them agree"
                yield fault("global-input", action["input"], name, message)


def _agree(parameter: Mapping[str, Any], field: Mapping[str, Any]) -> bool:
    facets = {"type", "pattern", "minimum", "maximum", *field} - _WORDS
    return all(parameter.get(facet) == field.get(facet) for facet in facets)
