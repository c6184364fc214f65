"""The connectors that are installed in this Python, found by name.

A distribution offers one with an entry point of the group `connector_runtime.connectors`: its name
is the connector's, its object the path of the connector's folder or package file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InvalidPackage

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

GROUP = "connector_runtime.connectors"
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def names() -> list[str]:
    """Return the names of the installed connectors, sorted."""
    return sorted({point.name for point in _entry_points()})


def location(name: str) -> Path:
    """Return the path of an installed connector's folder or package. Raise InvalidPackage."""
    points = _points(name)
    if not points:
        raise InvalidPackage(f"no connector '{name}' is installed. {_installed_are()}")
    if len(points) > 1:
        offering = ", ".join(sorted(distribution(point) for point in points))
        raise InvalidPackage(
            f"connector '{name}' is installed twice, by {offering}: uninstall one of them."
        )
    try:
        path = points[0].load()
    except (ImportError, AttributeError) as error:
        raise InvalidPackage(
            f"connector '{name}': {distribution(points[0])} is installed, but its entry point "
            f"can't be loaded ({error})."
        ) from error
    if not isinstance(path, str | os.PathLike):
        raise InvalidPackage(
            f"connector '{name}': the entry point of {distribution(points[0])} is no path."
        )
    return Path(path)


def is_installed(name: object) -> bool:
    """Tell whether a value is the name of an installed connector."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and bool(_points(name))


def offered_by(name: str) -> str:
    """Return the names and versions of the distributions that offer a connector."""
    return ", ".join(sorted(distribution(point) for point in _points(name)))


def default() -> Path | str:
    """Return the connector to use where none is named. Raise InvalidPackage.

    It is the one beside this runtime, in a package file or a source tree; without that,
    the only one that is installed.
    """
    beside = Path(__file__).parent.parent
    if beside.is_file() or (beside / "connector.json").is_file():
        return beside
    there = names()
    if len(there) != 1:
        raise InvalidPackage(f"no connector is named: give --connector. {_installed_are()}")
    return there[0]


def distribution(point: EntryPoint) -> str:
    """Return the name and version of the distribution that brings an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed distribution"


def _points(name: str) -> list[EntryPoint]:
    # A folder that is on sys.path twice gives its distribution twice.
    points = _entry_points().select(name=name)
    return list({(distribution(point), point.value): point for point in points}.values())


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points  # late: it is slow, and a path needs none

    return entry_points(group=GROUP)


def _installed_are() -> str:
    there = names()
    return f"Installed are: {', '.join(there)}." if there else "None is installed."
