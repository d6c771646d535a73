#!/usr/bin/env python3
"""What coming back costs: replays traces with conversations, which are computed again after a reload, or restored.

Each model's file stays in the page cache after an eviction, as far as there is room, unless --cold is given. llmsup's
policy alone is tried, as it is and in bolder variants.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attrs import evolve

from llmsup.memory.policy.inputs import RULES
from tools.simulate_machine import Trace, read_trace
from tools.simulate_pages import Pages
from tools.simulate_talks import Shelf
from tools.simulate_tally import Tally
from tools.simulate_traces import TRACES
from tools.simulate_ways import Llmsup
from tools.simulate_world import Prompts, World

VARIANTS: Mapping[str, Callable[[], Llmsup]] = {
    "as it is": Llmsup,
    "half turns": lambda: Llmsup(evolve(RULES, turn_loads=3.0, turn_most=60.0)),
    "idle goes at once": lambda: Llmsup(evolve(RULES, idle_loads=0.0)),
    "knows prompts": lambda: Llmsup(knows=True),
}
"""Policies by name: the product's, two that would rather evict, and one that knows what lost prompts cost."""

STATES: Mapping[str, Prompts] = {"without": "computed", "with": "restored", "no limits": "restored"}
"""With the prompt cache as it is by default; or with no limit on a day's writes, and a disk whose rate is known."""

COLUMNS = ("mean s", "p95 s", "evictions", "again s", "restoring s", "saving s", "GB written")


def play(trace: Trace, state: str, variant: str = "as it is", *, cold: bool = False) -> Tally:
    """One run, with an empty page cache at its beginning; `cold`: there is none."""
    world = World(trace, VARIANTS[variant](), STATES[state], None if cold else Pages())
    if state == "no limits":
        world.shelf = Shelf(trace.host.disk, expects=trace.host.disk, writes=sys.maxsize)
    return world.run()


def lines(traces: Sequence[Trace], *, cold: bool = False) -> Iterator[str]:
    """A Markdown table: each trace without and with a prompt cache."""
    yield f"| trace | prompt cache | {' | '.join(COLUMNS)} |"
    yield "|---|---|" + "---:|" * len(COLUMNS)
    for trace in traces:
        for state in STATES:
            tally = play(trace, state, cold=cold)
            spent = (tally.again_seconds, tally.restore_seconds, tally.save_seconds)
            cells = [f"{each:.0f}" for each in (tally.evictions, *spent, tally.written / 1e9)]
            yield f"| {trace.name} | {state} | {tally.mean:.1f} | {tally.waited(0.95):.1f} | {' | '.join(cells)} |"


def variants(traces: Sequence[Trace], state: str, *, cold: bool = False) -> Iterator[str]:
    """A Markdown table: each trace under each policy; mean wait / 95 % quantile / evictions."""
    yield f"| {state} | {' | '.join(VARIANTS)} |"
    yield "|---|" + "---:|" * len(VARIANTS)
    for trace in traces:
        runs = [play(trace, state, name, cold=cold) for name in VARIANTS]
        cells = [f"{each.mean:.1f} / {each.waited(0.95):.1f} / {each.evictions}" for each in runs]
        lost = any(each.refusals or each.deaths or each.futile for each in runs)
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
        found = [variants(traces, state, cold=given.cold) for state in STATES]
    for each in found:
        for line in each:
            print(line, flush=True)
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
