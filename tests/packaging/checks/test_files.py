import pytest

from connector_build import checks
from connector_runtime import archive
from tests.packaging.checks.planting import (
    LOOK_UP,
    PLANTED,
    append,
    code,
    find,
    own,
    remove,
    rules,
    write,
)

FAULTS = {
    "file-missing: connector.json": ("connector.json", "", remove("connector.json")),
    "file-missing: icon.png": ("icon.png", "", remove("icon.png")),
    "file-missing: LICENSE": ("LICENSE", "", remove("LICENSE")),
    "file-missing: pyproject.toml": ("pyproject.toml", "", remove("pyproject.toml")),
    "file-stray: no code": ("actions/notes.txt", "", write("actions/notes.txt", "")),
    "file-stray: too deep": ("auth/more/x.py", "", write("auth/more/x.py", "")),
    "file-name: upper case": ("auth/Planted.py", "", write("auth/Planted.py", "")),
    "file-name: dot": ("auth/planted.en.json", "", write("auth/planted.en.json", "{}")),
    "text-encoding: CHANGELOG": ("CHANGELOG.md", "", append("CHANGELOG.md", b"caf\xe9\n")),
    "text-encoding: JSON": ("auth/x.json", "", write("auth/x.json", b'{"x": "caf\xe9"}')),
    "text-encoding: Python that says so": (
        PLANTED, "", write(PLANTED, b"# coding: latin-1\nx = 'caf\xe9'\n"),
    ),
    "size: one file": (
        "auth/x.json", "", write("auth/x.json", b"[]".ljust(archive.MOST_BYTES_OF_A_MEMBER + 1)),
    ),
    "size: too many files": (
        "(package)", "",
        lambda tree: [write(f"auth/x{n}.json", "{}")(tree) for n in range(archive.MOST_MEMBERS)],
    ),
    "text-encoding: drawing": ("icon.svg", "", write("icon.svg", b"<svg>\xff</svg>")),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


CLEAN = {
    "helper among the handlers": write("actions/_planted.py", ""),
    "compiled code": write("actions/__pycache__/send_sms.cpython-312.pyc", b"\0"),
    "line ends of Windows": lambda tree: [
        (tree / name).write_bytes((tree / name).read_bytes().replace(b"\n", b"\r\n"))
        for name in ("README.md", "connector.json", "schemas/manifest.json", LOOK_UP)
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(checks.check(tree)) == []


def test_a_missing_file_does_not_hide_the_rest(tree):
    remove("connector.json")(tree)
    remove("CHANGELOG.md")(tree)
    code("from .nothing import x")(tree)
    assert rules(checks.check(tree)) == [
        ("file-missing", "CHANGELOG.md"),
        ("import-outside", PLANTED),
        ("file-missing", "connector.json"),
    ]
