import sys

import pytest

from connector_build import checks
from tests.packaging.checks.planting import (
    PLANTED,
    SAYS_WHAT_TO_DO,
    code,
    find,
    own,
    write,
)

BAD_IMPORTS = {
    "of the package by its bare name": "from actions import send_sms",
    "of what is not packaged": "from connector_build import check",
    "that leaves the package": "from .. import auth",
    "that leaves the package by name": "from ...elsewhere.deep import thing",
    "in a function": "def f(): from .nothing import x",
    "guarded": "try: from . import nothing\nexcept ImportError: pass",
    "of no module beside it": "from .nothing import x",
    "of nothing in its own folder": "from . import nothing",
    "of no module of the runtime": "import connector_runtime.nothing",
    "from no module of the runtime": "from connector_runtime.nothing import x",
    "of nothing in the runtime": "from connector_runtime import nothing",
    "second of two": "import json, connector_runtime.nothing",
    "of the tests": "import tests.conftest",
}


FAULTS = {
    "handler-syntax: handler": (
        "actions/send_sms.py", "line 2", write("actions/send_sms.py", "x = 1\ndef run(:\n"),
    ),
    "handler-syntax: helper": (PLANTED, "line 2", code("x ="),),
    "handler-syntax: null character": (PLANTED, "line 1", write(PLANTED, b"\0")),
    **({  # Python 3.10 and 3.14 can read such a sum
        "handler-syntax: sum of thousands": (PLANTED, "line 1", code("x = " + "+1" * 50_000)),
    } if (3, 11) <= sys.version_info < (3, 14) else {}),
    "handler-syntax: minus upon minus": (PLANTED, "line 1", code("x = " + "-" * 50_000 + "1")),
    "import-outside: beside it": (
        PLANTED, "line 2", code(BAD_IMPORTS["of no module beside it"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


CLEAN = {
    "imports that are allowed": code(
        "import json, requests.adapters, pandas\nfrom connector_runtime import errors\n"
        "from . import connect, planted, explain as e\nfrom .planted import x\nfrom . import *\n"
        "import connector_runtime.schema\nfrom connector_runtime import load\n"
    ),
    "sum of a thousand": code("x = " + "+".join(["1"] * 1500)),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(checks.check(tree)) == []


def test_every_kind_of_it_is_found(tree):
    files = {f"auth/{kind.replace(' ', '_')}.py": kind for kind in BAD_IMPORTS}
    for file, kind in files.items():
        write(file, f'"""Planted."""\n{BAD_IMPORTS[kind]}\n')(tree)
    findings = checks.check(tree)
    assert [(finding.rule, finding.file, finding.place) for finding in findings] == [
        ("import-outside", file, "line 2") for file in sorted(files)
    ]
    assert all(SAYS_WHAT_TO_DO.search(finding.message) for finding in findings)
