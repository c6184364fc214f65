"""What the package's code imports, found without running it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

_MISSING = {"ImportError", "ModuleNotFoundError"}


class Import(NamedTuple):
    """One import: its line, the module with a dot for each level up, what is taken from it."""

    line: int
    module: str
    members: tuple[str, ...]
    guarded: bool  # whether the code says what to do without it


def parse(content: bytes, name: str) -> ast.Module:
    """Parse Python. Raise ValueError with its line where it can't be compiled."""
    try:
        return ast.parse(content, name)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"line {getattr(error, 'lineno', None) or 1}") from error
    except (RecursionError, MemoryError) as error:  # a sum of thousands, for instance
        raise ValueError("line 1") from error


def imports(module: ast.Module) -> Iterator[Import]:
    """Give every import of a module, those by a call with a constant name among them."""
    nodes: list[tuple[ast.AST, bool]] = [(module, False)]
    while nodes:  # no recursion: a long sum is nested as deeply as it is long
        node, guarded = nodes.pop()
        children = [(child, guarded) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, (), guarded)
        elif isinstance(node, ast.ImportFrom):
            named = "." * node.level + (node.module or "")
            yield Import(node.lineno, named, tuple(a.name for a in node.names), guarded)
        elif isinstance(node, ast.Call):
            named = _constant(node)
            if named:
                yield Import(node.lineno, named, (), guarded)
        elif isinstance(node, ast.Try) and any(map(_is_guard, node.handlers)):
            children = [(child, True) for child in (*node.body, *node.orelse)]
            children += [(child, guarded) for child in (*node.handlers, *node.finalbody)]
        nodes += children


def _is_guard(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(each, ast.Name) and each.id in _MISSING for each in caught)


def _constant(call: ast.Call) -> str:
    """Return the name that __import__("x") or importlib.import_module("x") is given, or ""."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    called = call.func.id if isinstance(call.func, ast.Name) else called
    if called not in ("__import__", "import_module"):
        return ""
    given = [*call.args[:1], *(key.value for key in call.keywords if key.arg == "name")]
    constants = [each.value for each in given if isinstance(each, ast.Constant)]
    return next((value for value in constants if isinstance(value, str)), "")


def missing(found: Import, name: str, files: dict[str, bytes]) -> str | None:
    """Return what an import of the package's own code names that is not in it, "" if all is.

    None stands for code of others, which a requirement must bring.
    """
    path = found.module.lstrip(".")
    level = len(found.module) - len(path)
    folders = PurePosixPath(name).parts[:-1]
    if not level and path.split(".")[0] != "connector_runtime":
        return None
    if level > len(folders):
        return found.module
    start = folders[: len(folders) - level + 1] if level else ()
    module = "/".join((*start, *filter(None, path.split("."))))
    if f"{module}.py" in files:
        return ""
    if not any(file.startswith(f"{module}/") and file.endswith(".py") for file in files):
        return found.module
    own = _bound(files.get(f"{module}/__init__.py", b""))
    dots = "" if found.module.endswith(".") else "."
    for member in found.members:
        if f"{module}/{member}.py" not in files and member not in {*own, "*"}:
            return f"{found.module}{dots}{member}"
    return ""


def _bound(content: bytes) -> Collection[str]:
    """Return the names that a module defines, wherever in it."""
    try:
        nodes = list(ast.walk(parse(content, "")))
    except ValueError:
        return ()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {node.name for node in nodes if isinstance(node, kinds)}
    stored = [node for node in nodes if isinstance(node, ast.Name)]
    found |= {node.id for node in stored if isinstance(node.ctx, ast.Store)}
    return found | {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
