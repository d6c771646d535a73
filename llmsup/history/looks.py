"""What the file's tables tell of a time. Everything here runs in a thread."""

from __future__ import annotations

import math
import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterator
from sqlite3 import Connection
from typing import Any

import msgspec

from .rows import Bucket, Happened, RequestRow, Sample
from .tables import FIRSTS

SHOWN = 720
"""How many samples, or buckets, are shown of a time at most: more than a page has points for."""

HAPPENED = 500
"""How many of the things that happened, the last of them."""

LATE = 600_000
"""Milliseconds: for so long a sample may hold, as nothing is written down while nothing changes."""


def samples(db: Connection, begin: float, end: float) -> list[Sample]:
    """The samples of a time; the first is what held at its beginning. Where there are more than are shown, the last of
    each step.
    """
    first, last = round(begin * 1000), round(end * 1000)
    count = db.execute("SELECT count(*) FROM samples WHERE at >= ? AND at <= ?", (first, last)).fetchone()[0]
    step = max((last - first) // SHOWN, 1) if count > SHOWN else 1
    names = dict(db.execute("SELECT id, name FROM names").fetchall())
    columns = "at, total, free, others, level, models"
    before = db.execute(
        f"SELECT {columns} FROM samples WHERE at < ? AND at >= ? ORDER BY at DESC LIMIT 1",  # noqa: S608 -- names of ours
        (first, first - LATE),
    ).fetchone()
    found = [] if before is None else [(first, *before[1:])]
    # SQLite gives the other columns of the row that has the maximum.
    grouped = columns.replace("at", "max(at)", 1)
    found += db.execute(
        f"SELECT {grouped} FROM samples WHERE at >= ? AND at <= ? GROUP BY (at - ?) / ? ORDER BY 1",  # noqa: S608 -- names of ours
        (first, last, first, step),
    ).fetchall()
    return [_sample(row, names) for row in found]


def every_sample(db: Connection) -> list[Sample]:
    """All of them, oldest first."""
    names = dict(db.execute("SELECT id, name FROM names").fetchall())
    rows = db.execute("SELECT at, total, free, others, level, models FROM samples ORDER BY at").fetchall()
    return [_sample(row, names) for row in rows]


def _sample(row: tuple[Any, ...], names: dict[int, str]) -> Sample:
    at, total, free, others, level, models = row
    numbers = iter(map(int, models.split(","))) if models else iter(())
    sizes = {names.get(id_, "?"): size for id_, size in zip(numbers, numbers, strict=True)}
    return {"at": at / 1000, "models": sizes, "others": others, "free": free, "total": total, "pressure": level}


def happened(db: Connection, begin: float, end: float) -> tuple[list[Happened], int]:
    """The last things that happened within a time, oldest first, and how many more there were."""
    bounds = (round(begin * 1000), round(end * 1000))
    count = int(db.execute("SELECT count(*) FROM happened WHERE at >= ? AND at <= ?", bounds).fetchone()[0])
    rows = db.execute(
        "SELECT at, event, model, reason, decision FROM happened WHERE at >= ? AND at <= ? ORDER BY id DESC LIMIT ?",
        (*bounds, HAPPENED),
    ).fetchall()
    found: list[Happened] = [
        {
            "at": at / 1000,
            "event": event,
            "model": model,
            "reason": reason,
            "decision": None if decision is None else msgspec.json.decode(zlib.decompress(decision)),
        }
        for at, event, model, reason, decision in reversed(rows)
    ]
    return found, count - len(found)


def step_of(begin: float, end: float) -> int:
    """How many seconds a bucket has: whole minutes."""
    return max(math.ceil((end - begin) / SHOWN / 60), 1) * 60


def buckets(db: Connection, begin: float, end: float) -> list[Bucket]:
    """The requests of a time, by buckets, of which each is there."""
    step = step_of(begin, end) // 60
    first, last = int(begin / 60) // step * step, int(end / 60)
    found: dict[int, list[tuple[int, int, bytes]]] = defaultdict(list)
    for at, *rest in db.execute("SELECT * FROM minutes WHERE at >= ? AND at <= ?", (first, last)).fetchall():
        found[at // step * step].append((rest[0], rest[1], rest[2]))
    return [_bucket(at, found.get(at, [])) for at in range(first, last + 1, step)]


def _bucket(at: int, minutes: list[tuple[int, int, bytes]]) -> Bucket:
    weighed: list[tuple[float, float]] = []
    for count, _, packed in minutes:
        firsts = floats(packed)
        weight = max(count / FIRSTS, 1) if len(firsts) == FIRSTS else 1
        weighed += [(first, weight) for first in firsts]
    median = _median(weighed)
    return {
        "at": float(at * 60),
        "count": sum(count for count, _, _ in minutes),
        "errors": sum(errors for _, errors, _ in minutes),
        "first_token_s": None if median is None else round(median, 3),
    }


def floats(packed: bytes) -> array[float]:
    """Unpack times to the first token."""
    firsts = array("f")
    firsts.frombytes(packed)
    return firsts


def _median(weighed: list[tuple[float, float]]) -> float | None:
    """Of values with weights: of a busy minute only some values are there, and stand for all."""
    half, so_far = sum(weight for _, weight in weighed) / 2, 0.0
    for value, weight in sorted(weighed):
        so_far += weight
        if so_far >= half:
            return value
    return None


def last_requests(db: Connection) -> list[RequestRow]:
    """The last requests, oldest first."""
    return list(_decoded(db.execute("SELECT row FROM requests ORDER BY id").fetchall()))


def _decoded(rows: list[tuple[bytes]]) -> Iterator[RequestRow]:
    for (row,) in rows:
        yield msgspec.json.decode(row, type=RequestRow)
