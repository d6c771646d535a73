"""What is remembered, as it is shown. Times are Unix seconds, sizes bytes."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from ..memory.machine.reading import Level

HappenedKind = Literal["load", "unload", "fail", "pressure"]


class Sample(TypedDict):
    """Memory at a moment.

    Attributes:
        models: What each model with memory counted for.
        others: What other programs had, as far as that can be told; null: it can't be.
        free: What could be had without swapping; pages of models' files are among it.
        total: The machine's memory.
        pressure: The level of memory pressure.
    """

    at: float
    models: dict[str, int]
    others: int | None
    free: int | None
    total: int
    pressure: Level


class Happened(TypedDict):
    """Something that changed what is in memory, or the pressure.

    Attributes:
        event: A model was loaded, was unloaded or failed, or the pressure changed.
        model: null: it was no model.
        reason: For people.
        decision: The decision behind it, as `/memory` has it; null: there was none.
    """

    at: float
    event: HappenedKind
    model: str | None
    reason: str
    decision: dict[str, Any] | None


class RequestRow(TypedDict):
    """A request that is over.

    Attributes:
        at: When it came.
        client: The name of its key, else its address.
        status: Of the answer; 0: the client left before there was one.
        waited_s: What it waited for its model.
        first_token_s: From its arrival to the first token, where that can be told.
        took_s: From its arrival to the last byte.
        tokens_in: Tokens of its prompt, if the engine told.
        tokens_cached: How many of them the engine had in its cache.
        tokens_out: Tokens of its answer.
        tokens_per_s: How fast these came, once they did.
        error: Why it has no whole answer, in a word; null: it has.
        captured: Whether what was asked and answered can be had.
    """

    id: str
    at: float
    model: str
    client: str
    path: str
    status: int
    waited_s: float
    first_token_s: float | None
    took_s: float
    tokens_in: int | None
    tokens_cached: int | None
    tokens_out: int | None
    tokens_per_s: float | None
    error: str | None
    captured: bool


class Bucket(TypedDict):
    """The requests that came within `step_s`.

    Attributes:
        at: The beginning.
        errors: How many got no whole answer, or a status from 400 up; clients that left are not among them.
        first_token_s: The median of what is known; null: nothing is.
    """

    at: float
    count: int
    errors: int
    first_token_s: float | None


LEFT = "client left"
"""What `error` says of a request whose client didn't stay: nobody's fault here."""


def failed(row: RequestRow) -> bool:
    """Whether a request counts among the errors."""
    return row["error"] != LEFT and (row["error"] is not None or row["status"] >= 400)
