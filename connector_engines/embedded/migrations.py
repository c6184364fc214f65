"""Changes stores of earlier versions to this version's format, one format at a time."""

from __future__ import annotations

import json
import logging
import sqlite3
import uuid
from collections.abc import Callable

from connector_engines import bpmn

log = logging.getLogger("connector_engines.embedded")

FORMAT = 2
# A case is its row and its parts (see `connector_engines.bpmn.state`). The parts of one case are
# stored beside each other, so that a commit changes few pages.
TABLES = """
CREATE TABLE processes (key TEXT PRIMARY KEY, definition TEXT NOT NULL) STRICT;
CREATE TABLE cases (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    process TEXT NOT NULL REFERENCES processes (key),
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    due REAL,
    error TEXT,
    started REAL NOT NULL,
    changed REAL NOT NULL
) STRICT;
CREATE INDEX due ON cases (due) WHERE due IS NOT NULL;
CREATE INDEX unfinished ON cases (number) WHERE status != 'finished';
CREATE INDEX stopped ON cases (status) WHERE status IN ('interrupted', 'unreadable');
CREATE TABLE parts (
    number INTEGER NOT NULL REFERENCES cases (number),
    name TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (number, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE waits (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL REFERENCES cases (number),
    PRIMARY KEY (kind, name, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX waits_of ON waits (number);
CREATE TABLE outputs (
    identifier TEXT PRIMARY KEY,
    call TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""


def migrate(database: sqlite3.Connection, version: int) -> None:
    """Change a store of an earlier version to FORMAT, in one transaction."""
    database.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version, FORMAT):
            _STEPS[number](database)
        database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def _run(database: sqlite3.Connection, script: str) -> None:
    # `executescript` would commit the transaction.
    for statement in filter(str.strip, script.split(";")):
        database.execute(statement)


def _from_1(database: sqlite3.Connection) -> None:
    """Change format 1 to 2. Format 1 kept the whole state of a case in one text."""
    database.execute("DROP INDEX unfinished")
    for table in ("cases", "processes"):
        database.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    _run(database, TABLES)
    database.execute("INSERT INTO processes SELECT key, definition FROM old_processes")
    texts = dict(database.execute("SELECT key, definition FROM processes"))
    processes = {key: bpmn.process_of(text) for key, text in texts.items()}
    rows = database.execute(
        "SELECT id, process, name, status, state, error, started, changed FROM old_cases"
        " ORDER BY started, id"
    ).fetchall()
    for number, (case_id, key, name, kept, state, error, started, changed) in enumerate(rows, 1):
        parts, status, due, failure = {}, kept, None, error
        try:
            case = bpmn.case_of_first_format(
                case_id, processes[key], json.loads(state), started, uuid.uuid4
            )
            if error and case.error is None and kept == "failed":
                case.fault = json.loads(error)
            parts, status, due = bpmn.case_parts(case), case.status, case.due()
            failure = json.dumps(case.error) if case.error else None
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as fault:
            log.error("case %s can't be read back (%s)", case_id, type(fault).__name__)
            status = "unreadable"
            parts = {"format 1": state}
        database.execute(
            "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, case_id, key, name, status, due, failure, started, changed),
        )
        database.executemany(
            "INSERT INTO parts VALUES (?, ?, ?)",
            [(number, part, text) for part, text in parts.items()],
        )
    for table in ("cases", "processes"):
        database.execute(f"DROP TABLE old_{table}")


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1}
