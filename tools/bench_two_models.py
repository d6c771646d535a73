#!/usr/bin/env python3
"""How much two busy models slow each other down on a CPU, and what preventing that costs a model that is alone.

It measures tokens/s of one model alone and of two at once, with several shares of the cores, side by side.

All of them are the same model in one llmsup, each with its own engine: as llmsup starts them when there are several
(`threads = "auto"`), and with `threads` and `env` set for the alternatives. Each window is a few seconds of streams,
one client per model; the windows of all rows take turns.

It does not measure prompts (they are short), models on a GPU (no layers are offloaded), or memory. Other programs take
cores too, and one busy one is enough to ruin an engine that uses all of them. So what they take is measured in each
window, and a window in which that is too much does not count.
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

import trio
from attrs import Factory, frozen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llmsup.cli import demo_model as demo
from llmsup.engines.cores import PASSIVE, usable_cores
from llmsup.errors import SetupError
from tools import bench_ways as run
from tools.bench_busy import QUIET, Cell, Meter
from tools.bench_drive import Client, Failed, Request
from tools.bench_setup import facts, find_engine

ADVICE = """\
A run takes two minutes where nothing else is busy, and gives up after --patience where something is; what it shows
then is of the quietest windows that there were, and it does not judge. Engines that spin for the same cores differ
from window to window by half: look at the ranges. It exits with 1 if a request failed, if it was too seldom quiet to
tell, or if two busy models together stay below one alone with all cores.
"""


@frozen
class Share:
    """One row: how much an engine gets, and how its threads wait for each other."""

    key: str
    text: str
    threads: int | str
    env: Mapping[str, str] = Factory(dict)


ALL, OURS = "all", "auto"

ENOUGH = 3
"""Quiet windows needed for a verdict."""


def shares(cores: int) -> list[Share]:
    """The rows. Waiting in the kernel instead of spinning is an OpenMP setting; most builds for Linux use OpenMP."""
    rows = [
        Share(ALL, f"all cores ({cores})", cores),
        Share(OURS, 'as llmsup starts it ("auto")', "auto"),
        Share("passive", f"all cores ({cores}), passive waiting", cores, PASSIVE),
        Share("brief", f"all cores ({cores}), brief spinning", cores, {"GOMP_SPINCOUNT": "1000"}),
    ]
    # With one thread there is nothing to wait for; with more, ours waits passively.
    return rows if cores < 4 else [*rows, Share("half", f"half the cores ({cores // 2}), spinning", cores // 2)]


def config(engine: Path, model: Path, rows: Sequence[Share]) -> dict[str, Any]:
    """Two models for each row."""
    same = {"path": str(model), "engine": "llama-server", "ctx_size": 2048, "parallel": 1, "n_gpu_layers": 0}
    models = {f"{row.key}-{n}": {**same, "threads": row.threads, "env": dict(row.env)} for row in rows for n in (1, 2)}
    return {
        "defaults": {"ttl": "never"},
        "engines": {"llama-server": {"command": [str(engine)]}},
        "models": models,
    }


Cells = dict[tuple[str, int], Cell]


async def measure(meter: Meter, rows: Sequence[Share], options: argparse.Namespace) -> Cells:
    """Load everything, then let all cells take turns until each has enough quiet windows, or patience ends."""
    client = Client(meter.way.address)
    for row in rows:
        for n in (1, 2):
            await client.ask(Request("/models/load", {"model": f"{row.key}-{n}"}))
    await client.close()
    cells: Cells = {(row.key, n): Cell() for row in rows for n in (1, 2)}
    until, shown = time.monotonic() + 60 * options.patience, -1
    while wanting := [key for key, cell in cells.items() if len(cell.quiet) < options.windows]:
        late = time.monotonic() > until
        if late and all(cell.windows for cell in cells.values()):
            break
        least = min(len(cells[key].quiet) for key in wanting)
        if least > shown:
            print(f"... {least} of {options.windows}", file=sys.stderr, flush=True)
            shown = least
        key = min(wanting, key=lambda key: (len(cells[key].quiet), len(cells[key].loud)))
        await trio.sleep(0.2)  # an engine needs a moment to notice that its client is gone
        if not late and cells[key].loud and (await meter.window((), 0.2)).others > QUIET:
            continue
        window = await meter.window([f"{key[0]}-{n + 1}" for n in range(key[1])], options.seconds)
        (cells[key].quiet if window.others <= QUIET else cells[key].loud).append(window)
    return cells


def table(cells: Cells, rows: Sequence[Share]) -> list[str]:
    """Medians with their ranges; ratios are to one model alone with all cores."""
    base = cells[ALL, 1].rate
    lines = [f"{'tokens/s':36}{'one alone':>27}{'two at once, together':>29}"]
    for row in rows:
        line = f"{row.text:36}"
        for count, width in ((1, 27), (2, 29)):
            cell = cells[row.key, count]
            rates = [window.rate for window in cell.windows]
            ratio = f"{cell.rate / base:.2f}x" if base else "-"
            line += f"{f'{cell.rate:.1f} ({min(rates):.1f}-{max(rates):.1f}) {ratio:>6}':>{width}}"
        lines.append(line)
    counted = [len(cell.windows) for cell in cells.values()]
    others = [window.others for cell in cells.values() for window in cell.windows]
    left_out = sum(len(cell.loud) for cell in cells.values() if cell.quiet)
    lines.append(
        f"medians (and ranges) of {min(counted)} to {max(counted)} windows; {left_out} louder ones don't count"
    )
    lines.append(f"others took {median(others):.2f} cores in those that count, {max(others):.2f} at most")
    return lines


def verdict(cells: Cells) -> tuple[bool | None, list[str]]:
    """Whether the target is met, None if other programs took too much to tell; a line on that, and one on the cost."""
    asked = [cells[cell] for cell in ((ALL, 1), (OURS, 1), (OURS, 2))]
    if any(len(cell.quiet) < ENOUGH for cell in asked):
        return None, [f"UNKNOWN two busy models together: in too few windows others took less than {QUIET} cores"]
    alone, ours, pair = (cell.rate for cell in asked)
    met, price = pair >= alone, 100 * (1 - ours / alone) if alone else 0.0
    word = "met    " if met else "MISSED "
    return met, [
        f"{word} two busy models together: {pair:.1f} (target: what one alone makes with all cores, {alone:.1f})",
        f"        what one alone gives up for that: {price:.0f} %",
    ]


def main() -> int:
    """Measure and show; 1 if it can't be done, a request failed, or the target is missed."""
    about = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(description=about, epilog=ADVICE, allow_abbrev=False)
    add = parser.add_argument
    add("--engine", metavar="PATH", help="the llama-server to use; else the one on PATH, else the tests' package")
    add("--model", type=Path, metavar="FILE", help="the GGUF to use; else the demo's SmolLM2-135M")
    add("--windows", type=int, default=7, metavar="N", help="quiet windows that each number is of (default 7)")
    add("--seconds", type=float, default=1.5, metavar="S", help="length of a window (default 1.5; 4 for large models)")
    add("--patience", type=float, default=10, metavar="MINUTES", help="how long to wait for quiet ones (default 10)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
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
            cells = trio.run(measure, meter, rows, options)
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
