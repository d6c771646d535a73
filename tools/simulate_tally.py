"""The figures by which a run is judged, and a table of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import Factory, define

from llmsup.config.schema import GiB


@define
class Tally:
    """The numbers of one run.

    Attributes:
        reload_seconds: Seconds of all loads except each model's first.
        futile: Evictions for a load that did not happen.
        pressure: Evictions because the machine was short of memory; also counted as evictions.
        again_seconds: Seconds of computing what of prompts had been computed before. They are part of the waits.
        again_tokens: How many those were; `prompt_tokens`: of how many in all, with what was new.
        restore_seconds: Seconds of restoring conversations; part of the loads, and so of the waits.
        save_seconds: Seconds that unloads took longer because conversations were saved.
        written: Bytes of conversations.
        memory: Over time: (second, bytes of all models, bytes of the other program).
    """

    loads: int = 0
    load_seconds: float = 0.0
    reload_seconds: float = 0.0
    evictions: int = 0
    futile: int = 0
    pressure: int = 0
    refusals: int = 0
    deaths: int = 0
    again_seconds: float = 0.0
    again_tokens: int = 0
    prompt_tokens: int = 0
    restore_seconds: float = 0.0
    save_seconds: float = 0.0
    written: int = 0
    duration: float = 0.0
    waits: list[float] = Factory(list)
    memory: list[tuple[float, int, int]] = Factory(list)

    def waited(self, share: float) -> float:
        """The quantile of the waits of all answered requests, in seconds."""
        return sorted(self.waits)[min(int(share * len(self.waits)), len(self.waits) - 1)] if self.waits else 0.0

    @property
    def mean(self) -> float:
        """The mean of the waits of all answered requests, in seconds."""
        return sum(self.waits) / len(self.waits) if self.waits else 0.0

    def figures(self) -> dict[str, float]:
        """The columns of the table."""
        return {
            "loads": self.loads,
            "reload s": round(self.reload_seconds),
            "wait p50 s": round(self.waited(0.5), 1),
            "wait p95 s": round(self.waited(0.95), 1),
            "wait max s": round(max(self.waits, default=0)),
            "wait sum s": round(sum(self.waits)),
            "evictions": self.evictions,
            "futile": self.futile,
            "refused": self.refusals,
            "peak GiB": round(max((size for _, size, _ in self.memory), default=0) / GiB, 1),
            "OOM deaths": self.deaths,
        }


def table(trace: str, tallies: Mapping[str, Tally]) -> list[str]:
    """A Markdown table for one trace, with one line per policy."""
    rows = {name: {key: f"{value:g}" for key, value in tally.figures().items()} for name, tally in tallies.items()}
    heads = list(next(iter(rows.values())))
    widths = [max(len(head), *(len(row[head]) for row in rows.values())) for head in heads]
    first = max(len(name) for name in [*rows, trace])
    lines = [_line(f"{trace:<{first}}", [f"{h:>{w}}" for h, w in zip(heads, widths, strict=True)])]
    lines.append("|" + "-" * (first + 2) + "|" + "".join("-" * (width + 1) + ":|" for width in widths))
    lines += [
        _line(f"{name:<{first}}", [f"{row[h]:>{w}}" for h, w in zip(heads, widths, strict=True)])
        for name, row in rows.items()
    ]
    return lines


def _line(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | {' | '.join(cells)} |"
