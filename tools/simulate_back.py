#!/usr/bin/env python3
"""What coming back costs: replays traces with conversations, which are computed again after a reload, or restored.

Each model's file stays in the page cache after an eviction, as far as there is room, unless --cold is given. llmsup's
policy alone is tried, as it is and in bolder variants.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attrs import evolve

from llmsup.memory.policy.inputs import RULES
from tools.simulate_machine import Trace, read_trace
from tools.simulate_pages import Pages
from tools.simulate_tally import Tally
from tools.simulate_traces import TRACES
from tools.simulate_ways import Llmsup
from tools.simulate_world import Prompts, World

VARIANTS = {
    "as it is": Llmsup,
    "half turns": lambda: Llmsup(evolve(RULES, turn_loads=3.0, turn_most=60.0)),
    "idle goes at once": lambda: Llmsup(evolve(RULES, idle_loads=0.0)),
    "knows prompts": lambda: Llmsup(knows=True),
}
"""Policies by name: the product's, two that would rather evict, and one that knows what lost prompts cost."""

COLUMNS = ("mean s", "p95 s", "evictions", "again s")


def play(trace: Trace, prompts: Prompts, variant: str = "as it is", *, cold: bool = False) -> Tally:
    """One run, with an empty page cache at its beginning; `cold`: there is none."""
    return World(trace, VARIANTS[variant](), prompts, None if cold else Pages()).run()


def lines(traces: Sequence[Trace], *, cold: bool = False) -> Iterator[str]:
    """A Markdown table: each trace without and with a prompt cache; the last columns are of the run with one."""
    heads = [f"{column}, {state}" for column in COLUMNS for state in ("without", "with")]
    yield f"| trace | {' | '.join(heads)} | reload s | restoring s | saving s | GB written |"
    yield "|---|" + "---:|" * (len(heads) + 4)
    for trace in traces:
        without, restored = play(trace, "computed", cold=cold), play(trace, "restored", cold=cold)
        cells = [cell for pair in zip(shown(without), shown(restored), strict=True) for cell in pair]
        spent = (restored.reload_seconds, restored.restore_seconds, restored.save_seconds, restored.written / 1e9)
        cells += [f"{each:.0f}" for each in spent]
        yield f"| {trace.name} | {' | '.join(cells)} |"


def shown(tally: Tally) -> tuple[str, ...]:
    """The figures of one run, in the order of `COLUMNS`."""
    return f"{tally.mean:.1f}", f"{tally.waited(0.95):.1f}", f"{tally.evictions}", f"{tally.again_seconds:.0f}"


def variants(traces: Sequence[Trace], prompts: Prompts, *, cold: bool = False) -> Iterator[str]:
    """A Markdown table: each trace under each policy; mean wait / 95 % quantile / evictions."""
    yield f"| trace, {prompts} | {' | '.join(VARIANTS)} |"
    yield "|---|" + "---:|" * len(VARIANTS)
    for trace in traces:
        runs: Mapping[str, Tally] = {name: play(trace, prompts, name, cold=cold) for name in VARIANTS}
        cells = [f"{each.mean:.1f} / {each.waited(0.95):.1f} / {each.evictions}" for each in runs.values()]
        lost = any(each.refusals or each.deaths or each.futile for each in runs.values())
        yield f"| {trace.name}{' (!)' if lost else ''} | {' | '.join(cells)} |"


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", nargs="*", type=Path, help="CSV files; default: all in traces/")
    parser.add_argument("--variants", action="store_true", help="compare policies instead; (!): not all were answered")
    parser.add_argument("--cold", action="store_true", help="without a page cache")
    given = parser.parse_args()
    traces = [read_trace(path) for path in given.trace or sorted(TRACES.glob("*.csv"))]
    found = [lines(traces, cold=given.cold)]
    if given.variants:
        found = [variants(traces, "computed", cold=given.cold), variants(traces, "restored", cold=given.cold)]
    for each in found:
        for line in each:
            print(line, flush=True)
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
