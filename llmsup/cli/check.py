"""`llmsup check`: the config's mistakes, and what each model would be started with.

The only program that it runs is `llama-server`, to ask for its flags and its version; peers are asked for their models.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from attrs import Factory, frozen

from ..catalog.library import scan_now
from ..config import DEFAULT_PATH, find
from ..config.schema import Config
from ..errors import ConfigError
from ..memory.cost.estimate import Estimate
from ..process.lines import visible
from ..process.server_file import servers_of
from ..units import format_bytes, format_seconds
from ..web.listing import PARTS
from .configs import understand
from .memory_report import report
from .options import config_option, json_option
from .peer_look import Look, look_at
from .placing import Placing, where
from .preflight import findings
from .progress import counting
from .resolved import Resolved, resolve


@click.command("check")
@config_option
@click.option("--all", "every", is_flag=True, help="Show the models found on the disk as well.")
@click.option("--memory", is_flag=True, help="Show this machine's memory readings and their sources instead.")
@json_option
def command(config: str | None, every: bool, memory: bool, as_json: bool) -> None:
    """Check the config and show what each model resolves to.

    All mistakes are shown at once: those in the file, and what is missing on this machine. The exit code is 2 if there
    are any. What may be intended, or only a passing state, such as a peer that doesn't answer, is a warning. <socket>,
    <slots> and <port> stand for what is chosen at each start.

    \b
    Example:
      llmsup check --config llmsup.toml
      llmsup check --memory
    """
    if memory:
        report(config, as_json=as_json)
        return
    path = find(config)
    source = str(path) if path else "the built-in defaults"
    result = examine(path, source, found=every)
    if as_json:
        click.echo(json.dumps({"config": str(path) if path else None, **result.as_json()}, indent=2))
        raise click.exceptions.Exit(2 if result.mistakes else 0)
    if path is None:
        click.echo(f"There is no config at {DEFAULT_PATH}; these are the built-in defaults.")
    for model in result.models:
        if not model.mistakes:
            click.echo(describe(model) + "\n")
        elif model.spec.name not in result.settings.models:
            click.echo(visible(f"{model.spec.name}: can't be served: {model.mistakes[0]}.") + "\n")
    for peer in result.peers:
        if not peer.problem:
            click.echo("\n".join(visible(line) for line in peer.lines()) + "\n")
    for line in result.placing.lines if result.placing else ():
        click.echo(visible(line))
    for warning in result.warnings:
        click.echo(visible(f"warning: {warning}"), err=True)
    if result.mistakes:
        raise ConfigError(result.mistakes, source)
    warned = f", {_count(len(result.warnings), 'warning')}" if result.warnings else ""
    more = f", and {result.others} more found on the disk (`llmsup ls`, or --all here)" if result.others else ""
    click.echo(f"{source}: no mistakes{warned}, {_count(len(result.models), 'model')}{more}")


@frozen(kw_only=True)
class Result:
    """The result of checking a config.

    Attributes:
        settings: As much of the config as could be read.
        models: The models that were resolved.
        others: How many more models are served.
        mistakes: What can't work, a line each, with its place.
        warnings: What might not work or might not be intended, likewise.
        peers: What was seen of the peers.
        placing: This machine's devices; None: nobody has looked.
    """

    settings: Config = Factory(Config)
    models: Sequence[Resolved] = ()
    others: int = 0
    mistakes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    peers: Sequence[Look] = ()
    placing: Placing | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        models = [model.as_json() for model in self.models]
        devices = self.placing.as_json() if self.placing else []
        peers = [peer.as_json() for peer in self.peers]
        return {
            "models": models,
            "devices": devices,
            "peers": peers,
            "mistakes": self.mistakes,
            "warnings": self.warnings,
        }


def examine(path: Path | None, source: str, *, found: bool) -> Result:
    """Check everything that `serve` would use, without stopping at the first mistake."""
    try:
        settings, wrong = understand(path) if path else (Config(), ())
    except ConfigError as error:
        return Result(mistakes=error.mistakes)
    with counting("reading model files") as count:
        snapshot = scan_now(settings, count)
    whole = trio.run(partial(resolve, settings, snapshot, source, found=found))
    # a found file that can't be served is no mistake of the config's
    unstartable = [line for model in whole.models if model.spec.name in settings.models for line in model.mistakes]
    # Of a config with mistakes, tables of peers may lack what is wrong in them: an address, or whom to trust.
    peers = [] if wrong else look_at(settings.peers.values(), _identity(settings, path))
    others = list(findings(settings, whole.served, whole.missing, peers, whole=not wrong))
    return Result(
        settings=settings,
        models=whole.models,
        others=len(whole.others),
        mistakes=(*wrong, *unstartable, *(each.line(source) for each in others if each.lasting)),
        warnings=tuple(each.line(source) for each in others if not each.lasting),
        peers=peers,
        placing=whole.placing,
    )


def _identity(settings: Config, path: Path | None) -> str:
    """What peers know the server by that runs with this config, as they don't tell it of its own models; "" if none
    does.
    """
    here = str(path.absolute()) if path else ""
    return next((each.identity for each in servers_of(settings.server.state_dir) if each.config == here), "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def describe(model: Resolved) -> str:
    """A few lines about one model."""
    facts = [model.engine, model.spec.kind or "chat", _ttl(model)]
    if model.cost is not None and model.cost.source == "declared":
        facts.append(f"memory {format_bytes(model.cost.bytes)} (declared)")
    elif model.cost is not None and model.estimate is not None:
        facts.append(f"memory {format_bytes(model.cost.bytes)} ({_parts(model.estimate)})")
        if model.cost.grows:
            facts.append(f"and up to {format_bytes(model.cost.grows)} for cached prompts")
    elif model.weights is not None:
        facts.append(f"weights {format_bytes(model.weights)}")
    lines = [f"{model.spec.name}: {', '.join(facts)}", f"  {shlex.join(model.command)}"]
    if model.cost is not None and (places := where(model.cost)):
        lines.append(f"  {places}")
    if model.with_requests:
        lines.append(f"  sent with each request: {json.dumps(dict(model.with_requests))}")
    lines += [f"  {correction}" for correction in model.corrections]
    return "\n".join(visible(line) for line in lines)


def _parts(estimated: Estimate) -> str:
    """What an estimate is made of: "weights 92.1 MiB, kv 45.0 MiB"."""
    sizes = {part: getattr(estimated, part) for part in PARTS}
    parts = ", ".join(f"{part} {format_bytes(size)}" for part, size in sizes.items() if size)
    return f"{parts}; {estimated.context.n_ctx} tokens"


def _ttl(model: Resolved) -> str:
    if model.spec.pinned:
        return "pinned"
    return f"ttl {format_seconds(model.spec.ttl)}"
