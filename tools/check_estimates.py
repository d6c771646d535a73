"""Compare the estimates with what a real llama-server logs, for all miniatures and a real model.

    .venv/bin/python tools/check_estimates.py [ARCHITECTURE...]

Exits with 1 if a cache differs from the log at all, or a compute buffer is far from its estimate.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from measured import Measured, estimated, measure
from miniatures import RECIPES, VOCABULARY, miniature
from miniatures_more import MORE
from real_engines import smollm2

from llmsup.memory.cost.estimate import Estimate

RUNS: tuple[tuple[str, ...], ...] = (
    (),
    ("-c", "3000", "-np", "2"),
    ("-c", "2048", "-np", "3", "--kv-unified", "-ub", "256"),
    ("-c", "4096", "-np", "1", "-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on"),
    ("-c", "8192", "-np", "1", "-fa", "off"),
    ("-c", "8192", "-np", "2", "--swa-full", "-ctk", "bf16", "-ctv", "bf16"),
)
LOWEST, HIGHEST = 0.98, 1.6


def row(name: str, args: tuple[str, ...], said: Estimate, log: Measured) -> tuple[str, bool]:
    """One line of the table, and whether it passes."""
    caches = [(said.kv, log.mib("KV"), len(log.buffers.get("KV", ())))]
    caches += [(said.recurrent, log.mib("RS"), len(log.buffers.get("RS", ())))]
    exact = all(abs(ours / 2**20 - theirs) <= 0.005 * max(lines, 1) + 1e-9 for ours, theirs, lines in caches)
    needed = log.mib("compute") + log.mib("output")
    if said.context.embeddings:  # the output buffer grows with the input, which is never logged
        needed += said.context.outputs * (len(VOCABULARY) + 256) * 4 / 2**20
    ratio = said.compute / 2**20 / needed
    # Rounding weighs heavily in a miniature.
    fine = exact and ratio > LOWEST and (ratio < HIGHEST or said.compute < needed * 2**20 + 2**22)
    parts = [f"{ours / 2**20:9.2f} {theirs:9.2f}" for ours, theirs, _ in caches]
    line = f"{name:22} {' '.join(args):48} {' '.join(parts)} {said.compute / 2**20:8.2f} {needed:8.2f} {ratio:5.2f}"
    return line + ("" if exact else "  CACHE DIFFERS") + ("" if fine else "  <--"), fine


def main(wanted: list[str]) -> int:
    """Print the table."""
    print(f"{'MiB: estimate, log':71} {'KV':>19} {'RS':>19} {'compute':>17} ratio")
    fine = True
    with tempfile.TemporaryDirectory() as folder:
        recipes = {**RECIPES, **MORE}
        for name in wanted or ["smollm2", *recipes]:
            file = smollm2() if name == "smollm2" else miniature(Path(folder), name, recipes[name])
            for args in RUNS:
                line, good = row(name, args, estimated(file, *args), measure(file, *args))
                print(line, flush=True)
                fine = fine and good
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
