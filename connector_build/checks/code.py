"""Whether the package's code is Python, and imports only modules that the package has.

deptry checks that other imports are declared requirements.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import PurePosixPath

from ..findings import Finding, fault
from ..parsing import parse
from .tree import Tree

_KIT = {"connector_build", "connector_engines", "tests"}  # not installed where a package runs


def check(tree: Tree) -> Iterator[Finding]:
    """Find code that can't be compiled, and imports of modules that the package lacks."""
    folders = {name.split("/")[0] for name in tree.files if "/" in name}
    for name, content in tree.files.items():
        if not name.endswith(".py"):
            continue
        try:
            imports = _imports(content, name)
        except ValueError as error:
            yield fault("handler-syntax", name, str(error), "it is not valid Python: correct it")
            continue
        for line, imported in imports:
            lacking = _lacking(imported, name, tree.files, folders)
            if lacking:
                message = f"it imports '{lacking}', which is not in the package: correct it"
                yield fault("import-outside", name, f"line {line}", message)


@lru_cache(maxsize=256)  # cached as `parse` is
def _imports(content: bytes, name: str) -> list[tuple[int, str]]:
    """Return the line of each import and its name: dots, module, a colon, what is taken from it."""
    imports: list[tuple[int, str]] = []
    nodes: list[ast.AST] = [parse(content, name)]
    while nodes:  # no recursion: a sum of many terms is nested as deeply
        node = nodes.pop()
        # An import is a statement, and no expression holds one.
        nodes += [part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.expr)]
        if isinstance(node, ast.Import):
            imports += [(node.lineno, f"{alias.name}:") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = f"{'.' * node.level}{node.module or ''}"
            imports += [(node.lineno, f"{module}:{alias.name}") for alias in node.names]
    return imports


def _lacking(imported: str, name: str, files: dict[str, bytes], own: set[str]) -> str | None:
    """Return what an import names of the package's own code that is not in it, None if all is."""
    module, _, member = imported.partition(":")
    path = module.lstrip(".")
    level = len(module) - len(path)
    top = path.split(".")[0]
    folders = PurePosixPath(name).parts[:-1]
    if not level:
        if top in _KIT or (top in own and top != "connector_runtime"):
            return module  # its modules must be imported with dots
        if top != "connector_runtime":
            return None
        if not any(file.startswith("connector_runtime/") for file in files):
            return None
    if level > len(folders):
        return module
    start = folders[: len(folders) - level + 1] if level else ()
    target = "/".join((*start, *filter(None, path.split("."))))
    if f"{target}.py" in files:
        return None
    if not any(file.startswith(f"{target}/") and file.endswith(".py") for file in files):
        return module
    bound = _bound(files.get(f"{target}/__init__.py", b""))
    if member in {"", "*", *bound} or f"{target}/{member}.py" in files:
        return None
    return f"{module}{'' if module.endswith('.') else '.'}{member}"


@lru_cache(maxsize=256)  # cached as `parse` is
def _bound(content: bytes) -> Collection[str]:
    """Return the names that a module defines, wherever in it."""
    try:
        nodes = list(ast.walk(parse(content, "")))
    except ValueError:
        return ()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = {node.name for node in nodes if isinstance(node, kinds)}
    stored = [node for node in nodes if isinstance(node, ast.Name)]
    names |= {node.id for node in stored if isinstance(node.ctx, ast.Store)}
    return names | {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
