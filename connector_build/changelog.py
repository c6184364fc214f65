"""What CHANGELOG.md says of a version."""

from __future__ import annotations

import datetime
import re


def changelog_date(text: str, version: str) -> str | None:
    """Return the date (YYYY-MM-DD) that the change log gives a version, or None."""
    heading = re.search(
        rf"^## \[{re.escape(version)}\] - (\d{{4}}-\d\d-\d\d)\s*$", text, re.MULTILINE
    )
    if not heading:
        return None
    try:
        datetime.date.fromisoformat(heading[1])
    except ValueError:
        return None
    return heading[1]
