"""The file's tables, and what is written to them. Everything here runs in a thread, within a transaction."""

from __future__ import annotations

import json
import random
import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from sqlite3 import Connection

import msgspec
from attrs import Factory, define

from .rows import Happened, RequestRow, Sample, failed

VERSION = 1
"""Of the tables; a file with another one begins anew."""

TABLES = """
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE samples (
    at INTEGER PRIMARY KEY, total INTEGER NOT NULL, free INTEGER, others INTEGER,
    level TEXT NOT NULL, models TEXT NOT NULL
);
CREATE TABLE happened (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, event TEXT NOT NULL, model TEXT, reason TEXT NOT NULL, decision BLOB
);
CREATE INDEX happened_at ON happened (at);
CREATE TABLE minutes (at INTEGER PRIMARY KEY, count INTEGER NOT NULL, errors INTEGER NOT NULL, first BLOB NOT NULL);
CREATE TABLE requests (id INTEGER PRIMARY KEY, row BLOB NOT NULL);
"""
"""Times are milliseconds in `samples` and `happened`, and minutes since 1970 in `minutes`. `samples.models` has
alternately a name's id and bytes; `minutes.first` seconds to the first token, as 32-bit floats."""

LAST = 500
"""How many requests are kept one by one."""

FIRSTS = 64
"""How many times to the first token are kept of a minute: with more, these are drawn by lot, which hardly moves the
median."""

MOST_HAPPENED = 10_000
"""How many loads, unloads and so on are kept: models that take turns every minute, for a week."""

WEIGHED = 12
"""How many models a decision is kept with, the least worth keeping first."""

MOST_BYTES = 18 * 10**6
"""What the file may hold, whatever `keep` says: the oldest goes first. Beside it there is SQLite's log, of 1 MB."""

DAY = 86400


@define
class Batch:
    """What is to be written down.

    Attributes:
        uncounted: Requests that came and went before they could be looked at one by one.
    """

    samples: list[Sample] = Factory(list)
    happened: list[Happened] = Factory(list)
    requests: list[RequestRow] = Factory(list)
    uncounted: int = 0

    def __bool__(self) -> bool:
        return bool(self.samples or self.happened or self.requests or self.uncounted)


def write(db: Connection, batch: Batch, now: float) -> None:
    """Write a batch."""
    for sample in batch.samples:
        put_sample(db, sample)
    for happened in batch.happened:
        decision = happened["decision"]
        packed = None if decision is None else zlib.compress(_json(_shortened(decision)))
        reason = happened["reason"].encode("utf-8", "replace").decode()
        values = (_ms(happened["at"]), happened["event"], happened["model"], reason, packed)
        db.execute("INSERT INTO happened (at, event, model, reason, decision) VALUES (?, ?, ?, ?, ?)", values)
    minutes: dict[int, list[RequestRow]] = defaultdict(list)
    for row in batch.requests:
        minutes[int(row["at"]) // 60].append(row)
    for minute, rows in minutes.items():
        firsts = [each for row in rows if (each := row["first_token_s"]) is not None]
        put_minute(db, minute, len(rows), sum(map(failed, rows)), firsts)
    if batch.uncounted:
        put_minute(db, int(now) // 60, batch.uncounted, 0, ())
    put_requests(db, map(_json, batch.requests[-LAST:]))


def put_sample(db: Connection, sample: Sample) -> None:
    """Write a sample."""
    pairs = [(name_id(db, name), size) for name, size in sample["models"].items()]
    models = ",".join(f"{id_},{size}" for id_, size in pairs)
    values = (_ms(sample["at"]), sample["total"], sample["free"], sample["others"], sample["pressure"], models)
    db.execute("INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?, ?)", values)


def put_minute(db: Connection, minute: int, count: int, errors: int, firsts: Iterable[float]) -> None:
    """Add requests to a minute."""
    found = db.execute("SELECT count, errors, first FROM minutes WHERE at = ?", (minute,)).fetchone()
    known = array("f")
    if found is not None:
        count, errors = count + found[0], errors + found[1]
        known.frombytes(found[2])
    known.extend(firsts)
    if len(known) > FIRSTS:
        known = array("f", random.sample(list(known), FIRSTS))
    db.execute("INSERT OR REPLACE INTO minutes VALUES (?, ?, ?, ?)", (minute, count, errors, known.tobytes()))


def put_requests(db: Connection, rows: Iterable[bytes]) -> None:
    """Add the last requests, each as JSON."""
    db.executemany("INSERT INTO requests (row) VALUES (?)", ((row,) for row in rows))


def name_id(db: Connection, name: str) -> int:
    """What stands for a name in samples."""
    found = db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
    if found is not None:
        return int(found[0])
    return int(db.execute("INSERT INTO names (name) VALUES (?)", (name,)).lastrowid or 0)


def prune(db: Connection, now: float, keep: float) -> None:
    """Forget what is older than `keep` seconds, or more than there is room for, or from a future that won't come: the
    clock was wrong then.
    """
    for begin, end in ((None, now - keep), (now + DAY, None)):
        _forget(db, begin, end)
    db.execute("DELETE FROM requests WHERE id <= (SELECT max(id) FROM requests) - ?", (LAST,))
    db.execute("DELETE FROM happened WHERE id <= (SELECT max(id) FROM happened) - ?", (MOST_HAPPENED,))
    while held(db) > MOST_BYTES:
        oldest = _oldest(db)
        if oldest is None or oldest >= now:
            return
        _forget(db, None, oldest + max((now - oldest) / 20, 60))


def held(db: Connection) -> int:
    """How many bytes of the file are in use."""
    pages, free, size = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _oldest(db: Connection) -> float | None:
    """When the oldest thing was, in Unix seconds."""
    units = {"samples": 1000.0, "happened": 1000.0, "minutes": 1 / 60}
    found = {table: db.execute(f"SELECT min(at) FROM {table}").fetchone()[0] for table in units}  # noqa: S608 -- names of ours
    return min((at / units[table] for table, at in found.items() if at is not None), default=None)


def _forget(db: Connection, begin: float | None, end: float | None) -> None:
    """Forget what was from `begin` on, before `end` (Unix seconds; None: no bound)."""
    for table, unit in (("samples", 1000.0), ("happened", 1000.0), ("minutes", 1 / 60)):
        bounds = [(">=", begin), ("<", end)]
        for sign, at in bounds:
            if at is not None:
                db.execute(f"DELETE FROM {table} WHERE at {sign} ?", (int(at * unit),))  # noqa: S608 -- names of ours


def _shortened(decision: Mapping[str, object]) -> dict[str, object]:
    weighed = decision.get("weighed")
    return {**decision, "weighed": weighed[:WEIGHED]} if isinstance(weighed, list) else dict(decision)


def _json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a path that is not UTF-8
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _ms(at: float) -> int:
    return round(at * 1000)
