"""How fast a model comes back: load rates by mode, with a cold and a warm page cache.

    .venv/bin/python tools/bench_back.py [--engine llama-server] [--rounds 3] [--folder FOLDER]

Writes a model of random weights (about 1 GB) into a new folder in FOLDER, and deletes it afterwards. FOLDER should be
on the disk that models are on. Cold means dropped from the page cache with POSIX_FADV_DONTNEED: Linux only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")]

from llmsup.engines.llama_server.flags import FlagSet  # noqa: E402 -- after the path
from tools.bench_back_loads import measure, random_model, table  # noqa: E402 -- after the path
from tools.bench_setup import facts, find_engine, flags_of  # noqa: E402 -- after the path

ROOM = 2 * 1024**3


def main() -> int:
    """Measure and print; 1 if there is no room on the disk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", help="a llama-server; default: the one on PATH")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each kind; default: 3")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to put the model")
    asked = parser.parse_args()
    if shutil.disk_usage(asked.folder).free < ROOM:
        print(f"{asked.folder} has less than 2 GiB free", file=sys.stderr)
        return 1
    engine = find_engine(asked.engine)
    dialect = FlagSet(flags_of(engine), str(engine))
    with tempfile.TemporaryDirectory(dir=asked.folder, prefix="llmsup-back-") as folder:
        print({**facts(engine), "model": "random weights"})
        model = random_model(Path(folder))
        print(f"{model.stat().st_size / 1e9:.2f} GB of random weights; load of the machine: {os.getloadavg()[0]:.1f}")
        for line in table(list(measure(engine, dialect, model, Path(folder), asked.rounds))):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
