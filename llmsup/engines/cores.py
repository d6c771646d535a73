"""The share of the cores that an engine computes with, and how its threads wait for each other.

It does not know what the models are, nor which of them is busy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import psutil
from attrs import Factory, frozen

from ..config.schema import ModelSpec

PASSIVE: Mapping[str, str] = {"OMP_WAIT_POLICY": "passive"}
"""Has an engine's threads sleep while they wait for each other. It is OpenMP's, which llama.cpp is built with on
Linux unless it is told otherwise; a build without it spins, and nothing in its environment or flags changes that
(`--poll` is about the time between graphs).
"""

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@frozen
class Share:
    """What one engine gets.

    Attributes:
        threads: How many to compute with, or None to leave it to the engine.
        env: Goes into its environment.
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
    """A model's share with `threads = "auto"`; a number is taken as it is, and nothing is added to it.

    All cores if it is the only model. If there may be company, half of them: threads can't change once the engine
    runs, and two are busy at once far more often than three. How many are loaded at the moment doesn't count, or the
    first to come would keep the cores that the next one needs.

    Why not all: ggml's threads meet after each operation, hundreds of times a token, and spin while they wait. One that
    is not running because another engine spins on its core makes all others wait for the scheduler. On two cores one
    engine with both makes 106 tokens/s, two with both 36 together, two with one each 138, and one of these alone 69
    (SmolLM2-135M; tools/bench_two_models.py).

    More than two may be busy all the same, and other programs are. So threads that have company sleep while they wait.
    With twice as many threads as cores two engines then made 78 tokens/s together instead of 36. The price is some 6 ms
    a token there, on two threads, to one that is alone: a third of its tokens/s, and less of a larger model's, of which
    each operation takes longer. Sleeping alone, with all cores for everybody, would be simpler, but then two small
    models together stay below one alone.

    A graphics card makes no difference. What is computed there needs one thread to feed it, so that a small share costs
    nothing; and what doesn't fit onto the card is computed on the cores after all. Only a Mac's engine chooses for
    itself: it knows its performance cores, and computes on the GPU.

    Args:
        cores: Physical cores that we may use.
        several: More than one model may be loaded.
        environ: What the engine inherits; who has set there how threads wait is obeyed, as is the model's `env`.
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
    """The physical cores that this process may run on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or allowed, allowed)
