#!/usr/bin/env python3
"""What two busy models do to each other on a CPU, and what it costs one alone that they don't: tokens/s of one model
alone and of two at once, in several shares of the cores, side by side.

All of them are the same model in one llmsup, each an engine of its own: as llmsup starts them when there are several
(`threads = "auto"`), and with `threads` and `env` set to the other ways. Each window is a few seconds of streams, one
client a model; the windows of all ways take turns.

It does not measure prompts (they are short), nor models on a GPU (there are no layers there), nor memory. Whatever else
runs takes cores, too, and that is what this is about: how much others took is measured in each window, the quieter
half of the windows counts, and how busy those were is printed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import trio
from attrs import Factory, define, frozen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llmsup.catalog import demo
from llmsup.engines.cores import usable_cores
from llmsup.errors import SetupError
from tools import bench_ways as run
from tools.bench_drive import Client, Failed, Request
from tools.bench_setup import facts, find_engine

ADVICE = """\
A run takes three minutes. Close what else is busy. Two engines that spin for the same cores differ from window to
window by half; look at the ranges. It exits with 1 if a request failed or two busy models together stay below one
alone with all cores.
"""


@frozen
class Share:
    """One row: how much an engine gets, and how its threads wait for each other."""

    key: str
    text: str
    threads: int | str
    env: Mapping[str, str] = Factory(dict)


PASSIVE = {"OMP_WAIT_POLICY": "passive"}
ALL, OURS = "all", "auto"


def shares(cores: int) -> list[Share]:
    """The rows. Waiting on the kernel instead of spinning is asked of OpenMP, which most builds for Linux have."""
    rows = [
        Share(ALL, f"all cores ({cores})", cores),
        Share(OURS, 'as llmsup starts it ("auto")', "auto"),
        Share("passive", f"all cores ({cores}), passive waiting", cores, PASSIVE),
        Share("brief", f"all cores ({cores}), brief spinning", cores, {"GOMP_SPINCOUNT": "1000"}),
    ]
    return rows if cores < 4 else [*rows, Share("half-passive", "half the cores, passive waiting", cores // 2, PASSIVE)]


@frozen
class Window:
    """Tokens/s of all the models together, and the cores that others took meanwhile."""

    rate: float
    others: float


@define
class Meter:
    """Measures windows.

    Attributes:
        way: The llmsup that has the models.
        failed: What went wrong.
    """

    way: run.Way
    failed: list[str] = Factory(list)

    async def window(self, models: Sequence[str], seconds: float) -> Window:
        """Keep some models busy for so long."""
        counts = dict.fromkeys(models, 0)

        async def work(model: str) -> None:
            while True:
                try:
                    await self._stream(model, counts)
                except Failed as error:
                    self.failed.append(str(error))
                    await trio.sleep(0.5)

        busy, ours, began = _busy(), self._ours(), time.perf_counter()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for model in models:
                    nursery.start_soon(work, model)
        spent = time.perf_counter() - began
        others = (_busy() - busy) - (self._ours() - ours)
        return Window(sum(counts.values()) / spent, max(0.0, others / spent))

    async def _stream(self, model: str, counts: dict[str, int]) -> None:
        client = Client(self.way.address)
        asked = {"model": model, "prompt": "Tell me of the sea.", "max_tokens": 512, "stream": True, "ignore_eos": True}
        try:
            answer = await client.start(Request("/v1/completions", asked))
            try:
                while piece := await answer.body():
                    counts[model] += piece.count(b"data: ")
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                    await answer.close()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                await client.close()

    def _ours(self) -> float:
        """CPU seconds of everything that belongs to the measurement, ourselves included."""
        top = psutil.Process(self.way.pid)
        all_times = [process.cpu_times() for process in (psutil.Process(), top, *top.children(recursive=True))]
        return sum(times.user + times.system for times in all_times)


def _busy() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def config(engine: Path, model: Path, rows: Sequence[Share]) -> dict[str, Any]:
    """Two models for each row."""
    same = {"path": str(model), "engine": "llama-server", "ctx_size": 2048, "parallel": 1, "n_gpu_layers": 0}
    models = {f"{row.key}-{n}": {**same, "threads": row.threads, "env": dict(row.env)} for row in rows for n in (1, 2)}
    return {
        "defaults": {"ttl": "never"},
        "engines": {"llama-server": {"command": [str(engine)]}},
        "models": models,
    }


Cells = dict[tuple[str, int], list[Window]]


async def measure(meter: Meter, rows: Sequence[Share], rounds: int, seconds: float) -> Cells:
    """Load everything, then let each row have its turn, alone and in pairs, so many times."""
    client = Client(meter.way.address)
    for row in rows:
        for n in (1, 2):
            await client.ask(Request("/models/load", {"model": f"{row.key}-{n}"}))
    await client.close()
    cells: Cells = {(row.key, n): [] for row in rows for n in (1, 2)}
    for done in range(rounds):
        print(f"... round {done + 1} of {rounds}", file=sys.stderr, flush=True)
        for key, count in cells:
            models = [f"{key}-{n + 1}" for n in range(count)]
            cells[key, count].append(await meter.window(models, seconds))
            await trio.sleep(0.2)  # an engine needs a moment to see that its client is gone
    return cells


def quieter(windows: Sequence[Window]) -> list[Window]:
    """The half in which others took least."""
    return sorted(windows, key=lambda window: window.others)[: (len(windows) + 1) // 2]


def table(cells: Cells, rows: Sequence[Share]) -> list[str]:
    """Medians with their ranges; ratios are to one model alone with all cores."""
    base = median(window.rate for window in quieter(cells[ALL, 1]))
    lines = [f"{'tokens/s':36}{'one alone':>26}{'two at once, together':>30}"]
    for row in rows:
        line = f"{row.text:36}"
        for count, width in ((1, 26), (2, 30)):
            rates = [window.rate for window in quieter(cells[row.key, count])]
            ratio = f"{median(rates) / base:.2f}x" if base else "-"
            line += f"{f'{median(rates):.1f} ({min(rates):.1f}-{max(rates):.1f}) {ratio:>6}':>{width}}"
        lines.append(line)
    others = [window.others for windows in cells.values() for window in quieter(windows)]
    everything = [window.others for windows in cells.values() for window in windows]
    lines.append(
        f"medians of the quieter half of {len(cells[ALL, 1])} windows each; others took {median(others):.2f} cores in "
        f"them (up to {max(others):.2f}), {median(everything):.2f} in all"
    )
    return lines


def verdict(cells: Cells) -> tuple[bool, list[str]]:
    """Whether the target is met, and a line for it and one for its price."""
    alone, ours, pair = (
        median(window.rate for window in quieter(cells[cell])) for cell in ((ALL, 1), (OURS, 1), (OURS, 2))
    )
    met = pair >= alone
    word, price = "met   " if met else "MISSED", 100 * (1 - ours / alone) if alone else 0.0
    return met, [
        f"{word}  two busy models together: {pair:.1f} (target: what one alone makes with all cores, {alone:.1f})",
        f"        what one alone gives up for that: {price:.0f} %",
    ]


def main() -> int:
    """Measure and show; 1 if it can't be done, a request failed, or the target is missed."""
    about = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(description=about, epilog=ADVICE, allow_abbrev=False)
    add = parser.add_argument
    add("--engine", metavar="PATH", help="the llama-server to use; else the one on PATH, else the tests' package")
    add("--model", type=Path, metavar="FILE", help="the GGUF to use; else the demo's SmolLM2-135M")
    add("--rounds", type=int, default=7, metavar="N", help="windows of each cell (default 7)")
    add("--seconds", type=float, default=3.0, metavar="S", help="length of a window (default 3)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    rows = shares(usable_cores())
    try:
        engine = find_engine(options.engine)
        model = options.model.absolute() if options.model else demo.fetch()
        about_it = {**facts(engine), "model": model.stem}
        with (
            tempfile.TemporaryDirectory(prefix="llmsup-bench-") as scratch,
            run.llmsup(Path(scratch, "llmsup"), config(engine, model, rows)) as way,
        ):
            meter = Meter(way)
            cells = trio.run(measure, meter, rows, options.rounds, options.seconds)
    except (SetupError, Failed) as error:
        print(f"bench_two_models: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    met, lines = verdict(cells)
    print("\n".join([", ".join(f"{name} {value}" for name, value in about_it.items()), "", *table(cells, rows), ""]))
    print("\n".join([*lines, *([f"{len(meter.failed)} requests failed: {meter.failed[0]}"] if meter.failed else [])]))
    return 0 if met and not meter.failed else 1


if __name__ == "__main__":
    sys.exit(main())
