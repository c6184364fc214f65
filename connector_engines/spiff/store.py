"""Cases on disk: SQLite, owned by one process at a time, every commit safe from a power cut."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

_FORMAT = 1
_TABLES = """
CREATE TABLE processes (key TEXT PRIMARY KEY, definition TEXT NOT NULL) STRICT;
CREATE TABLE cases (
    id TEXT PRIMARY KEY,
    process TEXT NOT NULL REFERENCES processes (key),
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    started REAL NOT NULL,
    changed REAL NOT NULL
) STRICT;
CREATE INDEX unfinished ON cases (started) WHERE status != 'finished';
"""


class StoreInUse(Exception):
    """Another process runs the cases of this store: two would send everything twice."""


class Row(NamedTuple):
    """One case as it is kept: `state` and `error` are JSON text."""

    id: str
    process: str
    name: str
    status: str
    state: str
    error: str | None


class Store:
    """The cases of one engine. Raise StoreInUse while another engine has them open."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._owner = _connect(Path(f"{path}-owner"))
        try:
            # Held until this process ends, however it ends.
            self._owner.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._owner.close()
            raise StoreInUse(f"{path}: another process has these cases open.") from error
        self._database = _open(path)

    def close(self) -> None:
        with self._lock:
            self._database.close()
            self._owner.close()

    def put_process(self, key: str, definition: str) -> None:
        with self._lock:
            self._database.execute(
                "INSERT OR IGNORE INTO processes VALUES (?, ?)", (key, definition)
            )

    def process(self, key: str) -> str:
        with self._lock:
            found = self._database.execute(
                "SELECT definition FROM processes WHERE key = ?", (key,)
            ).fetchone()
        return str(found[0])

    def has(self, case: str) -> bool:
        with self._lock:
            found = self._database.execute("SELECT 1 FROM cases WHERE id = ?", (case,)).fetchone()
        return found is not None

    def put(self, rows: Iterable[Row]) -> None:
        """Commit the state of these cases, all of them or none."""
        now = time.time()
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(
                    "INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                    " SET status = excluded.status, state = excluded.state,"
                    " error = excluded.error, changed = excluded.changed",
                    [(*row, now, now) for row in rows],
                )
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise

    def put_error(self, case: str, status: str, error: str | None) -> None:
        """Commit why a case stopped, and leave its state as it was kept last."""
        with self._lock:
            self._database.execute(
                "UPDATE cases SET status = ?, error = ?, changed = ? WHERE id = ?",
                (status, error, time.time(), case),
            )

    def unfinished(self) -> list[Row]:
        with self._lock:
            rows = self._database.execute(
                "SELECT id, process, name, status, state, error FROM cases"
                " WHERE status != 'finished' ORDER BY started, id"
            ).fetchall()
        return [Row(*row) for row in rows]


def listing(path: Path) -> Iterator[dict[str, Any]]:
    """Give every case of a store, the oldest first, without taking it from who runs them."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such store of cases")
    database = _open(path)
    try:
        columns = ("id", "name", "status", "error", "started", "changed")
        query = f"SELECT {', '.join(columns)} FROM cases ORDER BY started, id"  # noqa: S608
        for row in database.execute(query):
            yield dict(zip(columns, row, strict=True))
    finally:
        database.close()


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are begun by hand, and `Store` has a lock of its own.
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _open(path: Path) -> sqlite3.Connection:
    database = _connect(path)
    try:
        database.execute("PRAGMA busy_timeout = 5000")
        database.execute("PRAGMA journal_mode = WAL")
        # Not NORMAL: a power cut would undo the note that a send had begun, and send it again.
        database.execute("PRAGMA synchronous = FULL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_FORMAT}; COMMIT;"
            )
        elif version != _FORMAT:
            raise ValueError(
                f"{path}: it is a store of format {version}; this engine has {_FORMAT}"
            )
    except BaseException:
        database.close()
        raise
    return database
