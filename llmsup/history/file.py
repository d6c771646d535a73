"""The one SQLite file: opened, replaced if it is damaged, given up for memory where it can't be had.

It is written in one transaction a batch, in WAL mode: a batch is there as a whole or not at all, also after a power
cut. SQLite's exclusive lock makes it one server's; a second one on the same `state_dir` remembers in memory, until it
gets the file. All methods block: they are for one thread at a time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from . import looks, tables
from .rows import Bucket, Happened, RequestRow, Sample
from .tables import TABLES, VERSION, Batch

PATIENCE = 0.2
"""Seconds to wait for the file's lock."""

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
TAKEN = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Taken(Exception):
    """Another process has the file."""


@frozen
class Said:
    """A line for the log."""

    level: int
    text: str


class HistoryFile:
    """The file, or what stands for it in memory.

    Attributes:
        path: Where it is.
        taken: Another process has it, so this is in memory.
        said: What there is to say of it: taken out by whoever can say it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken = False
        self.said: list[Said] = []
        self._db: sqlite3.Connection | None = None
        self._failing = False

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._db is not None

    def open(self) -> None:
        """Open it, or begin it anew; where that can't be, remember in memory."""
        try:
            self._db = self._opened()
        except Taken:
            self.taken = True
            what = "this one remembers in memory, until it gets the file"
            self._warn(f"another llmsup writes its history to {self.path}: {what}")
        except (OSError, sqlite3.Error) as error:
            self._warn(f"the history can't be written to {self.path}, and is kept in memory only: {error}")
        if self._db is None:
            self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._db.executescript(TABLES)

    def close(self) -> None:
        """Close it."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def write(self, batch: Batch, now: float, keep: float) -> None:
        """Write a batch and forget what is older than `keep` seconds. If it can't be written, it is lost: that is said
        once, and so is that it works again.
        """
        if self.taken:
            self._take_over()
        try:
            with self._transaction() as db:
                tables.write(db, batch, now)
                tables.prune(db, now, keep)
        except sqlite3.Error as error:
            if _code(error) in DAMAGE:
                self.close()
                self._set_aside(str(error))
                self.open()
            elif not self._failing:
                self._failing = True
                self._warn(f"the history isn't kept while {self.path} can't be written to: {error}")
        else:
            if self._failing:
                self._failing = False
                self._say("the history is kept again")

    def time(self, begin: float, end: float) -> tuple[list[Sample], list[Happened], int, list[Bucket]]:
        """What was from `begin` to `end`: samples; the last things that happened, and how many more; requests."""
        try:
            db = self._there
            happened, left_out = looks.happened(db, begin, end)
            return looks.samples(db, begin, end), happened, left_out, looks.buckets(db, begin, end)
        except (sqlite3.Error, ValueError):  # damaged where it wasn't looked at; the next write finds that, too
            return [], [], 0, []

    def last_requests(self) -> list[RequestRow]:
        """The last requests, oldest first."""
        try:
            return looks.last_requests(self._there)
        except (sqlite3.Error, ValueError):
            return []

    def _say(self, text: str) -> None:
        self.said.append(Said(logging.INFO, text))

    def _warn(self, text: str) -> None:
        self.said.append(Said(logging.WARNING, text))

    @property
    def _there(self) -> sqlite3.Connection:
        assert self._db is not None
        return self._db

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._there
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back by itself
                db.execute("ROLLBACK")
            raise

    def _opened(self) -> sqlite3.Connection:
        """Raises Taken; OSError or sqlite3.Error: it can't be opened."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.path.exists():
            self._say(f"the history begins in {self.path}")
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # it says who asked when
        try:
            return self._connected()
        except sqlite3.Error as error:
            if _code(error) in TAKEN:
                raise Taken from None
            if _code(error) not in DAMAGE:
                raise
            self._set_aside(str(error))
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        return self._connected()

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL"):
                db.execute(f"PRAGMA {pragma}")
            db.execute("PRAGMA wal_autocheckpoint = 200")  # pages: the log stays under 1 MB
            db.execute("PRAGMA journal_size_limit = 0")
            db.execute("BEGIN EXCLUSIVE")
            _make_sure(db)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, why: str) -> None:
        """Rename a damaged file, in place of the one before; what SQLite keeps beside it goes with it."""
        aside = self.path.with_name(f"{self.path.name}.damaged")
        for end in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{end}", f"{aside}{end}")
        why = " ".join(why.split())
        self._warn(f"the history in {self.path} can't be read ({why}): it begins anew; the old file is {aside}")

    def _take_over(self) -> None:
        """Take the file if it is free by now, with what was remembered in the meantime."""
        try:
            db = self._opened()
        except (Taken, OSError, sqlite3.Error):
            return
        before, self._db, self.taken = self._there, db, False
        with contextlib.suppress(sqlite3.Error), self._transaction():
            _copy(before, db)
        before.close()
        self._say(f"the other llmsup has ended: the history is written to {self.path}")


def _make_sure(db: sqlite3.Connection) -> None:
    """See that the tables are there and sound. Raises sqlite3.DatabaseError with the code of a damaged file."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        for statement in TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    elif version != VERSION:
        raise _damaged(f"it is of version {version}, and this llmsup writes version {VERSION}")
    elif (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise _damaged(str(found))


def _copy(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    for sample in looks.every_sample(old):
        tables.put_sample(new, sample)
    columns = "at, event, model, reason, decision"
    rows = old.execute(f"SELECT {columns} FROM happened ORDER BY id").fetchall()  # noqa: S608 -- names of ours
    new.executemany(f"INSERT INTO happened ({columns}) VALUES (?, ?, ?, ?, ?)", rows)  # noqa: S608 -- names of ours
    for at, count, errors, first in old.execute("SELECT at, count, errors, first FROM minutes").fetchall():
        tables.put_minute(new, at, count, errors, looks.floats(first))
    tables.put_requests(new, (row for (row,) in old.execute("SELECT row FROM requests ORDER BY id").fetchall()))


def _damaged(why: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's code for an error, without its details; None for one that isn't SQLite's own."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
