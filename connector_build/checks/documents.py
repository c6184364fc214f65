"""Whether the JSON files are valid, and mean the same to every reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from connector_runtime.schema import Schema

from ..findings import Finding, fault, of_schema
from .tree import Tree


def check(tree: Tree) -> Iterator[Finding]:
    """Decode the JSON files into `tree.documents`; find those that can't be, and keys twice."""
    for name, content in tree.files.items():
        if not name.endswith(".json"):
            continue
        duplicates: list[str] = []

        def unique(
            pairs: list[tuple[str, Any]], duplicates: list[str] = duplicates
        ) -> dict[str, Any]:
            keys = [key for key, _ in pairs]
            duplicates += sorted({key for key in keys if keys.count(key) > 1})
            return dict(pairs)

        try:
            document = json.loads(
                content.decode("utf-8"), object_pairs_hook=unique, parse_constant=_refuse_constant
            )
        except UnicodeDecodeError:
            continue  # `files` reports it
        except (ValueError, RecursionError) as error:
            yield fault("json", name, "", f"it is not valid JSON ({error}): correct it")
            continue
        # A lone surrogate, an infinite number or too deep a nesting breaks what reads the file.
        faults = [*of_schema("json", name, Schema({}), document)]
        yield from faults
        if not faults:
            tree.documents[name] = document
        for key in duplicates:
            yield fault("json-duplicate-key", name, key, "the key is declared twice: keep one")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is Python's, not JSON's")
