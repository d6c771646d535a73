"""tools/bench_proxy.py --llama-swap: what it writes for llama-swap, and how it calls it.

llama-swap itself isn't in any registry, so llmsup stands in for it, with the config as `llmsup import` understands it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from tools import bench_ways
from tools.bench_measures import first_chunks
from tools.bench_samples import Samples, surely_above, surely_below

STAND_IN = """#!{python}
import argparse, os, subprocess, sys
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("-config", required=True)  # Go's flags have one dash
parser.add_argument("-listen", required=True)
options = parser.parse_args()
os.environ["HOME"] = "{home}"
subprocess.run([sys.executable, "-m", "llmsup", "import", options.config, "--output", "{home}/llmsup.toml"], check=True)
words = ["-m", "llmsup", "serve", "--config", "{home}/llmsup.toml", "--listen", options.listen]
os.execv(sys.executable, [sys.executable, *words])
"""


@pytest.mark.slow
def test_it_serves_the_same_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(bench_ways.ROOT))
    program = tmp_path / "llama-swap"
    program.write_text(STAND_IN.format(python=sys.executable, home=tmp_path), "utf-8")
    program.chmod(0o755)
    command = ["llama-server", "--host", "a socket", "--model", "not loaded here"]
    samples = Samples()
    with (
        bench_ways.fake(tmp_path, *bench_ways.FAKES["brief"]) as direct,
        bench_ways.llama_swap(tmp_path, program, command) as swap,
    ):
        trio.run(lambda: first_chunks(samples, [direct, swap], "brief", pairs=10))
    assert len(samples.numbers["first over direct"]["llama-swap"]) == 10


def test_the_bounds_of_a_median() -> None:
    """Of a hundred numbers these are the 40th and the 61st (Conover, "Practical Nonparametric Statistics", 3.2)."""
    numbers = [float(n) for n in range(100, 0, -1)]
    assert (surely_above(numbers), surely_below(numbers)) == (40.0, 61.0)
    assert surely_below([1.0] * 5) == float("inf")
