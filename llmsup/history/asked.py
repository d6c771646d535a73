"""A request that is over, as it is remembered."""

from __future__ import annotations

from collections.abc import Iterable

from ..gateway.activity import Activity, Record
from .rows import RequestRow


class Requests:
    """This run's requests, and the last ones of those before.

    Attributes:
        before: Those of earlier runs, oldest first.
    """

    def __init__(self, activity: Activity) -> None:
        self.before: list[RequestRow] = []
        self.activity = activity
        self._run = f"{int(activity.began_at * 1000):x}"  # numbers begin with 1 each time

    def remember(self, rows: Iterable[RequestRow]) -> None:
        """Take those of earlier runs from what the file has. What was captured then is gone."""
        self.before = [{**row, "captured": False} for row in rows if self.number(row["id"]) is None]

    def row(self, record: Record) -> RequestRow:
        """One of this run."""
        counts = record.counts
        return {
            "id": f"{self._run}-{record.number}",
            "at": round(record.at, 3),
            "model": record.model,
            "client": record.key or record.client,
            "path": record.path,
            "status": record.status,
            "waited_s": round(record.waited, 3),
            "first_token_s": _rounded(record.first_token),
            "took_s": round(record.seconds or 0.0, 3),
            "tokens_in": counts.tokens_in,
            "tokens_cached": counts.cached,
            "tokens_out": counts.tokens_out,
            "tokens_per_s": _rounded(record.tokens_per_second),
            "error": record.trouble or None,
            "captured": record.number in self.activity.captures,
        }

    def last(self, count: int, model: str | None) -> list[RequestRow]:
        """The last ones, of a model if one is named; newest first."""
        rows: list[RequestRow] = []
        for record in reversed(self.activity.done()):
            if record.meter is not None and model in (None, record.model):
                rows.append(self.row(record))
                if len(rows) == count:
                    return rows
        rows += [row for row in reversed(self.before) if model in (None, row["model"])]
        return rows[:count]

    def number(self, id_: str) -> int | None:
        """The number in this run of the request with this id; None: it isn't of this run."""
        run, _, number = id_.rpartition("-")
        return (
            int(number) if run == self._run and number.isascii() and number.isdecimal() and len(number) < 16 else None
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
