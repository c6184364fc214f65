"""Which files the package has: all that it needs, and none that it can't hold."""

from __future__ import annotations

from collections.abc import Iterator

from connector_runtime import archive

from .. import package
from ..findings import Finding, fault
from ..targets import published
from .tree import Tree

_MADE = 3  # files that the build adds: __main__.py, requirements.txt, MANIFEST.sha256


def check(tree: Tree) -> Iterator[Finding]:
    """Find files that are missing, not packaged, misnamed, too large or no text."""
    for name in (*package.CONTENTS, "pyproject.toml"):
        if not (tree.root / name).is_file():
            yield fault("file-missing", name, "", "the package needs it: add it")
    yield from _stray(tree)
    yield from _sizes(tree)
    for name, content in {**tree.files, **published(tree.root)}.items():
        if not name.endswith(".png"):
            try:
                content.decode("utf-8")
            except UnicodeDecodeError:
                yield fault("text-encoding", name, "", "it is no UTF-8 text: save it as UTF-8")


def _stray(tree: Tree) -> Iterator[Finding]:
    for folder in package.FOLDERS:
        for path in sorted((tree.root / folder).rglob("*")):
            name = path.relative_to(tree.root).as_posix()
            if not path.is_file() or name in tree.files or "__pycache__" in name:
                continue
            if folder == "actions" and path.suffix == ".py":
                message = "no action can declare it there: move it into actions/ or remove it"
                yield fault("handler-undeclared", name, "", message)
            else:
                yield fault("file-stray", name, "", "it is not packaged: move it elsewhere")


def _sizes(tree: Tree) -> Iterator[Finding]:
    for name, content in tree.files.items():
        if not archive.ALLOWED.fullmatch(name):
            yield fault("file-name", name, "", "a package has no such name: rename it")
        if len(content) > archive.MOST_BYTES_OF_A_MEMBER:
            limit = archive.MOST_BYTES_OF_A_MEMBER
            yield fault("size", name, "", f"it is larger than {limit:,} bytes: make it smaller")
    total = sum(map(len, tree.files.values()))
    if total > archive.MOST_BYTES or len(tree.files) > archive.MOST_MEMBERS - _MADE:
        message = (
            f"{len(tree.files)} files of {total:,} bytes are more than a package may hold: "
            "leave something out"
        )
        yield fault("size", "(package)", "", message)
