"""Reads the files of a process: BPMN, with the processes and decisions (DMN) that it calls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import bpmn

Files = str | Path | Sequence[str | Path]  # a file, a folder of them, or several


def contents(path: Files) -> dict[Path, bytes]:
    """Return the files that are meant, a folder's in the order of their names.

    A file that is too large is cut, for `bpmn.parse` to refuse. Raise InvalidProcess.
    """
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(one) for one in path]
    files: list[Path] = []
    for file in paths:
        if file.is_dir():
            inside = [*file.glob("*.bpmn"), *file.glob("*.dmn")]
            if not inside:
                raise bpmn.InvalidProcess(
                    f"{file}: the folder has no file that ends in .bpmn or .dmn."
                )
            files += sorted(inside)
        else:
            files.append(file)
    return {file: _content(file) for file in files}


def digest(files: Mapping[Path, bytes]) -> bytes:
    """Return a hash of these files' names and contents."""
    made = hashlib.sha256()
    for path, content in files.items():
        made.update(f"{path.name} {len(content)}\n".encode() + content)
    return made.digest()


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bpmn.MOST_BYTES + 1)
    except OSError as error:
        raise bpmn.InvalidProcess(f"{path}: it can't be read ({error.strerror}).") from error
