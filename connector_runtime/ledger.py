"""Keys of calls that write, on disk, so that each key's call is carried out at most once.

    free      nothing was done: it was refused, or not sent. It may be tried again
    begun     committed before the first byte is sent; `owner` says by which process
    unknown   it ended, and nobody knows whether it was done
    done      `identifier` names what it made

Each owner holds a lock on a file, which the operating system releases when its process ends, for
whatever reason. So the lock tells whether the owner still runs. Where it does not, a `begun` row is
looked up when its key is used next. The ledger holds no input, only a keyed hash of it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import hmac
import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InvalidConfiguration, InvalidInput, LedgerFailed, OutcomeUnknown
from .resolution import Claim

log = logging.getLogger("connector_runtime")

_APPLICATION = 0x4C454447  # "LEDG": tells a ledger from the databases of others
_FORMAT = 1
_TABLES = """
CREATE TABLE secret (value BLOB NOT NULL) STRICT;
CREATE TABLE calls (
    key TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    input BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('free', 'begun', 'unknown', 'done')),
    owner TEXT,
    began REAL NOT NULL,
    changed REAL NOT NULL,
    identifier TEXT,
    candidates TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX made ON calls (action, identifier) WHERE identifier IS NOT NULL;
CREATE INDEX same ON calls (input, state);
CREATE INDEX old ON calls (changed);
"""
_POLL_SECONDS = 0.05
_LONGEST_POLL_SECONDS = 0.5
_SAME_TIME_SECONDS = 600.0  # identical calls that began within it may have made each other's record
_DAY_SECONDS = 86400.0
_MOST_KEY_CHARACTERS = 255


class Entry(NamedTuple):
    """One key: `began` and `changed` are seconds since 1970, `candidates` identifiers."""

    key: str
    action: str
    state: str
    began: float
    changed: float
    identifier: str | None
    candidates: tuple[str, ...]


class Ledger:
    """A file of keys. Any number of threads and processes may use it at once.

    Entries that did not change for `keep_days` are deleted. Raise InvalidConfiguration for a file
    that can't be used.
    """

    def __init__(self, path: str | os.PathLike[str], keep_days: float) -> None:
        self._path = Path(os.path.realpath(path))
        self._keep_seconds = keep_days * _DAY_SECONDS
        self._lock = threading.RLock()
        self._busy: dict[str, threading.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        with contextlib.ExitStack() as undo:
            try:
                _make(self._path)
                self._database = undo.enter_context(contextlib.closing(_connected(self._path)))
                _prepare(self._database, self._path)
                (secret,) = self._database.execute("SELECT value FROM secret").fetchone()
                self._owner = uuid.uuid4().hex
                owner_file = _owner_file(self._path, self._owner)
                # In one transaction: no other process must see the row before the file is locked.
                self._database.execute("BEGIN IMMEDIATE")
                self._forget()
                self._clear_away()
                _make(owner_file)
                self._owned = undo.enter_context(contextlib.closing(_connected(owner_file)))
                self._owned.execute("BEGIN EXCLUSIVE")
                self._database.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                reason = getattr(error, "strerror", None) or error
                raise InvalidConfiguration(
                    f"{self._path}: it can't be opened as a ledger: {reason}."
                ) from error
            undo.pop_all()
        self._secret: bytes = secret

    def close(self) -> None:
        with self._lock:
            self._database.close()
            self._owned.close()
            if self._process == os.getpid():
                _owner_file(self._path, self._owner).unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Let no other thread of this ledger use a key meanwhile."""
        if not isinstance(key, str) or not key.strip() or len(key) > _MOST_KEY_CHARACTERS:
            raise InvalidInput(f"'key' must be text of 1 to {_MOST_KEY_CHARACTERS} characters.")
        with self._lock:
            lock = self._busy.setdefault(key, threading.Lock())
            self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                self._waiting[key] -= 1
                if not self._waiting[key]:
                    del self._waiting[key], self._busy[key]

    def hash(self, same: bytes) -> bytes:
        return hmac.digest(self._secret, same, hashlib.sha256)

    def begin(
        self, key: str, action: str, input_hash: bytes, wait: Callable[[float], bool]
    ) -> Entry:
        """Take a key, and return what it was before; 'free' when it is new.

        Afterwards it is 'begun' by this process, committed to disk, unless it is 'done'. Wait for
        another process that has begun it. Raise InvalidInput for a key of another call,
        OutcomeUnknown when the waiting is ended before that process has, and LedgerFailed when it
        can't be written; nothing must be sent then.
        """
        pause = _POLL_SECONDS
        while True:
            with self._transaction("before the request was sent, so nothing was sent"):
                row = self._row(key)
                if row is not None and (row["action"], row["input"]) != (action, input_hash):
                    raise InvalidInput(
                        "'key' was used before for another call. A key belongs to one action with "
                        "one input."
                    )
                before = _entry(row) if row is not None else None
                if before is None:
                    before = Entry(key, action, "free", 0.0, 0.0, None, ())
                if before.state == "done":
                    return before
                owner = row["owner"] if row is not None else None
                # Begun by this process, whose threads `alone` keeps apart: its end could not be
                # written. Nobody owns what is free, or unknown.
                if owner == self._owner or not self._lives(owner):
                    began = time.time() if before.state == "free" else before.began
                    self._take(key, action, input_hash, began)
                    return before
            if wait(pause):
                raise OutcomeUnknown(
                    f"{action} is under way in another process with this key, and this connection "
                    "was closed before that process had ended.",
                    hint="Ask again with the same key.",
                )
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)

    def again(self, key: str) -> None:
        """Note that the call of a key is begun again now."""
        with self._transaction("before the request was sent again, so nothing was sent"):
            self._database.execute(
                "UPDATE calls SET began = ?, changed = ? WHERE key = ?",
                (time.time(), time.time(), key),
            )

    def end(
        self, key: str, state: str, identifier: str | None = None, candidates: tuple[str, ...] = ()
    ) -> bool:
        """Note how the call of a key ended; False when `identifier` belongs to another key.

        A failure to write is logged and raises nothing: the row stays 'begun', and is looked up.
        """
        try:
            with self._lock:
                self._current()
                # A power cut may undo this: the key is then looked up. The row that matters is the
                # one that was committed before the request left.
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.execute(
                    "UPDATE calls SET state = ?, owner = NULL, changed = ?, identifier = ?,"
                    " candidates = ? WHERE key = ?",
                    (state, time.time(), identifier, " ".join(candidates), key),
                )
        except sqlite3.IntegrityError:
            return False
        except sqlite3.Error as error:
            log.error("the ledger could not be written after a call (%s): %s", state, error)
        return True

    def entry(self, key: str) -> Entry:
        """Return a key's entry, or raise InvalidInput."""
        with self._lock:
            self._current()
            row = self._row(key)
        if row is None:
            raise InvalidInput("the ledger has no such key.")
        return _entry(row)

    def release(self, key: str) -> None:
        """Let the call of a key be tried again: somebody knows that it made nothing."""
        if self.entry(key).state == "done":
            raise InvalidInput("the call of this key was carried out, so it can't be tried again.")
        if self.is_under_way(key):
            raise InvalidInput("the call of this key is under way in another process.")
        self.end(key, "free")

    def claim(self, key: str, action: str, input_hash: bytes, began: float) -> Claim:
        """Return what the ledger knows of calls that could have made the record of this one."""

        def is_taken(identifier: str) -> bool:
            return self._one(
                "SELECT 1 FROM calls WHERE action = ? AND identifier = ? AND key != ?",
                (action, identifier, key),
            )

        def rivals() -> list[str | None]:
            with self._lock:
                self._current()
                rows = self._database.execute(
                    "SELECT owner FROM calls WHERE input = ? AND state IN ('begun', 'unknown')"
                    " AND key != ? AND abs(began - ?) <= ?",
                    (input_hash, key, began, _SAME_TIME_SECONDS),
                ).fetchall()
            return [row["owner"] for row in rows]

        def is_contested() -> bool:
            return any(owner != self._owner and self._lives(owner) for owner in rivals())

        def others() -> int:
            return sum(owner != self._owner for owner in rivals())

        return Claim(is_taken, is_contested, others)

    def entries(self, states: tuple[str, ...] = ("begun", "unknown")) -> list[Entry]:
        """Return the entries in these states, the oldest first."""
        marks = ", ".join("?" * len(states))
        with self._lock:
            self._current()
            rows = self._database.execute(
                f"SELECT * FROM calls WHERE state IN ({marks}) ORDER BY began",  # noqa: S608
                states,
            ).fetchall()
        return [_entry(row) for row in rows]

    def is_under_way(self, key: str) -> bool:
        """Tell whether a process that still runs has begun the call of this key."""
        with self._lock:
            self._current()
            row = self._row(key)
        return row is not None and row["state"] == "begun" and self._lives(row["owner"])

    def _one(self, query: str, values: tuple[Any, ...]) -> bool:
        with self._lock:
            self._current()
            return self._database.execute(query, values).fetchone() is not None

    def _row(self, key: str) -> Any:
        return self._database.execute("SELECT * FROM calls WHERE key = ?", (key,)).fetchone()

    def _take(self, key: str, action: str, input_hash: bytes, began: float) -> None:
        self._database.execute(
            "INSERT INTO calls (key, action, input, state, owner, began, changed)"
            " VALUES (?, ?, ?, 'begun', ?, ?, ?) ON CONFLICT (key) DO UPDATE SET state = 'begun',"
            " owner = excluded.owner, began = excluded.began, changed = excluded.changed",
            (key, action, input_hash, self._owner, began, time.time()),
        )

    def _current(self) -> None:
        if self._process != os.getpid():  # a fork: SQLite's connections must not be shared
            self._open()

    @contextlib.contextmanager
    def _transaction(self, when: str) -> Iterator[None]:
        with self._lock:
            self._current()
            try:
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._database.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):
                        self._database.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise LedgerFailed(
                    f"the ledger '{self._path}' could not be written {when}: {error}."
                ) from error

    def _forget(self) -> None:
        self._database.execute(
            "DELETE FROM calls WHERE changed < ?", (time.time() - self._keep_seconds,)
        )

    def _clear_away(self) -> None:
        """Delete the lock files of owners whose process has ended."""
        for file in self._path.parent.glob(f"{glob.escape(self._path.name)}-owner-*"):
            if not self._lives(file.name.rpartition("-")[2]):
                file.unlink(missing_ok=True)

    def _lives(self, owner: str | None) -> bool:
        """Tell whether an owner's process still runs."""
        if owner is None:
            return False
        if owner == self._owner:
            return True
        file = _owner_file(self._path, owner)
        if not file.exists():
            return False
        try:
            with contextlib.closing(_connected(file, seconds=0)) as other:
                other.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return True
            if file.exists():
                raise
        return False


def _entry(row: Any) -> Entry:
    return Entry(
        row["key"],
        row["action"],
        row["state"],
        row["began"],
        row["changed"],
        row["identifier"],
        tuple(row["candidates"].split()),
    )


def _owner_file(path: Path, owner: str) -> Path:
    return path.with_name(f"{path.name}-owner-{owner}")


def _make(file: Path) -> None:
    """Make a file that only its owner may read; SQLite gives those beside it the same rights."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))


def _connected(file: Path, seconds: float = 10) -> sqlite3.Connection:
    database = sqlite3.connect(
        f"{file.as_uri()}?mode=rw",
        uri=True,
        timeout=seconds,
        isolation_level=None,  # transactions are begun explicitly
        check_same_thread=False,  # `Ledger` has a lock of its own
    )
    database.row_factory = sqlite3.Row
    return database


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    (journal,) = database.execute("PRAGMA journal_mode").fetchone()
    database.execute("BEGIN IMMEDIATE")
    try:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version, tables) == (0, 0, 0):
            for statement in _TABLES.split(";")[:-1]:
                database.execute(statement)
            database.execute("INSERT INTO secret VALUES (?)", (os.urandom(32),))
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_FORMAT}")
        elif application != _APPLICATION:
            raise InvalidConfiguration(f"{path}: it is a database, but not a ledger.")
        elif version != _FORMAT:
            raise InvalidConfiguration(
                f"{path}: it is a ledger of format {version}; this runtime has {_FORMAT}."
            )
    finally:
        database.execute("COMMIT")
    if journal != "wal":
        database.execute("PRAGMA journal_mode = WAL")
