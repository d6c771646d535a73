#!/usr/bin/env python3
"""Writes the request traces in traces/, the same ones each time (or others, with --seed).

They were fixed before any policy was tuned; don't change them to suit one.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.simulate_machine import Request

TRACES = Path(__file__).resolve().parent / "traces"
HOUR = 3600.0


def agent(chance: random.Random) -> Iterator[Request]:
    """A coding agent, step by step: plan, look up, write, test, write; now and then a picture or a review. Six hours,
    with pauses while its user reads."""
    now = 0.0
    while now < 6 * HOUR:
        steps = [("embedder", 0.3), ("reranker", 0.5), ("planner", chance.uniform(10, 40)), ("titles", 1.0)]
        for _ in range(chance.randint(3, 10)):
            steps.append(("coder", chance.uniform(5, 30)))
            if chance.random() < 0.5:
                steps += [("embedder", 0.3), ("reranker", 0.5)]
            if chance.random() < 0.08:
                steps.append(("vision", chance.uniform(3, 8)))
            if chance.random() < 0.25:
                steps.append(("planner", chance.uniform(5, 15)))
        if chance.random() < 0.2:
            steps.append(("reviewer", chance.uniform(30, 60)))
        for model, seconds in steps:
            yield Request(now, model, seconds, "agent")
            now += seconds + chance.uniform(0.5, 5)
        now += chance.expovariate(1 / 120) if chance.random() < 0.8 else chance.uniform(900, 2700)


def chat(chance: random.Random) -> Iterator[Request]:
    """A person's chats over eight hours: one model per conversation, titles for each, a 120B about once an hour; the
    editor's completions and a search index run at the same time."""
    yield from _conversations(chance, 8 * HOUR, {"chat-32b": 5, "vision-12b": 2, "coder-30b": 3, "big-120b": 1.5})
    for begin in (0.5, 2.0, 4.5, 6.0):
        now = begin * HOUR
        while now < (begin + 1) * HOUR:
            yield Request(now, "complete-4b", chance.uniform(0.3, 1.5), "editor")
            now += chance.expovariate(1 / 25)
    now = 0.0
    while now < 8 * HOUR:
        yield Request(now, "embedder", 0.5, "index")
        now += chance.expovariate(1 / 200)


def batch(chance: random.Random) -> Iterator[Request]:
    """Two workers summarise documents non-stop for four hours; a person chats with another model meanwhile."""
    for worker in ("worker 1", "worker 2"):
        now = 0.0
        while now < 4 * HOUR:
            seconds = chance.uniform(5, 25)
            yield Request(now, "summary", seconds, worker)
            now += seconds + 0.2
    yield from _conversations(chance, 4 * HOUR, {"chat": 3, "small": 1})


def pingpong(chance: random.Random) -> Iterator[Request]:
    """Two unrelated programs use two models that don't fit together, every few seconds, for two hours; a third uses a
    small one that fits beside either."""
    for client, model in (("left", "ping"), ("right", "pong"), ("third", "small")):
        now = chance.uniform(0, 5)
        while now < 2 * HOUR:
            seconds = chance.uniform(1, 6)
            yield Request(now, model, seconds, client)
            now += seconds + chance.uniform(2, 20)


def neighbour(chance: random.Random) -> Iterator[Request]:
    """A person's chats over four hours, on a machine where another program takes a third of the memory for a while."""
    yield from _conversations(chance, 4 * HOUR, {"chat-14b": 4, "coder-14b": 3, "vision": 2, "tiny": 2})
    now = 0.0
    while now < 4 * HOUR:
        yield Request(now, "embedder", 0.5, "index")
        now += chance.expovariate(1 / 120)


def swift(chance: random.Random) -> Iterator[Request]:
    """Four clients that use six small models non-stop for five minutes; a load takes half a second."""
    names = ["tiny", "small", "middle", "large", "larger", "huge"]
    for client in ("one", "two", "three", "four"):
        now = 0.0
        while now < 300:
            seconds = chance.uniform(0.1, 0.6)
            yield Request(now, chance.choices(names, (5, 4, 3, 2, 2, 1))[0], seconds, client)
            now += seconds


def person(chance: random.Random) -> Iterator[Request]:
    """One person who alternates between two large models that don't fit together, every 10 to 60 seconds, for four
    hours."""
    now = chance.uniform(0, 60)
    while now < 4 * HOUR:
        seconds = chance.uniform(5, 25)
        yield Request(now, chance.choice(("writer", "coder")), seconds, "person")
        now += seconds + chance.uniform(10, 60)


def agent_small(chance: random.Random) -> Iterator[Request]:
    """One agent that looks something up before each answer, on a machine that holds the chat model or the embedder, for
    two hours."""
    now = 0.0
    while now < 2 * HOUR:
        for model, seconds in (("embedder", 0.3), ("chat", chance.uniform(3, 20))):
            yield Request(now, model, seconds, "agent")
            now += seconds + chance.uniform(0.2, 3)
        if chance.random() < 0.1:
            now += chance.expovariate(1 / 120)


def crowd(chance: random.Random) -> Iterator[Request]:
    """Twelve people on one machine with eight models, some much more popular than others (Zipf), for two hours. Each
    stays with a model for a few requests."""
    names = [f"model-{number}" for number in range(1, 9)]
    shares = [1 / number for number in range(1, 9)]
    for client in range(1, 13):
        now = chance.expovariate(1 / 120)
        while now < 2 * HOUR:
            model = chance.choices(names, shares)[0]
            for _ in range(chance.randint(1, 6)):
                seconds = chance.uniform(2, 15)
                yield Request(now, model, seconds, f"client {client}")
                now += seconds + chance.expovariate(1 / 45)
            now += chance.expovariate(1 / 300)


def overnight(chance: random.Random) -> Iterator[Request]:
    """A batch job that uses one model from 2 am to 10 am; from 8 am a person chats with another one that doesn't fit
    beside it."""
    now = 0.0
    while now < 8 * HOUR:
        seconds = chance.uniform(10, 50)
        yield Request(now, "summary", seconds, "job")
        now += seconds + 0.2
    for each in _conversations(chance, 2 * HOUR, {"chat": 1}):
        yield Request(6 * HOUR + each.time, each.model, each.seconds, each.client)


def _conversations(chance: random.Random, until: float, models: Mapping[str, float]) -> Iterator[Request]:
    """One person: some turns with one model, a pause, some turns with another."""
    now = chance.uniform(0, 60)
    while now < until:
        model = chance.choices(list(models), list(models.values()))[0]
        for _ in range(chance.randint(2, 12)):
            seconds = chance.uniform(3, 25)
            yield Request(now, model, seconds, "person")
            now += seconds + chance.expovariate(1 / 40)
        now += chance.expovariate(1 / 400)


SCENES: Mapping[str, Callable[[random.Random], Iterator[Request]]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (agent, chat, batch, pingpong, neighbour, swift, person, agent_small, crowd, overnight)
}


def requests(scene: str, seed: int) -> tuple[Request, ...]:
    """The requests of one scene, in order."""
    found = SCENES[scene](random.Random(f"{scene} {seed}"))  # noqa: S311 -- repeatable, not secret
    return tuple(sorted(found, key=lambda each: each.time))


def write(folder: Path, seed: int) -> None:
    """Write all traces."""
    for scene in SCENES:
        with (folder / f"{scene}.csv").open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(("time", "model", "seconds", "client"))
            out.writerows((f"{r.time:.1f}", r.model, f"{r.seconds:.1f}", r.client) for r in requests(scene, seed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=TRACES)
    given = parser.parse_args()
    write(given.folder, given.seed)
