"""Whether connector.json holds what a manifest must, and declares each name once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from connector_runtime import archive, authentication
from connector_runtime.schema import Schema
from connector_runtime.settings import WRITTEN_FOR

from ..findings import Finding, fault, of_schema
from .schemas import field
from .tree import Tree

# What the texts of connector.json that have a pattern must be, in words.
_WORD = "lower-case letters and digits, a letter first, with _ between words"
FORMS = {
    "header": "a header's name: letters, digits and hyphens, such as X-Api-Key",
    "guid": "a GUID in lower case, such as 01234567-89ab-4cde-8f01-23456789abcd",
    "name": f"{_WORD}, as in weather",
    "parameters.name": "letters, digits and _, a letter first, as in accountId",
    "options.name": "letters, digits and _, a letter first, as in timeoutSeconds",
    "actions.name": f"{_WORD}, as in get_forecast",
    "auth": f"a folder's name: {_WORD}",
    "version": "a semantic version, such as 1.0.0",
    "runtime": "a range of versions of connector_runtime, such as >=1.0,<2",
    "homepage": "an address that begins with https:// and has no spaces",
    "documentation": "an address that begins with https:// and has no spaces",
    "icon": "the name of a PNG: lower-case letters, digits, - and _, then .png",
    "handler": "a module among the actions, such as actions/get_forecast.py",
    "input": "a schema's name, such as schemas/get_forecast.input.json",
    "output": "a schema's name, such as schemas/get_forecast.output.json",
}
_LISTED_CHARACTERS = 160


def check(tree: Tree) -> Iterator[Finding]:
    """Find what breaks the manifest's schema and, if nothing does, other faults."""
    name = "connector.json"
    own = Path(archive.__file__).with_name("manifest.json").read_bytes()
    problems = [*of_schema("manifest", name, Schema(json.loads(own)), tree.manifest, FORMS)]
    yield from problems
    copy = tree.files.get("schemas/manifest.json")
    if copy is not None and copy != own.replace(b"\r\n", b"\n"):
        message = "it differs from the runtime's: write it again with `python build.py generate`"
        yield fault("manifest-schema-copy", "schemas/manifest.json", "", message)
    if problems:
        return
    for problem in authentication.problems(tree.manifest):
        place, what = problem[1:].split("' ", 1)
        yield fault("authentication", name, place, f"it {what}")
    settings = [*tree.manifest["parameters"], *tree.manifest["options"]]
    for entries in (settings, tree.manifest["actions"]):
        names = [entry["name"] for entry in entries]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield fault("name-twice", name, twice, "it is declared twice: rename one")
    if WRITTEN_FOR in (entry["name"] for entry in settings):
        message = "it is the runtime's own setting: give it another name"
        yield fault("name-twice", name, WRITTEN_FOR, message)
    if len(tree.manifest["description"]) > _LISTED_CHARACTERS:
        message = f"a listing shows {_LISTED_CHARACTERS} characters of it: shorten it"
        yield fault("description-long", name, "description", message)
    for entry in settings:
        facets = ("type", "pattern", "minimum", "maximum", "default")
        rules = {key: entry[key] for key in facets if key in entry}
        rules |= {"description": entry["description"], "examples": [entry["example"]]}
        yield from field(name, entry["name"], {**rules, "x-mustBe": entry.get("mustBe")})
