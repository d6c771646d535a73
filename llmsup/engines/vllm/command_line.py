"""The command line of a `vllm serve`: a model's settings in its flags."""

from __future__ import annotations

import math
from pathlib import Path

from attrs import frozen

from ...config.schema import ModelSpec
from ..address import Address, TcpAddress, UnixAddress
from ..kind import Machine
from ..launch import Launch
from ..llama_server.flags import FlagSet
from ..ports import LOOPBACK, free_port
from . import NAME
from .flags import check_args, has, value_of
from .sampling import translated
from .sleeping import DEVELOPMENT, FLAG, OPEN_PATHS, SLEEP, can_sleep

SHARE = 0.92
"""The share of each device that it takes unless it is told another (vllm/config/cache.py; 0.9 before 0.18)."""

QUIET = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
"""It tells nobody that it runs (docs.vllm.ai, usage/usage_stats), and fetches nothing."""

RAY = "RAY_ADDRESS"
"""The variable by which Ray finds its cluster; a model whose `env` has it is run by Ray."""

_SHARE_FLAG, _CACHE_FLAG, _BACKEND = (
    "--gpu-memory-utilization",
    "--kv-cache-memory-bytes",
    "--distributed-executor-backend",
)
_KINDS = {"embedding": ("--task", "embed"), "rerank": ("--task", "score")}


@frozen(kw_only=True)
class VllmStart:
    """What a vLLM is started with: the program and words that come first, the model's directory, and the socket."""

    spec: ModelSpec
    program: tuple[str, ...]
    model: Path
    socket: Path


def launch(start: VllmStart, build: FlagSet, machine: Machine) -> Launch:
    """Return the launch of a vLLM for one model.

    Raises:
        SetupError: The model's `args` have a flag that llmsup sets, or that this build doesn't know.
    """
    spec = start.spec
    check_args(spec, build)
    address: Address = UnixAddress(start.socket)
    where: tuple[str, ...] = ("--uds", str(start.socket))
    if "--uds" not in build.flags:  # it came with 0.11
        address = TcpAddress(LOOPBACK, free_port())
        where = ("--host", LOOPBACK, "--port", str(address.port))
    sleeps, why_not = can_sleep(spec, build, machine, private=isinstance(address, UnixAddress))
    sampling = translated(spec)
    words = (
        *(*start.program, "serve", str(start.model), *where),
        *("--served-model-name", spec.upstream_model or spec.name),
        *_settings(spec, build, machine),
        *((FLAG,) if sleeps else ()),
        *spec.args,
    )
    return Launch(
        engine=NAME,
        argv=words,
        env={**QUIET, **(DEVELOPMENT if sleeps else {}), **spec.env},
        address=address,
        health=spec.health,
        body_defaults=sampling.fields,
        corrections=(*sampling.left_out, *((why_not,) if why_not else ())),
        sleep=SLEEP if sleeps else None,
        open_paths=OPEN_PATHS if sleeps else None,
    )


def _settings(spec: ModelSpec, build: FlagSet, machine: Machine) -> tuple[str, ...]:
    words: list[str] = []
    if spec.ctx_size:
        words += ("--max-model-len", str(spec.ctx_size))
    if spec.parallel:
        words += ("--max-num-seqs", str(spec.parallel))
    if spec.kind in _KINDS and not has(spec, "--runner", "--task", "--convert"):
        words += ("--runner", "pooling") if "--runner" in build.flags else _KINDS[spec.kind] if build.flags else ()
    if share := declared_share(spec, machine):
        words += (_SHARE_FLAG, str(share))
    if RAY in spec.env and not has(spec, _BACKEND):
        words += (_BACKEND, "ray")
    return tuple(words)


def declared_share(spec: ModelSpec, machine: Machine) -> float:
    """Return the share of each device that makes it take what its `memory` says; 0 if nothing is to be said."""
    sizes = machine.device_sizes()
    if spec.memory is None or not sizes or has(spec, _SHARE_FLAG, _CACHE_FLAG):
        return 0.0
    share = spec.memory / (devices(spec) * min(sizes.values()))
    return max(math.floor(min(share, 0.98) * 10_000) / 10_000, 0.01)


def share(spec: ModelSpec) -> float:
    """Return the share of each device that it takes if no `memory` is declared; 0: it takes what it needs."""
    if has(spec, _CACHE_FLAG):
        return 0.0
    try:
        return min(max(float(value_of(spec, _SHARE_FLAG) or SHARE), 0.0), 1.0)
    except ValueError:
        return SHARE


def devices(spec: ModelSpec) -> int:
    """Return how many devices it spreads over; those on other machines count, too."""
    tensor = _count(value_of(spec, "--tensor-parallel-size", "-tp"))
    return tensor * _count(value_of(spec, "--pipeline-parallel-size", "-pp"))


def limit(spec: ModelSpec) -> int:
    """Return the tokens of context that its settings give it; 0 if they don't say."""
    return spec.ctx_size or _count(value_of(spec, "--max-model-len"), 0)


def _count(word: str, otherwise: int = 1) -> int:
    return int(word) if word.isascii() and word.isdecimal() and int(word) else otherwise
