#!/usr/bin/env python3
"""What llmsup costs: the same requests to the same engine, directly, through llmsup and through llama-server's router.

With --llama-swap they also go through llama-swap. The ways take turns, and are shown side by side in one table.

It measures the time added to a small request, to a stream's first and following chunks, and to a cold start; the CPU
time and the memory of whatever is between client and engine; and, with --idle, what llmsup costs when idle. Clients
talk TCP on loopback to all of them. Behind that, llmsup talks to its engine on a Unix socket, and the router to its
engines on other TCP ports, as they always do.

It does not measure the engine (a small model on the CPU, to have something real behind the proxy), the network, TLS,
API keys, many models under memory pressure, or large bodies. The client runs on the same machine and takes its share
of the cores: numbers from different machines, or from different runs on a busy one, aren't comparable; the columns of
one run are.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llmsup.cli import demo_model as demo
from llmsup.errors import SetupError
from tools import bench_ways as run
from tools.bench_cold import cold, first_byte
from tools.bench_drive import Failed
from tools.bench_idle import idle
from tools.bench_measures import chunks, crowd, first_chunks, large, latency, streams
from tools.bench_samples import Samples
from tools.bench_setup import config, facts, find_engine, flags_of
from tools.bench_table import IDLE, SECTIONS, SLOW_ROAD, table, verdicts

PAIRS = 60
"""Pairs of streams per round: with five rounds the median of their differences is known to some hundredths of a ms."""

PARTS = ("latency", "first", "stream", "crowd", "large", "cold")

ADVICE = """\
A run takes a minute and a half, --idle another three quarters. Close other busy programs: a browser is enough to
double a p99. Look at the differences within a run, and run it twice before you believe one; cold starts wobble
most. While you work on one thing, `--only stream --rounds 9` is quicker and steadier than everything. A slowest
request of five seconds or more isn't noise: something waited for a kept connection to time out. It exits with 1 if
any request failed; a missed target is for you to judge.
"""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    about = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(description=about, epilog=ADVICE, allow_abbrev=False)
    add = parser.add_argument
    add("--engine", metavar="PATH", help="the llama-server to use; else the one on PATH, else the tests' package")
    add("--llama-swap", type=Path, metavar="PATH", help="a llama-swap to have as another column")
    add("--only", action="append", choices=PARTS, help="measure just this; may be given more than once")
    add("--idle", action="store_true", help="also watch llmsup do nothing, 20 s without and 20 s with a loaded model")
    add("--rounds", type=int, default=5, metavar="N", help="how often each column gets its turn (default 5, best odd)")
    add("--json", type=Path, metavar="FILE", help="write every single number there, for plots and for comparing runs")
    return parser.parse_args()


def measure(samples: Samples, options: argparse.Namespace, engine: Path, model: Path, directory: Path) -> list[str]:
    """Start everything, measure, end everything; returns the names of the available ways."""
    parts, rounds = options.only or PARTS, options.rounds
    with ExitStack() as stack:
        enter = stack.enter_context
        settings = config(engine, model)
        ours = enter(run.llmsup(directory / "busy", settings))
        trio.run(first_byte, ours)
        command = trio.run(run.command_of, ours)
        ways = [enter(run.direct(directory, command)), ours]
        if "--models-dir" in flags_of(engine):
            ways.append(enter(run.router(directory, command, model)))
            trio.run(first_byte, ways[-1])
        swap = []
        if options.llama_swap:
            swap = [enter(run.llama_swap(directory, options.llama_swap.absolute(), command))]
            trio.run(first_byte, swap[0])
        ways += swap
        if "latency" in parts:
            say("small requests")
            trio.run(lambda: latency(samples, ways, rounds=rounds))
        if "first" in parts:
            say("first chunks")
            pair = [enter(run.fake(directory, *run.FAKES["brief"])), ours, *swap]
            trio.run(lambda: first_chunks(samples, pair, "brief", pairs=PAIRS * rounds))
        if "stream" in parts:
            say("streams")
            trio.run(lambda: streams(samples, ways, rounds=rounds, tokens=64))
            pair = [enter(run.fake(directory, *run.FAKES["fake"])), ours, *swap]
            for together in (1, 8):
                trio.run(lambda n: chunks(samples, pair, "fake", rounds=rounds, measure="chunk", together=n), together)
            with run.llmsup(directory / "slow-road", {**settings, "server": {"fast": False}}) as other:
                pair = [ours, attrs.evolve(other, name=SLOW_ROAD), *swap]
                for together in (1, 10):
                    trio.run(
                        lambda n: chunks(samples, pair, "paced", rounds=rounds, measure="paced", together=n), together
                    )
        if "crowd" in parts:
            say("a thousand streams")
            trio.run(lambda: crowd(samples, ours, "slow", together=1000))
        if "large" in parts:
            say("large bodies")
            pair = [enter(run.fake(directory, "--tokens", "1")), ours, *swap]
            trio.run(lambda: large(samples, pair, "fake", rounds=rounds))
        if "cold" in parts:
            say("cold starts")
            trio.run(cold, samples, [way for way in ways if way not in swap], command, directory, rounds)
    return [way.name for way in ways]


def say(line: str) -> None:
    """Print progress."""
    print(f"... {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and show; 1 if it can't be done, or if any request failed."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    samples = Samples()
    try:
        engine, model = find_engine(options.engine), demo.fetch()
        about = facts(engine)
        with tempfile.TemporaryDirectory(prefix="llmsup-bench-") as scratch:
            ways = measure(samples, options, engine, model, Path(scratch))
            if options.idle:
                say("nothing at all")
                with run.llmsup(Path(scratch, "idle"), config(engine, model, copies=8)) as way:
                    trio.run(idle, samples, way, 20.0)
    except (SetupError, Failed) as error:
        print(f"bench_proxy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    columns = ways if "router" in ways else [*ways, "router"]
    lines = [", ".join(f"{name} {value}" for name, value in about.items()), *table(samples, columns, SECTIONS)]
    lines += show_idle(samples) if options.idle else []
    lines += ["", *verdicts(samples)]
    failed = [f"{way}: {len(errors)} requests failed: {errors[0]}" for way, errors in samples.errors.items() if errors]
    print("\n".join(lines + (failed or ["no request failed"])))
    if options.json:
        options.json.write_text(json.dumps({"facts": about, **attrs.asdict(samples)}) + "\n", "utf-8")
    return 1 if failed else 0


def show_idle(samples: Samples) -> Sequence[str]:
    """The table of what llmsup costs when idle."""
    return table(samples, ["unused", "one loaded"], {"Nobody asks, ten models are configured": IDLE})


if __name__ == "__main__":
    sys.exit(main())
