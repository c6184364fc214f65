import pytest

from connector_build import checks
from tests.packaging.checks.planting import (
    find,
    manifest,
    remove,
    rules,
    write,
)

FAULTS = {
    **{
        f"version: {version}": ("connector.json", "version", manifest("version", version))
        for version in ("1.0.0-01", "1.0.0-rc..1", "1.0.0-.")
    },
    "changelog: no heading": ("CHANGELOG.md", "", manifest("version", "1.0.1")),
    "changelog: no heading of a pre-release": (
        "CHANGELOG.md", "", manifest("version", "1.0.0-rc.1"),
    ),
    "changelog: no date": ("CHANGELOG.md", "", write("CHANGELOG.md", "## [1.0.0]\n")),
    "changelog: no day of the calendar": (
        "CHANGELOG.md", "", write("CHANGELOG.md", "## [1.0.0] - 2026-02-30\n"),
    ),
    "changelog: a dot is a dot": (
        "CHANGELOG.md", "", write("CHANGELOG.md", "## [1x0x0] - 2026-02-03\n"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(tree, case):
    find(tree, case, FAULTS[case])


@pytest.mark.parametrize(
    "heading", ["## [1.0.1-rc.1] - 2026-02-03", "## [1.0.1-rc.1] - 2024-02-29  "]
)
def test_a_pre_release_with_its_heading_is_no_fault(tree, heading):
    manifest("version", "1.0.1-rc.1")(tree)
    write("CHANGELOG.md", f"# Changelog\n\n{heading}\n\n- New.\n")(tree)
    assert checks.check(tree) == []


def test_a_missing_changelog_gives_no_version_a_date(tree):
    remove("CHANGELOG.md")(tree)
    assert rules(checks.check(tree)) == [
        ("changelog", "CHANGELOG.md"),
        ("file-missing", "CHANGELOG.md"),
    ]
