"""How fast a model comes back: load rates by mode, with a cold and a warm page cache; and its conversations.

    .venv/bin/python tools/bench_back.py [--engine llama-server] [--rounds 3] [--only loads|turns] [--folder FOLDER]
                                       [--tokens 2000 --tokens 6000] [--threads 1] [--json FILE]

For the load rates it writes a model of random weights (about 1 GB) into a new folder in FOLDER, and deletes it
afterwards. FOLDER should be on the disk that models are on. Cold means dropped from the page cache with
POSIX_FADV_DONTNEED: Linux only. For the conversations it takes the demo model, whose context has 8192
tokens, and puts what is saved into FOLDER. Where other programs are busy, engines with all cores (the default) wait for
them most of the time: there --threads tells more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")]

import attrs  # noqa: E402 -- after the path
import trio  # noqa: E402 -- after the path

from llmsup.cli import demo_model as demo  # noqa: E402 -- after the path
from llmsup.engines.llama_server.flags import FlagSet  # noqa: E402 -- after the path
from llmsup.errors import SetupError  # noqa: E402 -- after the path
from tools import bench_back_loads as loads  # noqa: E402 -- after the path
from tools import bench_back_table, bench_back_turns  # noqa: E402 -- after the path
from tools import bench_ways as run  # noqa: E402 -- after the path
from tools.bench_drive import Failed  # noqa: E402 -- after the path
from tools.bench_setup import facts, find_engine, flags_of  # noqa: E402 -- after the path

ROOM = 2 * 1024**3
PARTS = ("loads", "turns")
TOKENS = (2000, 6000)


def rates(engine: Path, folder: Path, asked: argparse.Namespace) -> tuple[list[str], list[Any]]:
    """The load rates: lines of a table, and every number."""
    dialect = FlagSet(flags_of(engine), str(engine))
    model = loads.random_model(folder)
    size = f"{model.stat().st_size / 1e9:.2f} GB of random weights; load of the machine: {os.getloadavg()[0]:.1f}"
    rows = list(loads.measure(engine, dialect, model, folder, asked.rounds))
    return [size, *loads.table(rows)], [attrs.asdict(row) for row in rows]


def conversations(engine: Path, folder: Path, asked: argparse.Namespace) -> tuple[list[str], list[Any]]:
    """The next turns of conversations: lines of a table, and every number."""
    config = bench_back_turns.config(engine, demo.fetch(), asked.threads)
    with (
        run.llmsup(folder / "kept", config) as kept,
        run.llmsup(folder / "anew", {**config, "prompt_cache": {"disk": 0}}) as anew,
    ):
        rows = trio.run(bench_back_turns.measure, kept, anew, asked.tokens or TOKENS, asked.rounds)
    return list(bench_back_table.table(rows)), [attrs.asdict(row) for row in rows]


def measured(engine: Path, folder: Path, asked: argparse.Namespace) -> Iterator[tuple[str, list[Any]]]:
    """Print each part's table; yields its name and its numbers."""
    for part, measure in zip(PARTS, (rates, conversations), strict=True):
        if part in (asked.only or PARTS):
            lines, numbers = measure(engine, folder, asked)
            print("\n".join(lines), flush=True)
            yield part, numbers


def main() -> int:
    """Measure and print; 1 if there is no room on the disk, or a request failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", help="a llama-server; default: the one on PATH")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind; default: 3")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure just this")
    parser.add_argument("--tokens", action="append", type=int, help="of a conversation; default: 2000, and 6000")
    parser.add_argument("--threads", type=int, default=0, help="of the engine with a conversation; default: llmsup's")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to put what is written")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single number there")
    asked = parser.parse_args()
    if shutil.disk_usage(asked.folder).free < ROOM:
        print(f"{asked.folder} has less than 2 GiB free", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended
    try:
        engine = find_engine(asked.engine)
        about = facts(engine)
        print(about)
        with tempfile.TemporaryDirectory(dir=asked.folder, prefix="llmsup-back-") as folder:
            numbers = dict(measured(engine, Path(folder), asked))
    except (SetupError, Failed) as error:
        print(f"bench_back: {error}", file=sys.stderr)
        return 1
    if asked.json:
        asked.json.write_text(json.dumps({"facts": about, **numbers}) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
