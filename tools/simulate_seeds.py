#!/usr/bin/env python3
"""Replays scenes with many seeds that nothing was tuned on, and reports whether the policy's targets hold there.

The requests of all seeds of a scene count together. It takes some seconds per seed, most of them for the bound.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attrs import define

from tools.simulate import BEST, KNOWN
from tools.simulate_future import clairvoyant
from tools.simulate_machine import Trace, read_trace
from tools.simulate_tally import Tally
from tools.simulate_traces import SCENES, TRACES, requests
from tools.simulate_ways import ways
from tools.simulate_world import World


@define
class Scene:
    """The results of one scene, over all seeds.

    Attributes:
        ours: llmsup's.
        best_sum, best_p95: The best of the policies that answered every request with all seeds; they may be different
            policies.
        known: The clairvoyant sum.
    """

    name: str
    ours: Tally
    best_sum: float
    best_p95: float
    known: float

    def missed(self) -> list[str]:
        """The targets that are not met."""
        ours, p95 = sum(self.ours.waits), self.ours.waited(0.95)
        seen = {
            "none is refused, nothing dies, no eviction is futile": not (
                self.ours.refusals or self.ours.deaths or self.ours.futile
            ),
            f"the sum of waits is at most {BEST} times the best": ours <= BEST * self.best_sum,
            f"the 95 % quantile is at most {BEST} times the best": p95 <= BEST * self.best_p95,
            f"the sum of waits is at most {KNOWN:g} times the clairvoyant": ours <= KNOWN * self.known,
        }
        return [f"{self.name}: {what}" for what, met in seen.items() if not met]

    def row(self) -> str:
        """Of the table."""
        ours, p95 = sum(self.ours.waits), self.ours.waited(0.95)
        cells = (
            f"{ours:.0f}",
            f"{self.best_sum:.0f}",
            f"{ours / self.best_sum:.2f}",
            f"{ours / self.known:.2f}",
            f"{p95:.1f}",
            f"{self.best_p95:.1f}",
            f"{max(self.ours.waits):.0f}",
            f"{self.ours.reload_seconds:.0f}",
        )
        return f"| {self.name} | {' | '.join(cells)} |"


def play(name: str, seeds: Sequence[int], *, replays: int = 0, hours: float = math.inf) -> Scene:
    """One scene, or its first hours."""
    host = read_trace(TRACES / f"{name}.csv").host
    traces = [Trace(name, host, requests(name, seed)).until(hours * 3600) for seed in seeds]
    runs = [[World(trace, way).run() for way in ways()] for trace in traces]  # fresh policies each time, without state
    ours, *others = (together(of_one) for of_one in zip(*runs, strict=True))
    survive = [each for each in others if not each.deaths and not each.refusals]
    return Scene(
        name,
        ours,
        min(sum(each.waits) for each in survive),
        min(each.waited(0.95) for each in survive),
        sum(sum(clairvoyant(trace, replays=replays).waits) for trace in traces),
    )


def together(tallies: Iterable[Tally]) -> Tally:
    """Combine several runs into one."""
    whole = Tally()
    for each in tallies:
        whole.waits += each.waits
        whole.reload_seconds += each.reload_seconds
        whole.refusals += each.refusals
        whole.deaths += each.deaths
        whole.futile += each.futile
    return whole


def main() -> int:
    """Print the table; returns 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", nargs="*", choices=[*SCENES, []], help="default: all")
    parser.add_argument("--seeds", default="62-71", metavar="FIRST-LAST", help="default: %(default)s")
    parser.add_argument("--replays", type=int, default=0, metavar="N", help="look harder for the bound (default 0)")
    given = parser.parse_args()
    first, last = (int(each) for each in given.seeds.split("-"))
    print("| trace | wait sum s | best other | ratio | to clairvoyant | p95 s | best other | max s | reload s |")
    print("|---|" + "---:|" * 8)
    scenes = []
    for name in given.scene or SCENES:
        scenes.append(play(name, range(first, last + 1), replays=given.replays))
        print(scenes[-1].row(), flush=True)
    ours, best = (sum(sums) for sums in zip(*((sum(s.ours.waits), s.best_sum) for s in scenes), strict=True))
    print(f"| all | {ours:.0f} | {best:.0f} | {ours / best:.2f} | | | | | |\n")
    missed = [line for scene in scenes for line in scene.missed()]
    missed += ["all: the sum is no worse than the best of each"] if ours > best else []
    print("\n".join(f"MISSED  {line}" for line in missed) or "all targets are met")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
