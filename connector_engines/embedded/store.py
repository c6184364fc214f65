"""Stores cases in SQLite. One process owns the store; a commit is not lost in a power cut."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from connector_runtime.errors import ConnectorError, InvalidConfiguration, InvalidInput

from .migrations import FORMAT, TABLES, migrate

# "CASE" in ASCII: marks a SQLite file as a store of cases
_APPLICATION = 0x43415345
IN_HAND = -1.0
# The most cases that are read at once
_PAGE = 500


class StoreFailed(ConnectorError):
    """The store can't be written any more, so no new call begins."""

    code = "STORE_FAILED"


class StoreInUse(Exception):
    """Another process runs the cases of this store. Two processes would send messages twice."""


class Row(NamedTuple):
    """A row of the table of cases.

    `number` is its key, None before the case is stored. `due` is when the case continues by itself,
    in seconds since 1970: IN_HAND while an engine runs it, None if it waits for a person or an
    event, or is over.
    """

    number: int | None
    id: str
    process: str
    name: str
    status: str
    due: float | None
    error: str | None


class Change(NamedTuple):
    """What to write for a case: its row, its changed parts, the outputs of its sends.

    `put` maps the names of parts to their text; `delete` has names of parts to delete. `outputs`
    maps the identifier of a message to the call that made it. `waits` are the messages and signals
    that the case waits for, as (kind, name); None if they have not changed.
    """

    row: Row
    put: Mapping[str, str]
    delete: Iterable[str]
    outputs: Mapping[str, str]
    waits: Iterable[tuple[str, str]] | None


class Store:
    """The cases of one engine.

    Raise StoreInUse if another engine has the file open, and InvalidConfiguration if the file can't
    be used; then it is not changed.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        with contextlib.ExitStack() as undo, _opening(path):
            file = _file(path)
            if file.exists():
                if not os.access(file, os.R_OK | os.W_OK):
                    raise InvalidConfiguration(f"{path}: this user may not write it.")
                # With a journal, a reader can't open the file: only a writer can roll it back.
                if file.stat().st_size and not Path(f"{file}-journal").exists():
                    with contextlib.closing(_reader(file)) as database:
                        _is_empty(database, path)
            self._owner = undo.enter_context(contextlib.closing(_owned(file, path)))
            _make(file)
            self._database = undo.enter_context(contextlib.closing(_connect(file)))
            _prepare(self._database, path)
            # Cases that a killed engine was running are due at once. So are interrupted cases,
            # because their calls are looked up once more.
            self._database.execute(
                "UPDATE cases SET due = 0 WHERE due = ? OR status = 'interrupted'", (IN_HAND,)
            )
            self._path, self._file = path, file
            file_status = os.stat(file)
            self._inode = (file_status.st_dev, file_status.st_ino)
            undo.pop_all()

    def close(self) -> None:
        with self._lock:
            self._database.close()
            self._owner.close()

    def put_process(self, key: str, definition: str) -> None:
        with self._lock, self._transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO processes VALUES (?, ?)", (key, definition)
            )

    def process(self, key: str) -> str:
        with self._lock:
            row = self._database.execute(
                "SELECT definition FROM processes WHERE key = ?", (key,)
            ).fetchone()
        return str(row[0])

    def put(self, changes: Iterable[Change]) -> list[int]:
        """Commit the changes of these cases, all of them or none. Return their rows' numbers."""
        now = time.time()
        numbers = []
        with self._lock, self._transaction():
            for row, put, delete, outputs, waits in changes:
                number = self._put_row(row, now)
                numbers.append(number)
                if delete:
                    self._database.executemany(
                        "DELETE FROM parts WHERE number = ? AND name = ?",
                        [(number, name) for name in delete],
                    )
                self._database.executemany(
                    "INSERT INTO parts VALUES (?, ?, ?) ON CONFLICT (number, name) DO UPDATE"
                    " SET content = excluded.content",
                    [(number, name, text) for name, text in put.items()],
                )
                if outputs:
                    self._database.executemany(
                        "INSERT OR IGNORE INTO outputs VALUES (?, ?)", list(outputs.items())
                    )
                if waits is not None:
                    self._database.execute("DELETE FROM waits WHERE number = ?", (number,))
                    self._database.executemany(
                        "INSERT INTO waits VALUES (?, ?, ?)",
                        [(kind, name, number) for kind, name in waits],
                    )
        return numbers

    def _put_row(self, row: Row, now: float) -> int:
        if row.number is not None:
            # The id is compared too: if the case was purged, another one may have its number.
            updated = self._database.execute(
                "UPDATE cases SET status = ?, due = ?, error = ?, changed = ?"
                " WHERE number = ? AND id = ?",
                (row.status, row.due, row.error, now, row.number, row.id),
            )
            if updated.rowcount:
                return row.number
        (number,) = self._database.execute(
            "INSERT INTO cases (id, process, name, status, due, error, started, changed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
            (*row[1:], now, now),
        ).fetchone()
        return int(number)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._check_file()
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            reason = "the disk is full" if "is full" in str(error) else str(error)
            raise StoreFailed(
                f"{self._path}: {reason}. Nothing more is begun; make room or repair it, then "
                "resume."
            ) from error
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def _check_file(self) -> None:
        """Raise StoreFailed if the file was deleted or replaced: a commit to it would be lost."""
        try:
            file_status = os.stat(self._file)
        except OSError:
            file_status = None
        if file_status is None or (file_status.st_dev, file_status.st_ino) != self._inode:
            raise StoreFailed(
                f"{self._path}: the file was deleted or replaced while it was in use. Nothing more "
                "is begun; put it back and resume."
            )

    def parts(self, case: str) -> dict[str, str]:
        with self._lock:
            return dict(
                self._database.execute(
                    "SELECT parts.name, content FROM parts JOIN cases USING (number) WHERE id = ?",
                    (case,),
                )
            )

    def output(self, identifier: str) -> str | None:
        """Return the call that this output belongs to, or None."""
        with self._lock:
            row = self._database.execute(
                "SELECT call FROM outputs WHERE identifier = ?", (identifier,)
            ).fetchone()
        return row and str(row[0])

    def waiting(self, kind: str, name: str) -> list[str]:
        """Return the cases that wait for a message or a signal, the oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id FROM waits JOIN cases USING (number)"
                " WHERE kind = ? AND waits.name = ? ORDER BY number",
                (kind, name),
            ).fetchall()
        return [case for (case,) in rows]

    def unreadable(self) -> list[str]:
        with self._lock:
            rows = self._database.execute("SELECT id FROM cases WHERE status = 'unreadable'")
            return [case for (case,) in rows]

    def purge(self, before: float) -> int:
        """Delete the cases that finished before this time (seconds since 1970); return how many."""
        with self._lock, self._transaction():
            chosen = "SELECT number FROM cases WHERE status = 'finished' AND changed < ?"
            for table in ("parts", "waits"):
                self._database.execute(
                    f"DELETE FROM {table} WHERE number IN ({chosen})",  # noqa: S608 - our own names
                    (before,),
                )
            return self._database.execute(
                "DELETE FROM cases WHERE status = 'finished' AND changed < ?", (before,)
            ).rowcount

    def processes(self) -> list[str]:
        """Return the keys of all processes, the oldest first."""
        with self._lock:
            return [
                key for (key,) in self._database.execute("SELECT key FROM processes ORDER BY rowid")
            ]

    def put_error(self, case: str, status: str, error: str | None) -> None:
        """Commit why a case stopped, without a change of its parts."""
        with self._lock, self._transaction():
            self._database.execute(
                "UPDATE cases SET status = ?, due = NULL, error = ?, changed = ? WHERE id = ?",
                (status, error, time.time(), case),
            )

    def row(self, case: str) -> Row | None:
        with self._lock:
            row = self._database.execute(
                "SELECT number, id, process, name, status, due, error FROM cases WHERE id = ?",
                (case,),
            ).fetchone()
        return Row(*row) if row else None

    def unfinished(self) -> Iterator[Row]:
        """Yield the cases that are not finished, the oldest first. They are read page by page."""
        last = -1
        while True:
            with self._lock:
                rows = self._database.execute(
                    "SELECT number, id, process, name, status, due, error FROM cases"
                    " WHERE status != 'finished' AND number > ? ORDER BY number LIMIT ?",
                    (last, _PAGE),
                ).fetchall()
            yield from (Row(*row) for row in rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def count_unfinished(self) -> int:
        with self._lock:
            return int(
                self._database.execute(
                    "SELECT count(*) FROM cases WHERE status != 'finished'"
                ).fetchone()[0]
            )

    def due(self, now: float, most: int) -> tuple[list[str], float | None]:
        """Return the ids of at most `most` cases that are due, and when the next case is due."""
        with self._lock:
            ids = self._database.execute(
                "SELECT id FROM cases WHERE due BETWEEN 0 AND ? ORDER BY due LIMIT ?", (now, most)
            ).fetchall()
            (later,) = self._database.execute(
                "SELECT min(due) FROM cases WHERE due > ?", (now,)
            ).fetchone()
        return [case for (case,) in ids], later


def listing(
    path: Path, *, status: str | None = None, after: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the cases of a store, the oldest first, even while an engine has it open.

    Each case is a dictionary with id, name, status, error (JSON text or None), started and changed
    (seconds since 1970). `status` selects cases; only those after the case with the id `after` are
    returned. Nothing is written. Raise InvalidConfiguration if there is no store at `path`, and
    InvalidInput if there is no case `after`.
    """
    columns = ("number", "id", "name", "status", "error", "started", "changed")
    query = (
        f"SELECT {', '.join(columns)} FROM cases WHERE number > :last"  # noqa: S608 - our own names
        " AND (:status IS NULL OR status = :status) ORDER BY number LIMIT :most"
    )
    with _opening(path), contextlib.closing(_reader(existing(path))) as database:
        if _is_empty(database, path):
            raise _no_store(path)
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version < FORMAT:
            raise InvalidConfiguration(
                f"{path}: it is a store of format {version}; 'resume' brings it to {FORMAT}."
            )
        last = 0
        if after is not None:
            row = database.execute("SELECT number FROM cases WHERE id = ?", (after,)).fetchone()
            if row is None:
                raise InvalidInput(f"there is no case '{after}'.")
            (last,) = row
        while True:
            values = {"last": last, "status": status, "most": _PAGE}
            rows = database.execute(query, values).fetchall()
            for row in rows:
                yield dict(zip(columns[1:], row[1:], strict=True))
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]


def existing(path: Path) -> Path:
    """Return the file of a store. Raise InvalidConfiguration if there is no store."""
    with _opening(path):
        file = _file(path)
        if not file.exists() or not file.stat().st_size:
            raise _no_store(path)
    return file


def _no_store(path: Path) -> InvalidConfiguration:
    return InvalidConfiguration(f"{path}: there is no such store of cases.")


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Turn errors of the disk and of SQLite into InvalidConfiguration with the file's path."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidConfiguration(f"{path}: it can't be opened as cases: {reason}.") from error


def _file(path: Path) -> Path:
    """Return the real path of a store's file. The lock is next to that file."""
    file = Path(os.path.realpath(path))
    if os.path.lexists(file):
        if not file.is_file():
            raise InvalidConfiguration(f"{path}: it is not a file.")
        if file.stat().st_nlink > 1:
            # SQLite names its journal after the file, so it would not find the journal if the file
            # is opened by its other name.
            raise InvalidConfiguration(
                f"{path}: the file has several names (hard links), so another process could open "
                "it by another name. Use a file with one name."
            )
    return file


def _owned(file: Path, path: Path) -> sqlite3.Connection:
    """Lock the cases for this process. The lock ends with the connection or the process."""
    lock = Path(f"{file}-owner")
    _make(lock)
    owner = _connect(lock)
    try:
        owner.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        owner.close()
        if "locked" in str(error):
            raise StoreInUse(f"{path}: another process has these cases open.") from error
        raise
    return owner


def _make(file: Path) -> None:
    """Create a file that only its owner may read. SQLite's journal gets the same permissions."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))


def _connect(file: Path, options: str = "mode=rw") -> sqlite3.Connection:
    # Transactions are begun explicitly, and `Store` has a lock of its own.
    return sqlite3.connect(
        f"{file.as_uri()}?{options}",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
    )


def _reader(file: Path) -> sqlite3.Connection:
    # If no process has the file open, SQLite would create files next to it, even for a reader.
    # `immutable` prevents that.
    quiet = not Path(f"{file}-wal").exists() and not Path(f"{file}-journal").exists()
    database = _connect(file, "immutable=1" if quiet else "mode=ro")
    database.execute("PRAGMA busy_timeout = 5000")
    return database


def _is_empty(database: sqlite3.Connection, path: Path) -> bool:
    """Tell whether the database is empty. Raise InvalidConfiguration if it is not a store."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != _APPLICATION:
        raise InvalidConfiguration(f"{path}: it is a database, but not a store of cases.")
    if version > FORMAT:
        raise InvalidConfiguration(
            f"{path}: it is a store of format {version}; this engine knows them up to {FORMAT}. "
            "Use a newer version."
        )
    return False


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    database.execute("PRAGMA busy_timeout = 5000")
    # With NORMAL, a power cut could remove the record that a send had begun, and it would be sent
    # twice.
    database.execute("PRAGMA synchronous = FULL")
    if _is_empty(database, path):
        # Do this before the journal mode changes: otherwise a reader could see a file without its
        # format.
        database.executescript(
            f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {_APPLICATION};"
            f" PRAGMA user_version = {FORMAT}; COMMIT;"
        )
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version < FORMAT:
        migrate(database, version)
    database.execute("PRAGMA journal_mode = WAL")
