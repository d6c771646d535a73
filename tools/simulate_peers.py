#!/usr/bin/env python3
"""Ten machines that serve each other's clients: which of them gets a request, by llmsup's rule and by simpler ones.

Fifty models, each on every machine's disk; 200 clients with conversations. Compared with one machine that has all the
memory and computes as much as the ten. Time is virtual, and chance has a seed. Also `tools/simulate.py --peers`.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attrs import frozen

from llmsup.config.schema import GiB
from llmsup.peers.choice import HERE, Candidate, choose
from tools.simulate_machine import START, Host, Model, Request, Talk
from tools.simulate_peers_world import Router, Several
from tools.simulate_talks import with_talks

HOUR = 3600.0
WARM_UP = 600.0
"""Seconds that aren't counted: all machines begin empty."""

TALK = Talk(system=500, turn=800, most=16000)


@frozen
class Scene:
    """Who asks what of which machines.

    Attributes:
        think: Seconds between an answer and the same client's next request, in the mean.
        memory: GiB of each machine.
    """

    machines: int = 10
    models: int = 50
    clients: int = 200
    hours: float = 1.0
    think: float = 60.0
    memory: float = 96.0
    seed: int = 1

    def host(self) -> Host:
        """Each of the machines; models of 2 to 40 GiB, half of them of less than 9."""
        chance = random.Random(f"models {self.seed}")  # noqa: S311 -- repeatable, not secret
        models = {}
        for number in range(1, self.models + 1):
            size = round(min(max(chance.lognormvariate(2.2, 0.7), 2), 40) * GiB)
            name = f"model-{number}"
            models[name] = Model(name, size, load_seconds=START + 0.75 * size / GiB, talk=TALK)
        return Host(round(self.memory * GiB), models)

    def requests(self) -> list[list[Request]]:
        """Each client's; it stays with a model for a while, and some models are much more popular (Zipf)."""
        names = [f"model-{number}" for number in range(1, self.models + 1)]
        shares = [1 / number for number in range(1, self.models + 1)]
        models = self.host().models
        every = []
        for client in range(self.clients):
            chance = random.Random(f"client {client} {self.seed}")  # noqa: S311 -- repeatable, not secret
            now, mine = chance.uniform(0, 2 * self.think), list[Request]()
            while now < WARM_UP + self.hours * HOUR:
                model = chance.choices(names, shares)[0]
                for _ in range(chance.randint(1, 15)):
                    seconds = chance.uniform(2, 15)
                    mine.append(Request(now, model, seconds, f"client {client}"))
                    now += seconds + chance.expovariate(1 / self.think)
            every.append(list(with_talks(mine, models)))
        return every


def by_rule(candidates: Sequence[Candidate], chance: Callable[[], float]) -> str:
    """llmsup's."""
    return choose(candidates, chance).where


def at_random(candidates: Sequence[Candidate], chance: Callable[[], float]) -> str:
    """Any."""
    return candidates[int(chance() * len(candidates))].where


def in_turn() -> Router:
    """One after the other."""
    turns = count()
    return lambda candidates, _: candidates[next(turns) % len(candidates)].where


def always_here(_candidates: Sequence[Candidate], _chance: Callable[[], float]) -> str:
    """Machines that don't know each other."""
    return HERE


def least_busy(candidates: Sequence[Candidate], _chance: Callable[[], float]) -> str:
    """The one with the fewest requests for this model, the first of several: what balancers do."""
    return min(candidates, key=lambda each: each.busy).where


def first_loaded(candidates: Sequence[Candidate], _chance: Callable[[], float]) -> str:
    """The first that has it loaded, else the first."""
    return next((each for each in candidates if each.loaded), candidates[0]).where


def ways() -> dict[str, Router]:
    """All rules, llmsup's first."""
    return {
        "llmsup": by_rule,
        "random": at_random,
        "round robin": in_turn(),
        "fewest requests": least_busy,
        "first that has it loaded": first_loaded,
        "no peers": always_here,
    }


def figures(run: Several, until: float) -> dict[str, float]:
    """Play it, and say what came out."""
    tally = run.run(until, WARM_UP)
    worked = [station.worked for station in run.stations]
    return {
        "answered": len(tally.waits),
        "mean s": round(tally.mean, 2),
        "p50 s": round(tally.waited(0.5), 1),
        "p95 s": round(tally.waited(0.95), 1),
        "loads": tally.loads,
        "evictions": tally.evictions,
        "refused": tally.refusals,
        "computed again %": round(100 * tally.again_tokens / max(tally.prompt_tokens, 1), 1),
        "busiest / mean": round(max(worked) / max(statistics.fmean(worked), 1e-9), 2),
        "queued beside a free slot %": round(100 * run.beside / max(run.sent, 1), 2),
        "longest queue": run.longest,
        "sent away %": round(100 * run.away / max(run.sent, 1)),
    }


def compare(scene: Scene, among: Mapping[str, Router]) -> Iterator[tuple[str, dict[str, float]]]:
    """All rules, and one big machine."""
    host, clients, until = scene.host(), scene.requests(), WARM_UP + scene.hours * HOUR
    big = Host(host.ceiling * scene.machines + Host(2**50, {}).reserve, host.models)
    runs = {name: Several(host, clients, router, scene.machines) for name, router in among.items()}
    runs["one big machine"] = Several(big, clients, always_here, 1, slots=4 * scene.machines, width=4 * scene.machines)
    for name, run in runs.items():
        yield name, figures(run, until)


def lines(rows: Iterable[tuple[str, Mapping[str, float]]]) -> Iterator[str]:
    """A table in Markdown, as the rows come."""
    for number, (name, row) in enumerate(rows):
        if not number:
            yield f"| | {' | '.join(row)} |"
            yield "|---|" + "---:|" * len(row)
        yield f"| {name} | {' | '.join(f'{value:g}' for value in row.values())} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="simulate.py --peers", description=__doc__)
    for name, kind in (("machines", int), ("models", int), ("clients", int), ("hours", float), ("think", float)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Scene(), name), help="default %(default)s")
    parser.add_argument("--memory", type=float, default=Scene().memory, help="GiB of a machine, default %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", metavar="RULE", help="not all rules")
    parser.add_argument("--json", action="store_true", help="the numbers, for a program")
    given = vars(parser.parse_args(arguments))
    only, as_json = given.pop("only"), given.pop("json")
    rows = compare(Scene(**given), {name: way for name, way in ways().items() if not only or name in only})
    if as_json:
        print(json.dumps(dict(rows), indent=2))
    else:
        for line in lines(rows):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
