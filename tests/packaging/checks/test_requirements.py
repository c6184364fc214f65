import pytest

from connector_build import checks
from tests.packaging.checks.planting import (
    REQUESTS,
    append,
    find,
    own,
    replace,
    write,
)

NUMBERS = "[tool.connector]\nexample-numbers = ['[+]1500555000[0-9]']\n"
FAULTS = {
    "requirement: no TOML": ("pyproject.toml", "", append("pyproject.toml", b"[project\n")),
    "requirement: no project": ("pyproject.toml", "", write("pyproject.toml", NUMBERS)),
    "requirement: no requirement": (
        "pyproject.toml", "", replace("pyproject.toml", REQUESTS, "requests two"),
    ),
    "requirement: no requirement of an extra": (
        "pyproject.toml", "", replace("pyproject.toml", "aiohttp>=3.14.1,<4", "aio http"),
    ),
    **{
        f"requirement-range: {given or 'nothing'}": (
            "pyproject.toml", "dependencies",
            replace("pyproject.toml", f'"{REQUESTS}"', f'"requests{given}"'),
        )
        for given in ("", ">=2.32", "<3", "!=2.32", ">2,!=3")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


CLEAN = {
    "requirement of one version": replace("pyproject.toml", REQUESTS, "requests==2.32.2"),
    "compatible requirement": replace("pyproject.toml", REQUESTS, "requests~=2.32"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(tree, case):
    CLEAN[case](tree)
    assert own(checks.check(tree)) == []
