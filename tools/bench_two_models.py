#!/usr/bin/env python3
"""What two models cost each other on the same cores: tokens a second of one alone and of two at once, as llmsup starts
them and as they would be started without it, in turns.

Two engines that compute on all cores spend most of the time waiting for their own threads, which the other's have put
off a core. It does not measure GPUs, where the cores hardly matter, nor more than two.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import trio
from attrs import frozen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llmsup.catalog import demo
from llmsup.engines.cores import usable_cores
from llmsup.errors import SetupError
from tools import bench_ways as run
from tools.bench_drive import Client, Request
from tools.bench_setup import facts, find_engine

NAMES = ("one", "two")
TOKENS = 48


@frozen
class Case:
    """One line of the table: which llmsup is asked, and which of its models at once."""

    text: str
    way: run.Way
    models: tuple[str, ...]


def config(engine: Path, model: Path, threads: int | None) -> dict[str, Any]:
    """Twice the same model on the CPU; `threads` None: as llmsup finds right."""
    real = {"path": str(model), "engine": "llama-server", "ctx_size": 2048, "parallel": 1, "n_gpu_layers": 0}
    return {
        "defaults": {"ttl": "never", "cache_ram": 0, **({} if threads is None else {"threads": threads})},
        "catalog": {"roots": [], "ollama": ""},
        "bridge": {"every": "never"},
        "engines": {"llama-server": {"command": [str(engine)]}},
        "models": dict.fromkeys(NAMES, real),
    }


async def rate(case: Case, seconds: float) -> list[float]:
    """Tokens a second of each of its models, all busy for about so many seconds."""
    rates = []

    async def keep_busy(model: str) -> None:
        client, body = Client(case.way.address), {"model": model, "prompt": "Once upon a time", "cache_prompt": False}
        request = Request("/completion", {**body, "n_predict": TOKENS, "ignore_eos": True})
        tokens, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            tokens += json.loads(await client.ask(request))["tokens_predicted"]
        rates.append(tokens / passed)
        await client.close()

    async with trio.open_nursery() as nursery:
        for model in case.models:
            nursery.start_soon(keep_busy, model)
    return rates


async def measure(cases: list[Case], rounds: int, seconds: float) -> dict[Case, list[list[float]]]:
    """Every case in turn, so many times; the models are loaded and warm by then."""
    for way in {case.way.address: case.way for case in cases}.values():
        await rate(Case("", way, NAMES), 0.1)
    found: dict[Case, list[list[float]]] = {case: [] for case in cases}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for case in cases:
            found[case].append(await rate(case, seconds))
    return found


def main() -> int:
    """Run it; 1 if two at once make less than one alone does with all cores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--engine", metavar="PATH", help="the llama-server to use")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each gets its turn (default 5)")
    parser.add_argument("--seconds", type=float, default=4, metavar="S", help="how long a turn takes (default 4)")
    options = parser.parse_args()
    try:
        engine, model = find_engine(options.engine), demo.fetch(demo.DIRECTORY.expanduser())
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        ways = {
            name: stack.enter_context(run.llmsup(Path(directory, name), config(engine, model, threads)))
            for name, threads in (("auto", None), ("all", usable_cores()))
        }
        alone, _, two, _ = cases = [
            Case("one alone, all cores", ways["all"], NAMES[:1]),
            Case("one alone, as llmsup starts it", ways["auto"], NAMES[:1]),
            Case("two at once, as llmsup starts them", ways["auto"], NAMES),
            Case("two at once, all cores each", ways["all"], NAMES),
        ]
        found = trio.run(measure, cases, options.rounds, options.seconds)
    sums = {case: [sum(rates) for rates in turns] for case, turns in found.items()}
    base = median(sums[alone])
    print(json.dumps(facts(engine)))
    print(f"{'':38}{'tokens/s':>10}{'ratio':>8}{'lowest':>9}{'highest':>9}")
    for case, numbers in sums.items():
        value = median(numbers)
        print(f"{case.text:38}{value:10.1f}{value / base:7.2f}x{min(numbers):9.1f}{max(numbers):9.1f}")
    met = median(sums[two]) >= base
    print(f"{'met   ' if met else 'MISSED'}  two at once make at least what one alone makes with all cores")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
