"""What a model of the config resolves to on this machine: its engine, command line and file, or what is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio
from attrs import Factory, frozen

from ..catalog.disk.lmstudio import model_roots
from ..catalog.disk.model_path import resolve_path
from ..catalog.entry import Entry
from ..catalog.found import Snapshot
from ..catalog.merge import Disk, entries
from ..config.live import LiveConfig
from ..config.schema import Config, ModelSpec
from ..config.wording import dotted
from ..engines.address import TcpAddress
from ..engines.kinds import KINDS
from ..engines.launch import Launch
from ..engines.llama_server.flag_probe import FlagProbe
from ..engines.missing import without_engine
from ..engines.selector import EngineSelector
from ..errors import SetupError
from ..memory.cost.cost import Cost, cost
from ..memory.cost.estimate import Estimate, estimate
from ..process.inheritance import Inheritance
from ..prompt_cache.ability import ability
from ..units import Bytes
from ..web.devices import sizes
from .placing import Placing

SOCKET = Path("<socket>")
SLOTS = Path("<slots>")
PORT = "<port>"


@frozen(kw_only=True)
class Resolved:
    """One model.

    Attributes:
        spec: Its settings.
        engine: Its engine's name for people, or "" if there is none.
        command: Its command line, with placeholders for what differs at each start.
        with_requests: Sampling that the engine can't take at launch, and so gets with each request.
        corrections: What was corrected in its `args` for this build of the engine.
        weights: The size of its file, all parts together; None if there is none.
        estimate: The estimate of its memory from its file's header; None if no header tells that.
        cost: What it would be admitted with; None if that is only a guess.
        mistakes: Why it can't be started, each with its place in the config if it has a table there.
    """

    spec: ModelSpec
    engine: str = ""
    command: tuple[str, ...] = ()
    with_requests: Mapping[str, Any] = Factory(dict)
    corrections: tuple[str, ...] = ()
    weights: Bytes | None = None
    estimate: Estimate | None = None
    cost: Cost | None = None
    mistakes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For programs. `ttl` is in seconds, null for never."""
        return {
            "model": self.spec.name,
            "engine": self.engine or None,
            "command": self.command,
            "kind": self.spec.kind or "chat",
            "ttl": None if math.isinf(self.spec.ttl) else self.spec.ttl,
            "weights_bytes": self.weights,
            "memory_bytes": self.cost and self.cost.bytes,
            "memory_source": self.cost and self.cost.source,
            "grows_bytes": self.cost and self.cost.grows,
            "devices": dict(sizes(self.cost.devices)) if self.cost else {},
            "corrections": self.corrections,
            "mistakes": self.mistakes,
        }


@frozen(kw_only=True)
class Whole:
    """What a whole config resolves to.

    Attributes:
        models: The models that were resolved.
        others: The names of the other models that would be served.
        served: Every model, by name.
        missing: For those of the others that no engine can run: why.
        placing: This machine's devices; None: nobody has looked.
    """

    models: Sequence[Resolved] = ()
    others: Sequence[str] = ()
    served: Mapping[str, Entry] = Factory(dict)
    missing: Mapping[str, str] = Factory(dict)
    placing: Placing | None = None


async def resolve(config: Config, snapshot: Snapshot, source: str, *, found: bool = False) -> Whole:
    """Resolve every model of the config, as it would be started.

    Args:
        source: The config's name in mistakes.
        found: Also resolve the models without a table.
    """
    probe = FlagProbe(inheritance=Inheritance(lambda: config.secret_variables))
    selector = EngineSelector(config=LiveConfig(config), probe=probe, kinds=KINDS)
    disk = Disk(snapshot=snapshot, engines=KINDS)
    served = await trio.to_thread.run_sync(entries, config, disk)
    selector.several = lambda: len(served) > 1
    placing = await Placing.here(selector)
    others = [] if found else [name for name in served if name not in config.models]
    return Whole(
        models=[await _resolve(selector, served[name], source, placing) for name in served if name not in others],
        others=others,
        served=served,
        missing=await without_engine(selector, (served[name] for name in others)),
        placing=placing,
    )


async def _resolve(selector: EngineSelector, entry: Entry, source: str, placing: Placing) -> Resolved:
    spec = entry.spec
    problems: dict[str, None] = {}  # each once, in order: the selector may find the refusal again
    if entry.refusal:
        problems[f"model {spec.name}: {entry.refusal}"] = None
    launch = None
    slots = SLOTS if selector.config.now.prompt_cache.disk and ability(entry, KINDS) else None
    try:
        # In these cases the refusal says it all.
        if not (entry.refusal and (entry.found or not spec.path or KINDS.reads_tensors(spec))):
            workers = tuple(f"<{name}>" for name in spec.rpc)
            launch = await selector.plan(spec, SOCKET, entry.found, entry.engine, slots, workers)
    except SetupError as error:
        problems |= dict.fromkeys(map(str, error.each))
    place = f" @ {source}: {dotted(('models', spec.name))}" if spec.name in selector.config.now.models else ""
    estimated = estimate(spec, entry.found) if entry.found else None
    counts = await placing.place(entry, cost(entry, estimated, None))
    return Resolved(
        spec=spec,
        engine=launch.engine if launch else "",
        command=_argv(launch) if launch else (),
        with_requests=launch.body_defaults if launch else {},
        corrections=launch.corrections if launch else (),
        weights=entry.found.size if entry.found else await trio.to_thread.run_sync(_weights, selector.config.now, spec),
        estimate=estimated,
        cost=counts if counts.least and not entry.refusal else None,
        mistakes=tuple(f"{problem.rstrip('.')}{place}" for problem in problems),
    )


def _weights(config: Config, spec: ModelSpec) -> Bytes | None:
    """The size of the file, or of everything in the directory, that an engine other than llama.cpp's is given."""
    try:
        model = resolve_path(spec, model_roots(config.catalog), directories=True) if spec.path else None
    except SetupError:
        return None
    if model is None:
        return None
    parts = [path for path in model.rglob("*") if path.is_file()] if model.is_dir() else [model]
    return Bytes(sum(part.stat().st_size for part in parts))


def _argv(launch: Launch) -> tuple[str, ...]:
    if not isinstance(launch.address, TcpAddress):
        return launch.argv
    # The port is another one at each start. (The same digits elsewhere in the command are replaced too, which is no
    # harm where the command is only shown.)
    return tuple(word.replace(str(launch.address.port), PORT) for word in launch.argv)
