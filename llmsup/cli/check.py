"""`llmsup check`: the config's mistakes, and what each model would be started with.

It does not start anything but `llama-server --help`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

import click
import trio

from ..config import DEFAULT_PATH, find, load
from ..config.schema import Config
from ..errors import ConfigError
from ..units import format_bytes, format_seconds
from .options import config_option, json_option
from .resolved import Resolved, resolve
from .visible import visible


@click.command("check")
@config_option
@json_option
def command(config: str | None, as_json: bool) -> None:
    """Check the config and show what each model resolves to.

    Every mistake is told at once, and makes the exit code 2. What an engine is told anew at each start stands there
    as <socket> or <port>.

    \b
    Example:
      llmsup check --config llmsup.toml
    """
    path = find(config)
    source = str(path) if path else "the built-in defaults"
    models: Sequence[Resolved] = ()
    try:
        settings = load(path) if path else Config()
        models = trio.run(resolve, settings, source)
        mistakes = tuple(mistake for model in models for mistake in model.mistakes)
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
    if mistakes:
        raise ConfigError(mistakes, source)
    click.echo(f"{source}: no mistakes, {len(models)} model{'s' if len(models) != 1 else ''}")


def describe(model: Resolved) -> str:
    """A few lines about one model."""
    facts = [model.engine, model.spec.kind or "chat", _ttl(model)]
    if model.weights is not None:
        facts.append(f"weights {format_bytes(model.weights)}")
    lines = [f"{model.spec.name}: {', '.join(facts)}", f"  {shlex.join(model.command)}"]
    if model.with_requests:
        lines.append(f"  sent with each request: {json.dumps(dict(model.with_requests))}")
    return "\n".join(visible(line) for line in lines)


def _ttl(model: Resolved) -> str:
    if model.spec.pinned:
        return "pinned"
    return f"ttl {format_seconds(model.spec.ttl)}"
