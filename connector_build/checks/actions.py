"""Whether each action has all its parts, and each part belongs to an action."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from functools import lru_cache

import yaml

from ..findings import Finding, fault
from ..parsing import parse
from .tree import Tree


def check(tree: Tree) -> Iterator[Finding]:
    """Find handlers, schemas and tests that are missing, misnamed, undeclared or empty."""
    yield from _files(tree)
    yield from _handlers(tree)
    yield from _tests(tree)
    yield from _cases(tree)


def _files(tree: Tree) -> Iterator[Finding]:
    declared = {"handler": set[str](), "schema": set[str]()}
    for action in tree.manifest["actions"]:
        wanted = {
            "handler": [(f"actions/{action['name']}.py", action["handler"])],
            "schema": [
                (f"schemas/{action['name']}.{way}.json", action[way]) for way in ("input", "output")
            ],
        }
        for kind, pairs in wanted.items():
            for expected, name in pairs:
                declared[kind].add(name)
                if name not in tree.files:
                    message = f"action '{action['name']}' declares it and it is missing: add it"
                    yield fault(f"{kind}-missing", name, "", message)
                elif name != expected:
                    message = f"it belongs to action '{action['name']}': call it {expected}"
                    yield fault(f"{kind}-name", name, "", message)
    for name in tree.files:
        folder, _, file = name.partition("/")
        if folder == "actions" and not file.startswith("_") and name not in declared["handler"]:
            message = "no action declares it: declare it in connector.json or remove it"
            yield fault("handler-undeclared", name, "", message)
        own = name == "schemas/manifest.json"
        if folder == "schemas" and not own and name not in declared["schema"]:
            message = "no action declares it: declare it in connector.json or remove it"
            yield fault("schema-undeclared", name, "", message)


def _handlers(tree: Tree) -> Iterator[Finding]:
    wanted = {action["handler"]: ("run",) for action in tree.manifest["actions"]}
    auth = f"{tree.manifest['auth']}/__init__.py"
    for name, functions in ({**wanted, auth: ("connect", "check")}).items():
        if name not in tree.files:
            if name == auth:
                yield fault(
                    "handler-missing", name, "", "'auth' declares it and it is missing: add it"
                )
            continue
        try:
            module = parse(tree.files[name], name)
        except ValueError:
            continue  # `code` reports it
        there = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
        for missing in sorted(set(functions) - there):
            yield fault("handler-run", name, missing, f"it has no function '{missing}': add it")


def _tests(tree: Tree) -> Iterator[Finding]:
    for action in tree.manifest["actions"]:
        name = f"tests/actions/test_{action['name']}.py"
        path = tree.root / name
        if not path.is_file():
            yield fault("test-missing", name, "", f"nothing tests '{action['name']}': add it")
            continue
        try:
            functions = _functions(path.read_bytes(), name)
        except ValueError:
            continue  # pytest says so
        if not any(function.startswith("test") for function in functions):
            message = f"it has no test of '{action['name']}': add a function 'test_…'"
            yield fault("test-empty", name, "", message)


@lru_cache(maxsize=256)  # cached as `parse` is
def _functions(content: bytes, name: str) -> Collection[str]:
    """Return the names of a module's functions, wherever in it."""
    nodes = ast.walk(parse(content, name))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def _cases(tree: Tree) -> Iterator[Finding]:
    """Where the tree has a table of cases, find the actions that no case runs."""
    folder = tree.root / "tests" / "conformance"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C is 10 times as fast, if it is there
    tables = [yaml.load(path.read_bytes(), loader) for path in sorted(folder.glob("*.yaml"))]  # noqa: S506
    if not tables:
        return
    tried = {case.get("action") for table in tables for case in table if isinstance(case, dict)}
    for action in tree.manifest["actions"]:
        if action["name"] not in tried:
            message = f"no case runs '{action['name']}': add one to a table there"
            yield fault("case-missing", "tests/conformance", "", message)
