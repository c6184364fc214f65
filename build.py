"""Zip the connector: `python build.py` writes dist/twilio-<version>.zip."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent
CONTENTS = ("connector.json", "icon.png", "README.md", "LICENSE", "CHANGELOG.md")
FOLDERS = ("actions", "auth", "connector_runtime", "schemas")
MAIN = '''"""Run the packaged connector, as `python twilio-1.0.0.zip run send_sms`."""

from connector_runtime.cli import main

main()
'''


def main() -> None:
    """Write the package beside its final name, then move it there, so a failure leaves the last."""
    version = json.loads((ROOT / "connector.json").read_text("utf-8"))["version"]
    target = ROOT / "dist" / f"twilio-{version}.zip"
    target.parent.mkdir(exist_ok=True)
    files = [ROOT / name for name in CONTENTS]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".json")]
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr(zipfile.ZipInfo("__main__.py"), MAIN)
        for name in sorted(path.relative_to(ROOT).as_posix() for path in files):
            package.writestr(zipfile.ZipInfo(name), (ROOT / name).read_bytes())
    os.replace(partial, target)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
