"""The connector package: which files it holds, and the same bytes for the same files."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import tomli

MANIFEST = "MANIFEST.sha256"
CONTENTS = ("connector.json", "icon.png", "README.md", "LICENSE", "CHANGELOG.md")
FOLDERS = ("actions", "auth", "connector_runtime", "schemas")
MAIN = '''"""Run the packaged connector, as `python twilio-1.0.0.zip run send_sms`."""

from connector_runtime.cli import main

main()
'''


def contents(root: Path) -> dict[str, bytes]:
    """Collect the package's files by an allow-list, with the hash of every one of them."""
    files = {name: text_bytes(root / name) for name in names(root)}
    files["__main__.py"] = MAIN.encode()
    files["requirements.txt"] = "".join(f"{line}\n" for line in requirements(root)).encode()
    hashes = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    files[MANIFEST] = "".join(hashes).encode()
    return files


def names(root: Path) -> list[str]:
    """Return which of the tree's files the package takes: named ones, code and JSON of folders."""
    found = [
        path.relative_to(root).as_posix()
        for folder in FOLDERS
        for path in (root / folder).glob("*")
        if path.suffix in (".py", ".json") and path.is_file()
    ]
    return sorted([*CONTENTS, *found])


def text_bytes(path: Path) -> bytes:
    """Return a file's bytes, its line ends as committed whatever the checkout made of them."""
    content = path.read_bytes()
    return content if path.suffix == ".png" else content.replace(b"\r\n", b"\n")


def requirements(root: Path, extras: bool = False) -> list[str]:
    """Return the run-time requirements that pyproject.toml declares, or those of its extras."""
    project = tomli.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    if not extras:
        return sorted(project.get("dependencies", ()))
    extra = project.get("optional-dependencies", {})
    return sorted({line for lines in extra.values() for line in lines})


def timestamp() -> tuple[int, int, int, int, int, int]:
    """Return SOURCE_DATE_EPOCH in UTC, and never before 1980, the earliest that a ZIP can say.

    Raise ValueError for what is no time, or after 2107, the latest.
    """
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    if not 1970 <= moment.tm_year <= 2107:
        raise ValueError("out of range")
    return max(moment[:6], (1980, 1, 1, 0, 0, 0))


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a package beside its final name, then move it there, so a failure leaves the last.

    The same files give the same bytes: sorted names, one time, folded modes, fixed compression.
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
