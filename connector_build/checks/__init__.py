"""The checks before a build. They only read: no code of the connector is imported or run.

One module for each subject, with tests of the same name. Each adds to one list, so that the author
sees every fault at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ..findings import TIERS, Finding
from ..targets import TARGETS
from . import (
    actions,
    code,
    documents,
    files,
    globals,
    icon,
    manifest,
    requirements,
    schemas,
    secrets,
    tree,
    versions,
)

# With one of these, the files that are made from manifest and schemas can't be checked.
_UNREADABLE = {"file-missing", "json", "text-encoding", "schema-missing", "schema-invalid", "icon"}
_UNREADABLE |= {"schema-strict", "field-description", "field-example"}


def check(root: Path) -> list[Finding]:
    """Return every fault of the source tree, the worst first."""
    read = tree.read(root)
    findings: list[Finding] = []
    for concern in (files, documents, secrets, requirements, code):
        findings += concern.check(read)
    if "connector.json" in read.documents:
        findings += manifest.check(read)
        if not any(finding.rule == "manifest" for finding in findings):
            for concern in (actions, schemas, globals, versions, icon):
                findings += concern.check(read)
            findings += secrets.check_names(read)
            if not any(finding.rule in _UNREADABLE for finding in findings):
                for target in TARGETS:
                    if target.has_sources(root):
                        findings += target.check(root)
    return sorted(
        findings, key=lambda finding: (TIERS.index(finding.tier), finding[2:4], finding[1])
    )


def as_json(findings: Iterable[Finding]) -> str:
    """Write the findings as JSON, for editors and pipelines."""
    return json.dumps([finding._asdict() for finding in findings], indent=2, ensure_ascii=False)
