"""A copy of the source tree to plant faults in, and the tools to plant them with."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from connector_build.cli import cli
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


def run(tree, *arguments, given=""):
    """Do what build.py of a tree does with these arguments; return what it ended with.

    A process of its own would take several times as long.
    """
    stdout, stderr, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(tree)
    try:
        with (
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
            mock.patch.object(sys, "stdin", io.StringIO(given)),
            pytest.raises(SystemExit) as end,
        ):
            cli.main(list(map(str, arguments)), prog_name="build.py", obj=tree)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(
        arguments, end.value.code, stdout.getvalue(), stderr.getvalue()
    )


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
