"""Zip the connector: `python build.py` writes dist/twilio-<version>.zip."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent
CONTENTS = ("connector.json", "icon.png", "README.md", "LICENSE", "CHANGELOG.md")
FOLDERS = ("actions", "auth", "connector_runtime", "schemas")
MAIN = '''"""Run the packaged connector, as `python twilio-1.0.0.zip run send_sms`."""

from connector_runtime.cli import main

main()
'''


def contents() -> dict[str, bytes]:
    """Collect the package's files by an allow-list, with the hash of every one of them."""
    files = {name: (ROOT / name).read_bytes() for name in CONTENTS}
    for folder in FOLDERS:
        for path in (ROOT / folder).iterdir():
            if path.suffix in (".py", ".json"):
                files[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    files["__main__.py"] = MAIN.encode()
    files["requirements.txt"] = "".join(f"{line}\n" for line in requirements()).encode()
    hashes = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    files["MANIFEST.sha256"] = "".join(hashes).encode()
    return files


def requirements() -> list[str]:
    """Return the run-time requirements that pyproject.toml declares."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = text.split("\ndependencies = [\n")[1].split("\n]")[0]
    return sorted(line.strip().strip('",') for line in block.splitlines())


def timestamp() -> tuple[int, int, int, int, int, int]:
    """Return SOURCE_DATE_EPOCH, and never before 1980, the earliest that a ZIP can say."""
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    return max(moment[:6], (1980, 1, 1, 0, 0, 0))


def main() -> None:
    """Build the package into dist/, with its hash beside it."""
    version = json.loads((ROOT / "connector.json").read_text("utf-8"))["version"]
    target = ROOT / "dist" / f"twilio-{version}.zip"
    target.parent.mkdir(exist_ok=True)
    write(target, contents())
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n", "utf-8")
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, SHA-256 {digest}")


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a package beside its final name, then move it there, so a failure leaves the last.

    The same files give the same bytes: sorted names, one time, folded modes, fixed compression.
    """
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as package:
        for name, content in sorted(files.items()):
            member = zipfile.ZipInfo(name, timestamp())
            member.external_attr = 0o100644 << 16
            member.create_system = 3  # Unix, wherever it is built
            package.writestr(member, content, zipfile.ZIP_DEFLATED, 9)
    os.replace(partial, target)


if __name__ == "__main__":
    main()
