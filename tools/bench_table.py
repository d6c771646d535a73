"""Formats the numbers as a table, side by side, with their targets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from attrs import frozen

from tools.bench_samples import Samples, Sum, growth, late_growth, p99, surely_above, surely_below

WIDTH, COLUMN = 42, 17

SLOW_ROAD = "server.fast = false"
"""llmsup with everything going through Hypercorn, as it used to."""


@frozen
class Row:
    """One line: its label, which measure, how it is summarised, and how it compares to the first column."""

    text: str
    measure: str
    how: Sum = median
    compare: Literal["+", "x", ""] = ""
    digits: int = 2


SECTIONS: dict[str, Sequence[Row]] = {
    "A small request (POST /tokenize, keep-alive; difference to direct)": (
        Row("1 connection, p50, ms", "latency 1", median, "+"),
        Row("1 connection, p99, ms", "latency 1", p99, "+"),
        Row("16 connections, p50, ms", "latency 16", median, "+"),
        Row("16 connections, p99, ms", "latency 16", p99, "+"),
        Row("16 connections, slowest, ms", "latency 16", max, "+", 0),
        Row("  of the engine's first burst, ms", "first burst", max, "+", 0),
        Row("16 connections, requests/s", "rate 16", median, "x", 0),
        Row("64 connections, p50, ms", "latency 64", median, "+"),
        Row("64 connections, requests/s", "rate 64", median, "x", 0),
        Row("CPU of what listens, µs, 1 connection", "cpu 1", median, "", 0),
        Row("  16 connections", "cpu 16", median, "", 0),
        Row("  64 connections", "cpu 64", median, "", 0),
        Row("its memory (USS) at the end, MiB", "memory", lambda numbers: numbers[-1], "", 1),
        Row("  grown since it was warm, MiB", "memory", growth),
        Row("  grown in the second half, MiB", "memory", late_growth),
        Row("  over so many requests", "requests", sum, "", 0),
    ),
    "A stream of the real engine (chat, 64 tokens)": (
        Row("first chunk, ms", "first chunk", median, "+"),
        Row("tokens/s", "tokens", median, "x", 1),
    ),
    "A stream of a fake engine that answers at once: its first chunk, compared in pairs": (
        Row("over direct, ms: median", "first over direct", median, "", 3),
        Row("  95% sure to be above", "first over direct", surely_above, "", 3),
        Row("  95% sure to be below", "first over direct", surely_below, "", 3),
    ),
    "A stream of a fake engine": (
        Row("as fast as it goes, µs per chunk", "chunk 1", median, "+", 1),
        Row("  CPU, µs per chunk", "chunk 1 cpu", median, "", 1),
        Row("  CPU, µs per chunk, 8 at once", "chunk 8 cpu", median, "", 1),
        Row("100 chunks/s: CPU, µs per chunk", "paced 1 cpu", median, "", 1),
        Row("  10 at once", "paced 10 cpu", median, "", 1),
    ),
    "A thousand slow streams at once (fake engine, a chunk a second)": (
        Row("its memory (USS) at most, MiB", "crowd memory", max, "", 1),
        Row("requests still counted afterwards", "crowd lost", max, "", 0),
    ),
    "A body of 1 MB, there and back (fake engine)": (Row("p50, ms", "large", median, "+"),),
    "Cold start to first byte (direct: by hand)": (
        Row("median, ms", "cold", median, "+", 0),
        Row("fastest, ms", "cold", min, "+", 0),
        Row("slowest, ms", "cold", max, "+", 0),
    ),
}

IDLE: Sequence[Row] = (
    Row("llmsup, % of a core", "llmsup cpu"),
    Row("llmsup, USS, MiB", "llmsup uss", digits=1),
    Row("llmsup, RSS, MiB", "llmsup rss", digits=1),
    Row("its guard, % of a core", "guard cpu"),
    Row("its guard, USS, MiB", "guard uss", digits=1),
    Row("its guard, RSS, MiB", "guard rss", digits=1),
)


def table(samples: Samples, ways: Sequence[str], sections: dict[str, Sequence[Row]]) -> list[str]:
    """The lines: each section that has numbers, with its name and rows; a column per way; "-" for no number."""
    lines = ["", f"{'':{WIDTH}}" + "".join(f"{way:>{COLUMN}}" for way in ways)]
    for title, rows in sections.items():
        shown = [row for row in rows if row.measure in samples.numbers]
        if shown:
            lines += ["", title]
            lines += [f"  {row.text:{WIDTH - 2}}" + "".join(_cells(samples, row, ways)) for row in shown]
    return lines


def _cells(samples: Samples, row: Row, ways: Sequence[str]) -> list[str]:
    base = samples.sum(row.measure, ways[0], row.how)
    cells = []
    for way in ways:
        value = samples.sum(row.measure, way, row.how)
        text = "-" if value is None else f"{value:.{row.digits}f}"
        if value is not None and base and way != ways[0] and row.compare:
            text += f" ({value - base:+.{row.digits}f})" if row.compare == "+" else f" ({value / base:.2f}x)"
        cells.append(f"{text:>{COLUMN}}")
    return cells


def _ratio(samples: Samples, measure: str, whose: str = "router") -> float | None:
    """llmsup's number as a multiple of another way's."""
    ours, theirs = samples.sum(measure, "llmsup"), samples.sum(measure, whose)
    return ours / theirs if ours is not None and theirs else None


def verdicts(samples: Samples) -> list[str]:
    """One line for each target with numbers."""
    hand, ours = samples.sum("cold", "direct"), samples.sum("cold", "llmsup")
    rate, swap = _ratio(samples, "rate 16"), _ratio(samples, "rate 16", "llama-swap")
    slowest = [max(each) for measure in ("latency 16", "first burst") for each in _ours(samples, measure)]
    seen: list[tuple[str, float | None, float, str]] = [
        ("slowest of all small requests through llmsup", max(slowest, default=None), 500, "ms"),
        ("1 connection, p50", _ratio(samples, "latency 1"), 0.65, "of the router's"),
        ("16 connections, time per request", 1 / rate if rate else None, 0.5, "of the router's"),
        ("first chunk of a stream over direct", samples.sum("first over direct", "llmsup", surely_below), 0.3, "ms"),
        ("CPU per unpaced chunk, 8 streams", samples.sum("chunk 8 cpu", "llmsup"), 5, "µs"),
        ("CPU per chunk, 10 streams at 100/s", _ratio(samples, "paced 10 cpu", SLOW_ROAD), 0.6, f"of {SLOW_ROAD}'s"),
        ("memory (USS), 1,000 streams", samples.sum("crowd memory", "llmsup", max), 120, "MiB"),
        ("requests still counted after those", samples.sum("crowd lost", "llmsup", max), 0, "of 1,000"),
        ("1 connection, p50", _ratio(samples, "latency 1", "llama-swap"), 1, "of llama-swap's"),
        ("16 connections, CPU per request", _ratio(samples, "cpu 16", "llama-swap"), 1, "of llama-swap's"),
        ("16 connections, time per request", 1 / swap if swap else None, 1 / 0.9, "of llama-swap's"),
        ("first chunk, added to direct", _added(samples, "first chunk"), 0.3, "ms"),
        ("cold start, added to starting it by hand", None if hand is None or ours is None else ours - hand, 50, "ms"),
        ("idle CPU, llmsup and guard", _worst(samples, "llmsup cpu", "guard cpu"), 1, "% of a core"),
        ("idle memory (RSS), llmsup and guard", _worst(samples, "llmsup rss", "guard rss"), 120, "MiB"),
    ]
    return [
        f"{'met   ' if value <= target else 'MISSED'}  {what}: {value:.3g} {unit} (target: {target:.3g} {unit})"
        for what, value, target, unit in seen
        if value is not None
    ]


def _added(samples: Samples, measure: str) -> float | None:
    ours, theirs = samples.sum(measure, "llmsup"), samples.sum(measure, "direct")
    return ours - theirs if ours is not None and theirs is not None else None


def _ours(samples: Samples, measure: str) -> list[list[float]]:
    return [numbers for way, numbers in samples.numbers.get(measure, {}).items() if way == "llmsup"]


def _worst(samples: Samples, *measures: str) -> float | None:
    """The largest sum of some measures, over the times when they were taken."""
    times = samples.numbers.get(measures[0], {})
    return max((sum(samples.numbers[m][when][-1] for m in measures) for when in times), default=None)
