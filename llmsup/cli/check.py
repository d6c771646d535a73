"""`llmsup check`: the config's mistakes, and what each model would be started with.

It does not start anything but `llama-server --help`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import partial

import click
import trio

from ..catalog.scan import scan_now
from ..config import DEFAULT_PATH, find
from ..config.schema import Config
from ..errors import ConfigError
from ..memory.cost.estimate import Estimate
from ..units import format_bytes, format_seconds
from ..web.listing import PARTS
from .configs import load
from .memory_report import report
from .options import config_option, json_option
from .progress import counting
from .resolved import Resolved, resolve
from .visible import visible


@click.command("check")
@config_option
@click.option("--all", "every", is_flag=True, help="Show the models that are found on the disk, too.")
@click.option("--memory", is_flag=True, help="Show this machine's memory readings and their sources instead.")
@json_option
def command(config: str | None, every: bool, memory: bool, as_json: bool) -> None:
    """Check the config and show what each model resolves to.

    Every mistake is told at once, and makes the exit code 2. What an engine is told anew at each start stands there
    as <socket> or <port>.

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
    models: Sequence[Resolved] = ()
    others = 0
    try:
        settings = load(path) if path else Config()
        with counting("reading model files") as count:
            snapshot = scan_now(settings, count)
        models, others = trio.run(partial(resolve, settings, snapshot, source, found=every))
        # a found file that can't be served is no mistake of the config's
        mistakes = tuple(m for model in models if model.spec.name in settings.models for m in model.mistakes)
    except ConfigError as error:
        mistakes = error.mistakes
    if as_json:
        click.echo(json.dumps({"config": str(path) if path else None, "models": [m.as_json() for m in models],
                               "mistakes": mistakes}, indent=2))  # fmt: skip
        raise click.exceptions.Exit(2 if mistakes else 0)
    if path is None:
        click.echo(f"There is no config at {DEFAULT_PATH}; these are the built-in defaults.")
    for model in models:
        if not model.mistakes:
            click.echo(describe(model) + "\n")
        elif model.spec.name not in settings.models:
            click.echo(visible(f"{model.spec.name}: can't be served: {model.mistakes[0]}.") + "\n")
    if mistakes:
        raise ConfigError(mistakes, source)
    more = f", and {others} more found on the disk (`llmsup ls`, or --all here)" if others else ""
    click.echo(f"{source}: no mistakes, {len(models)} model{'s' if len(models) != 1 else ''}{more}")


def describe(model: Resolved) -> str:
    """A few lines about one model."""
    facts = [model.engine, model.spec.kind or "chat", _ttl(model)]
    if model.cost is not None and model.cost.source == "declared":
        facts.append(f"memory {format_bytes(model.cost.bytes)} (declared)")
    elif model.cost is not None and model.needs is not None:
        facts.append(f"memory {format_bytes(model.cost.bytes)} ({_parts(model.needs)})")
        if model.cost.grows:
            facts.append(f"and up to {format_bytes(model.cost.grows)} for prompts that it keeps")
    elif model.weights is not None:
        facts.append(f"weights {format_bytes(model.weights)}")
    lines = [f"{model.spec.name}: {', '.join(facts)}", f"  {shlex.join(model.command)}"]
    if model.with_requests:
        lines.append(f"  sent with each request: {json.dumps(dict(model.with_requests))}")
    lines += [f"  {correction}" for correction in model.corrections]
    return "\n".join(visible(line) for line in lines)


def _parts(needs: Estimate) -> str:
    """What an estimate is made of: "weights 92.1 MiB, kv 45.0 MiB"."""
    sizes = {part: getattr(needs, part) for part in PARTS}
    parts = ", ".join(f"{part} {format_bytes(size)}" for part, size in sizes.items() if size)
    return f"{parts}; {needs.context.n_ctx} tokens"


def _ttl(model: Resolved) -> str:
    if model.spec.pinned:
        return "pinned"
    return f"ttl {format_seconds(model.spec.ttl)}"
