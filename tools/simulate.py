#!/usr/bin/env python3
"""Replays request traces against a machine and its models, under llmsup's memory policy and those of other programs.

A trace is a CSV (time, model, seconds, client) with the machine in a TOML file next to it; without arguments, those in
traces/ are used. Time is virtual and nothing is random: hours take a second or two.

It does not simulate models slowing each other down. A reload takes as long as the first load here; what else it costs,
and what of it the page cache saves, `simulate_back.py` tells.

With --peers first: several machines instead (`simulate_peers.py`, whose options follow).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llmsup.config.schema import GiB
from tools import simulate_peers
from tools.simulate_future import clairvoyant, everything_fits
from tools.simulate_machine import Trace, read_trace
from tools.simulate_tally import Tally, table
from tools.simulate_traces import TRACES
from tools.simulate_ways import ways
from tools.simulate_world import Policy, World

BEST = 1.25
"""How much worse than the best real policy the sum of the waits and their 95 % quantile may be."""

KNOWN = 2.0
"""The same for the sum, compared with the clairvoyant policy."""


def simulate(trace: Trace, among: Sequence[Policy] | None = None) -> dict[str, Tally]:
    """Run a trace under each policy."""
    return {way.name: World(trace, way).run() for way in among or ways()}


def bounds(trace: Trace, replays: int = 0) -> dict[str, Tally]:
    """The two bounds (`simulate_future`): a clairvoyant policy, and a machine on which nothing is ever evicted."""
    return {"clairvoyant": clairvoyant(trace, replays=replays), "everything fits": everything_fits(trace)}


def verdicts(trace: str, tallies: Mapping[str, Tally], known: Tally | None = None) -> list[str]:
    """Whether one trace meets the targets: "met" or "MISSED", and why.

    A policy survives a trace if no model is killed and every request is answered.

    Args:
        known: The clairvoyant policy's result.
    """
    ours, *others = tallies.values()
    survivors = [each for each in others if not each.deaths and not each.refusals]
    least = min((sum(each.waits) for each in survivors), default=math.inf)
    p95 = min((each.waited(0.95) for each in survivors), default=math.inf)
    count = tallies.get("LRU by count (4)")
    seen = [
        ("no out-of-memory death", ours.deaths == 0),
        ("no futile eviction", ours.futile == 0),
        ("none refused", ours.refusals == 0),
        (f"waits add up to at most {BEST} times those of the best that survives", sum(ours.waits) <= BEST * least),
        (f"the 95 % quantile is at most {BEST} times the best", ours.waited(0.95) <= BEST * p95),
    ]
    if known is not None:
        twice = sum(ours.waits) <= KNOWN * sum(known.waits)
        seen.append((f"waits add up to at most {KNOWN:g} times those of the clairvoyant", twice))
    if trace == "agent" and count is not None:
        limit = 0.6 * count.reload_seconds
        seen.append(("at most 60 % of the reload-seconds of LRU by count", ours.reload_seconds <= limit))
    return [f"{'met   ' if met else 'MISSED'}  {trace}: {what}" for what, met in seen]


def plot(trace: str, tallies: Mapping[str, Tally], ceiling: int, total: int, folder: Path) -> Path:
    """Draw memory over time, one row per policy; returns the picture's path."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(tallies), 1, sharex=True, sharey=True, figsize=(12, 2.2 * len(tallies)))
    for axis, (name, tally) in zip(axes, tallies.items(), strict=True):
        hours = [when / 3600 for when, _, _ in tally.memory]
        models = [size / GiB for _, size, _ in tally.memory]
        others = [size / GiB for _, _, size in tally.memory]
        axis.stackplot(hours, models, others, labels=("models", "another program"), step="post")
        axis.axhline(ceiling / GiB, linestyle="--", color="black", linewidth=0.8)
        axis.axhline(total / GiB, color="red", linewidth=0.8)
        axis.set_title(f"{trace}: {name}, {tally.loads} loads", fontsize=9)
        axis.set_ylabel("GiB")
    axes[-1].set_xlabel("hours")
    figure.tight_layout()
    path = folder / f"{trace}.png"
    figure.savefig(path)
    plt.close(figure)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; returns 1 if a target was missed."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["--peers"]:
        return simulate_peers.main(words[1:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", nargs="*", type=Path, help="CSV files; default: all in traces/")
    parser.add_argument("--json", action="store_true", help="the numbers, for a program")
    parser.add_argument("--plot", type=Path, metavar="FOLDER", help="write a picture of each trace there")
    parser.add_argument(
        "--replays", type=int, default=0, metavar="N", help="look for a better clairvoyant run N times (default 0)"
    )
    given = parser.parse_args(words)
    missed, numbers = False, {}
    for path in given.trace or sorted(TRACES.glob("*.csv")):
        trace = read_trace(path)
        tallies = simulate(trace)
        limits = bounds(trace, given.replays)
        judged = verdicts(trace.name, tallies, limits["clairvoyant"])
        missed |= any(line.startswith("MISSED") for line in judged)
        shown = tallies | limits
        numbers[trace.name] = {name: tally.figures() for name, tally in shown.items()}
        if not given.json:
            print("\n".join([*table(trace.name, shown), "", *judged, ""]))
        if given.plot:
            given.plot.mkdir(parents=True, exist_ok=True)
            drawn = plot(trace.name, tallies, trace.host.ceiling, trace.host.total, given.plot)
            print(drawn, file=sys.stderr)
    if given.json:
        print(json.dumps(numbers, indent=2))
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
