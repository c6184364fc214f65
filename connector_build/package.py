"""The connector package: which files it holds, and the same bytes for the same files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import connector_runtime

from . import readme

MANIFEST = "MANIFEST.sha256"
CONTENTS = ("connector.json", "icon.png", "LICENSE", "CHANGELOG.md")
FOLDERS = ("actions", "auth", "schemas")
RUNTIME = "connector_runtime"
MAIN = '''"""Run the packaged connector: `python PACKAGE.zip run ACTION`."""

from connector_runtime.cli import main

main()
'''


def contents(root: Path) -> dict[str, bytes]:
    """Collect the package's files by an allow-list, with the hash of every one of them."""
    files = {name: text_bytes(path) for name, path in sources(root).items()}
    files["README.md"] = readme.package(files).encode()
    files["__main__.py"] = MAIN.encode()
    files["requirements.txt"] = "".join(f"{line}\n" for line in requirements(root)).encode()
    hashes = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    files[MANIFEST] = "".join(hashes).encode()
    return files


def sources(root: Path) -> dict[str, Path]:
    """Return the package's files by their names in it: single ones, and code and JSON of folders.

    The runtime is the tree's own, or else the one that is installed.
    """
    taken = {name: root / name for name in CONTENTS}
    folders = {folder: root / folder for folder in FOLDERS}
    folders[RUNTIME] = root / RUNTIME
    if not folders[RUNTIME].is_dir():
        folders[RUNTIME] = Path(connector_runtime.__file__).parent
    for name, folder in folders.items():
        for path in folder.glob("*"):
            if path.suffix in (".py", ".json") and path.is_file():
                taken[f"{name}/{path.name}"] = path
    return dict(sorted(taken.items()))


def text_bytes(path: Path) -> bytes:
    """Return a file's bytes with the line ends of the commit, whatever the checkout has."""
    content = path.read_bytes()
    return content if path.suffix == ".png" else content.replace(b"\r\n", b"\n")


def requirements(root: Path, extras: bool = False) -> list[str]:
    """Return the run-time requirements that pyproject.toml declares, or those of its extras.

    As the package holds the runtime, a requirement of the distribution that brings the runtime is
    replaced by what that one requires.
    """
    project = _project(root)["project"]
    if extras:
        groups = project.get("optional-dependencies", {})
        return sorted({line for lines in groups.values() for line in lines})
    lines = set(project.get("dependencies", ()))
    if not (root / RUNTIME).is_dir():
        brought = {line for line in lines if _is_of(line, kit().name)}
        needed = (kit().requires or ()) if brought else ()
        lines = (lines - brought) | {line for line in needed if "extra ==" not in line}
        # Only an editable install of the kit needs this.
        lines = {line for line in lines if not _is_of(line, "editables")}
    return sorted(lines)


def kit() -> importlib.metadata.Distribution:
    """Return the installed distribution that brings this kit, and the runtime with it."""
    for point in importlib.metadata.entry_points(group="connector_runtime.commands", name="new"):
        if point.dist and point.value.startswith("connector_build."):
            return point.dist
    raise LookupError("connector_build is not installed: it is only on the path")


def _is_of(requirement: str, distribution: str) -> bool:
    return canonicalize_name(Requirement(requirement).name) == canonicalize_name(distribution)


def settings(root: Path, key: str) -> list[str] | None:
    """Return a list of the connector's own settings for the build, from [tool.connector].

    None stands for a pyproject.toml that is missing or can't be read.
    """
    try:
        declared = _project(root).get("tool", {}).get("connector", {}).get(key, [])
    except (OSError, ValueError, AttributeError):
        return None
    return [str(value) for value in declared]


def licence(root: Path) -> list[str]:
    """Return the licence that pyproject.toml states, or nothing."""
    stated = _project(root)["project"].get("license")
    return [stated] if isinstance(stated, str) else []


def _project(root: Path) -> dict[str, Any]:
    return tomli.loads((root / "pyproject.toml").read_text("utf-8"))


def timestamp() -> tuple[int, int, int, int, int, int]:
    """Return SOURCE_DATE_EPOCH in UTC, but at least 1980, the earliest year in a ZIP.

    Raise ValueError for what is no time, or after 2107, the latest.
    """
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    if not 1970 <= moment.tm_year <= 2107:
        raise ValueError("out of range")
    return max(moment[:6], (1980, 1, 1, 0, 0, 0))


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a package beside its final name, then move it there: a failure leaves the last one.

    The same files give the same bytes: sorted names, one time, two file modes, fixed compression.
    """
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
            for name, content in sorted(files.items()):
                member = zipfile.ZipInfo(name, timestamp())
                member.external_attr = 0o100644 << 16
                member.create_system = 3  # Unix, wherever it is built
                package.writestr(member, content, zipfile.ZIP_DEFLATED, 9)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
