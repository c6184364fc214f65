"""Which modules each part of the engines may import."""

import ast

import pytest

from tests.conftest import ROOT

ENGINES = ROOT / "connector_engines"
FORBIDDEN = {
    # The rules get the time and the identifiers as arguments, and store nothing.
    "bpmn": ("threading", "time", "random", "uuid", "sqlite3", "socket", "queue", "concurrent"),
    "embedded": ("connector_engines.proxy", "connector_engines.temporal"),
    "temporal": ("connector_engines.proxy", "connector_engines.embedded"),
    "proxy": ("connector_engines.bpmn", "connector_engines.temporal", "connector_engines.embedded"),
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("part", FORBIDDEN)
def test_part_imports_nothing_that_it_must_not_know(part):
    # `from uuid import UUID` is allowed: it imports only a type.
    for path in sorted((ENGINES / part).glob("*.py")):
        for name in set(imported(path)) - {"uuid", "uuid.UUID"}:
            first = name if name.startswith("connector") else name.partition(".")[0]
            assert first not in FORBIDDEN[part], f"{path.name} imports {name}"
            assert not name.startswith(("connector_build", "twilio_sandbox", "tests")), path.name


def test_rules_ask_the_uuid_module_for_its_type_alone():
    for path in sorted((ENGINES / "bpmn").glob("*.py")):
        names = {name for name in imported(path) if name.startswith("uuid")}
        assert names <= {"uuid", "uuid.UUID"}, path.name
