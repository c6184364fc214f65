"""What the checks read: the source tree, its files that are packaged, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .. import package


class Tree(NamedTuple):
    """The source tree: its folder, the files that would be packaged, and what could be decoded.

    `files` are bytes by name; `documents` are the decoded JSON files, and nothing else.
    """

    root: Path
    files: dict[str, bytes]
    documents: dict[str, Any]

    @property
    def manifest(self) -> dict[str, Any]:
        document: dict[str, Any] = self.documents["connector.json"]
        return document

    def schemas(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """Give file, schema and action of every action schema that there is."""
        for action in self.manifest["actions"]:
            for name in (action["input"], action["output"]):
                if name in self.documents:
                    yield name, self.documents[name], action


def read(root: Path) -> Tree:
    """Read the files that there are; `files.check` reports those that are missing."""
    sources = package.sources(root)
    return Tree(
        root,
        {name: package.text_bytes(path) for name, path in sources.items() if path.is_file()},
        {},
    )


def inside(schema: Any, key: str) -> dict[str, Any]:
    """Return what is under a key of a schema, or nothing where that is no object."""
    value = schema.get(key) if isinstance(schema, dict) else None
    return value if isinstance(value, dict) else {}
