"""Whether the requirements of pyproject.toml can be read, and are ranges."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.requirements import Requirement

from .. import package
from ..findings import Finding, fault
from .secrets import credentials
from .tree import Tree


def check(tree: Tree) -> Iterator[Finding]:
    """Find requirements that are invalid, have no range, or hold a password."""
    name = "pyproject.toml"
    if not (tree.root / name).is_file():
        return
    try:
        lines = [*package.requirements(tree.root), *package.requirements(tree.root, extras=True)]
        for line in lines:
            Requirement(line)
        declared = [Requirement(line) for line in package.requirements(tree.root)]
    except (KeyError, TypeError, AttributeError):
        message = "it has no [project] with lists of requirements: correct it"
        yield fault("requirement", name, "", message)
        return
    except ValueError as error:
        message = f"its requirements can't be read ({error}): correct it"
        yield fault("requirement", name, "", message)
        return
    for requirement in declared:
        yield from credentials(name, "dependencies", str(requirement))
        operators = {specifier.operator for specifier in requirement.specifier}
        if not operators & {">=", ">", "~=", "=="} or not operators & {"<", "<=", "~=", "=="}:
            message = f"'{requirement.name}' needs a range, such as >=2.1,<3"
            yield fault("requirement-range", name, "dependencies", message)
