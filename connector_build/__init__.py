"""From a connector's folder to what is uploaded: checked, written, verified."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["main"]


def main(root: Path) -> None:
    """Run the build's command line for the connector in a folder.

    A package that the extra [build] brings and that is missing is named, with exit status 2.
    """
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("connector_"):
            raise  # a file of the kit itself is missing: the traceback says where it is imported
        print(  # noqa: T201
            f"Building needs the package '{error.name}', which is not installed; it comes with the "
            "extra [build].",
            file=sys.stderr,
        )
        sys.exit(2)
    run(root)
