"""A copy of the source tree to plant faults in, and the tools to plant them with."""

import json
import shutil

import pytest

from tests.conftest import ROOT, copy_tree

FOLDERS = ("actions", "auth", "connector_build", "connector_runtime", "examples")
FOLDERS += ("marketplace", "schemas", "tests/actions")
FILES = ("connector.json", "icon.png", "icon.svg", "README.md", "LICENSE", "CHANGELOG.md")
FILES += ("pyproject.toml", "build.py")


@pytest.fixture
def tree(tmp_path):
    """All that is packaged or checked, in a folder of its own."""
    copy = tmp_path / "tree"
    for name in FOLDERS:
        if (ROOT / name).is_dir():
            copy_tree(ROOT / name, copy / name)
    for name in FILES:
        shutil.copyfile(ROOT / name, copy / name)
    return copy


def edit_json(path, change):
    """Let `change` alter the decoded document in place, and write it back."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def edit_text(path, old, new):
    """Replace the first `old`, which must be there: an edit without effect would test nothing."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def put(document, place, *value):
    """Set what is at a place such as 'actions.0.globals'; without a value, delete it."""
    *steps, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    for step in steps:
        document = document[step]
    if value:
        document[last] = value[0]
    else:
        del document[last]
