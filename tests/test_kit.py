"""What the kit may know and import: no service, and nothing that a package lacks."""

import ast
import re

import pytest

from tests.conftest import ROOT

KIT = ("connector_runtime", "connector_build", "connector_engines")
READ = {".py", ".json", ".js", ".html", ".jinja", ".yaml", ".md"}
FILES = [
    path
    for folder in KIT
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in READ and "__pycache__" not in path.parts
]
# This connector's service by name, by its product, and by the form of its codes and identifiers.
SERVICE = re.compile(
    r"(?i:twilio|(?<![a-z])sms(?![a-z]))|\bSIDs?\b|\b(?:2[01]\d{3}|3[05]\d{3}|63\d{3})\b"
)
ALLOWED = {
    "actions": {"actions", "connector_runtime"},
    "auth": {"auth", "connector_runtime"},
    "connector_runtime": {"connector_runtime"},
    "connector_build": {"connector_build", "connector_runtime"},
    "connector_engines": {"connector_engines", "connector_runtime"},
    "twilio_connector": {"twilio_connector"},
    "twilio_sandbox": {"twilio_sandbox"},
}


@pytest.mark.parametrize("folder", KIT)
def test_the_kit_says_nothing_of_this_connectors_service(folder):
    said = [
        f"{path.relative_to(ROOT).as_posix()}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if path.relative_to(ROOT).parts[0] == folder and SERVICE.search(line)
    ]
    assert said == []


def test_the_search_for_words_of_the_service_finds_them():
    for line in ("Twilio said no", "the SMS was sent", '"21608": {}', "its SID", "send_sms"):
        assert SERVICE.search(line), line
    for line in ("basms", "2026-11-24", "a side", "port 8010", "200000"):
        assert not SERVICE.search(line), line
    assert len(FILES) > 60


@pytest.mark.parametrize("folder", ALLOWED)
def test_each_part_imports_only_what_it_may(folder):
    """So a package, which holds the connector and the runtime, is whole."""
    own = set(ALLOWED)
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            tops = {name.split(".")[0] for name in names} & own
            assert tops <= ALLOWED[folder], f"{path.name}: {tops - ALLOWED[folder]}"


@pytest.mark.parametrize("folder", ["actions", "auth"])
def test_a_connector_imports_public_names_only(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("connector_"):
                assert node.module == "connector_runtime", path.name
