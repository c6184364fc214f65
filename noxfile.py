"""`nox`: the tests on every Python that is here, and once with the lowest versions allowed.

`nox --list` shows the sessions. `nox --session tests -- tests/runtime` runs a part.
"""

from __future__ import annotations

import re
from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
ROOT = Path(__file__).parent
USERS = ("sandbox", "proxy", "spiff", "signing", "build", "temporal")  # extras that users have
# Schemathesis and the tools of the documentation ask for later versions of some themselves.
TOOLS = ("pytest", "pytest-xdist", "filelock", "hypothesis", "responses", "trustme", "twilio")
PARTS = (
    "tests/runtime",
    "tests/actions",
    "tests/auth",
    "tests/engines",
    "tests/packaging",
    "--ignore=tests/engines/test_proxy_schema.py",
    "--ignore=tests/packaging/test_install.py",
)

nox.options.sessions = ["look", "tests", "lowest"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install("--quiet", "--editable", ".[test]")
    session.run("pytest", "--numprocesses", "2", *session.posargs)


@nox.session(python="3.10")
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest version of each requirement that users have."""
    path = Path(session.create_tmp(), "lowest.txt")
    path.write_text("\n".join(_lowest()) + "\n", "utf-8")
    extras = ",".join(USERS)
    session.install("--quiet", "--editable", f".[{extras}]", *TOOLS, "--constraint", str(path))
    session.run("pytest", "--numprocesses", "2", *(session.posargs or PARTS))


@nox.session
def look(session: nox.Session) -> None:
    """Run what looks at each commit on all files, and make the documentation."""
    session.install("--quiet", "--editable", ".[dev]")
    session.run("pre-commit", "run", "--all-files", "--show-diff-on-failure")
    session.run("python", "docs/generate.py", "--check")
    session.run("mkdocs", "build", "--strict")


def _lowest() -> list[str]:
    """Return a constraint for each requirement of users: exactly its lower bound."""
    project = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    of_users = ("sandbox", "proxy", "spiff", "signing", "build", "temporal")
    lines = [
        *project["dependencies"],
        *(line for name in of_users for line in extras.get(name, ())),
    ]
    bounds = [re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?>=([0-9.]+)", line) for line in lines]
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]
