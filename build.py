"""Build the connector's package: `python build.py` writes dist/twilio-<version>.zip."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from connector_build import package

ROOT = Path(__file__).resolve().parent


def main() -> None:
    """Build the package into dist/, with its hash beside it."""
    version = json.loads((ROOT / "connector.json").read_text("utf-8"))["version"]
    target = ROOT / "dist" / f"twilio-{version}.zip"
    target.parent.mkdir(exist_ok=True)
    package.write(target, package.contents(ROOT))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n", "utf-8")
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
