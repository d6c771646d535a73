"""What a model of the config comes to on this machine: its engine, its command line, its file, or what is missing.

It does not know how that is shown.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio
from attrs import Factory, frozen

from ..config.schema import Config, ModelSpec
from ..config.wording import dotted
from ..engines.command import mentions
from ..engines.files import resolve_path
from ..engines.launch import Launch, TcpAddress
from ..engines.plan import LLAMA_SERVER, Planner, xllamacpp_installed
from ..engines.probe import Probe
from ..errors import SetupError
from ..units import Bytes

SOCKET = Path("<socket>")
PORT = "<port>"


@frozen(kw_only=True)
class Resolved:
    """One model.

    Attributes:
        spec: As configured.
        engine: What a person calls its engine, or "".
        command: Its command line, with placeholders for what differs at each start.
        with_requests: Sampling that the engine can't take at launch.
        weights: The size of its file, all parts together; None if there is none.
        mistakes: Why it can't be started, each with its place in the config.
    """

    spec: ModelSpec
    engine: str = ""
    command: tuple[str, ...] = ()
    with_requests: Mapping[str, Any] = Factory(dict)
    weights: Bytes | None = None
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
            "mistakes": self.mistakes,
        }


async def resolve(config: Config, source: str) -> list[Resolved]:
    """Resolve every model, as it would be when it is started; `source` is what mistakes call the config."""
    planner = Planner(config=config, probe=Probe(), bundled_available=xllamacpp_installed)
    return [await _resolve(planner, spec, source) for spec in config.models.values()]


async def _resolve(planner: Planner, spec: ModelSpec, source: str) -> Resolved:
    problems: dict[str, None] = {}  # in their order, each once: the planner stops at the first
    model = launch = None
    command = _command(planner.config, spec)
    if spec.path and (not command or mentions((*command, *spec.args), "PATH")):
        try:
            model = resolve_path(spec, planner.config.catalog.roots, directories=bool(command))
        except SetupError as error:
            problems[str(error)] = None
    try:
        launch = await planner.plan(spec, SOCKET)
    except SetupError as error:
        problems[str(error)] = None
    place = dotted(("models", spec.name))
    return Resolved(
        spec=spec,
        engine=launch.engine if launch else "",
        command=_argv(launch) if launch else (),
        with_requests=launch.body_defaults if launch else {},
        weights=await trio.to_thread.run_sync(weights, model) if model else None,
        mistakes=tuple(f"{problem.rstrip('.')} @ {source}: {place}" for problem in problems),
    )


def _command(config: Config, spec: ModelSpec) -> tuple[str, ...]:
    """The command of its own or of its named engine; none for llama.cpp's."""
    named = config.engines.get(spec.engine)
    return spec.command or (named.command if named and named.name != LLAMA_SERVER else ())


def _argv(launch: Launch) -> tuple[str, ...]:
    if not isinstance(launch.address, TcpAddress):
        return launch.argv
    # The port was free a moment ago and is another one next time. (Should the same digits stand elsewhere in the
    # command, they are replaced too; it is only for reading.)
    return tuple(word.replace(str(launch.address.port), PORT) for word in launch.argv)


def weights(model: Path) -> Bytes:
    """The size of a model's file, of all its parts, or of everything in its directory."""
    if model.is_dir():
        parts = [path for path in model.rglob("*") if path.is_file()]
    elif "-00001-of-" in model.name:
        pattern = glob.escape(model.name).replace("-00001-of-", "-[0-9][0-9][0-9][0-9][0-9]-of-")
        parts = list(model.parent.glob(pattern))
    else:
        parts = [model]
    return Bytes(sum(part.stat().st_size for part in parts))
