"""What llmsup costs when idle: its CPU time and memory, and its guard's, with ten models configured.

The targets are in `bench_table`.
"""

from __future__ import annotations

import time

import psutil
import trio

from tools.bench_cold import first_byte
from tools.bench_samples import Samples
from tools.bench_ways import Way

SETTLE = 3.0
"""Seconds after which a start, or a request, leaves no more work to do."""


async def idle(samples: Samples, way: Way, seconds: float) -> None:
    """Measure for so many seconds with no model loaded, and as long after one request, with its model still loaded."""
    await _look(samples, way, "unused", seconds)
    await first_byte(way)
    await _look(samples, way, "one loaded", seconds)


async def _look(samples: Samples, way: Way, when: str, seconds: float) -> None:
    await trio.sleep(SETTLE)
    watched = {"llmsup": psutil.Process(way.pid), "guard": guard_of(way)}
    before = {who: _cpu(process) for who, process in watched.items()}
    began = time.perf_counter()
    await trio.sleep(seconds)
    spent = time.perf_counter() - began
    for who, process in watched.items():
        memory = process.memory_full_info()
        samples.add(f"{who} cpu", when, 100 * (_cpu(process) - before[who]) / spent)
        samples.add(f"{who} uss", when, memory.uss / 2**20)
        samples.add(f"{who} rss", when, memory.rss / 2**20)


def guard_of(way: Way) -> psutil.Process:
    """The orphan guard that llmsup runs."""
    children = psutil.Process(way.pid).children()
    return next(child for child in children if any(word.endswith("guard.py") for word in child.cmdline()))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
