"""The share of the cores that an engine computes with, and how its threads wait for each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import psutil
from attrs import Factory, frozen

from ..config.schema import ModelSpec

PASSIVE: Mapping[str, str] = {"OMP_WAIT_POLICY": "passive"}
"""Makes an engine's threads sleep while they wait for each other. The variable is OpenMP's, which llama.cpp uses on
Linux by default; a build without OpenMP spins, and no variable or flag changes that (`--poll` is about the time
between graphs).
"""

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@frozen
class Share:
    """What one engine gets.

    Attributes:
        threads: The number of threads to compute with, or None to leave it to the engine.
        env: Variables for its environment.
    """

    threads: int | None
    env: Mapping[str, str] = Factory(dict)


def share_of(
    spec: ModelSpec,
    *,
    cores: int,
    several: bool,
    platform: str = sys.platform,
    environ: Mapping[str, str] = os.environ,
) -> Share:
    """Return a model's share; a number in `threads` is used unchanged, with nothing added to the environment.

    With `threads = "auto"` the only model gets all cores. If several may be loaded, each gets half of them: an engine
    can't change its threads while it runs, and two are busy at once far more often than three. The number of models
    loaded at the moment doesn't matter, or the first would keep the cores that the next one needs.

    Why not all: ggml's threads synchronise after each operation, hundreds of times a token, and spin while they wait. A
    thread that isn't running because another engine spins on its core makes all the others wait for the scheduler. On
    two cores, one engine with both makes 106 tokens/s; two engines with both make 36 together, two with one core each
    138, and one of these alone 69 (SmolLM2-135M; tools/bench_two_models.py).

    Still, more than two engines may be busy, and so may other programs. So if several models may be loaded, threads
    sleep while they wait. With twice as many threads as cores, two engines then made 78 tokens/s together instead of
    36. It costs an engine that runs alone on two threads some 6 ms a token: a third of its tokens/s, and less with a
    larger model, whose operations take longer. Sleeping threads with all cores for every engine would be simpler, but
    then two small models together are slower than one alone.

    A graphics card makes no difference. Work on the card needs one thread to feed it, so a small share costs nothing,
    and layers that don't fit on the card are computed on the cores anyway. Only on a Mac the choice is left to the
    engine: it knows its performance cores, and computes on the GPU.

    Args:
        cores: The physical cores that we may use.
        several: Whether more than one model may be loaded.
        environ: The environment that the engine inherits. If it, or the model's `env`, already sets how threads wait,
            that is respected.
    """
    if spec.threads != "auto":
        return Share(spec.threads)
    if platform == "darwin":
        return Share(None)
    threads = max(1, cores // 2 if several else cores)
    if not several or threads == 1 or any(name in place for name in _WAITING for place in (environ, spec.env)):
        return Share(threads)
    return Share(threads, PASSIVE)


def usable_cores() -> int:
    """Return the number of physical cores that this process may run on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or allowed, allowed)
