"""`llmsup pull`: fetch a model from the hub into the first catalog root, or have Ollama pull one of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click
import trio

from ..config import Config, find
from ..downloads import ollama
from ..downloads.hub import hub, mirror
from ..downloads.name import HubName, understood
from ..errors import BadRequest, DownloadFailed
from ..process.lines import visible
from ..units import Bytes, format_bytes, format_seconds
from .configs import usable
from .options import config_option, json_option
from .progress import Show, fetching
from .pull_report import as_data, show_plan
from .pull_server import ceiling_here, config_in_use, made_known


@click.command("pull")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Show what would be fetched, where it goes, and whether it fits.")
@click.option("--force", is_flag=True, help="Fetch it even if it will not fit this machine's memory.")
@config_option
@json_option
def command(name: str, dry_run: bool, force: bool, config: str | None, as_json: bool) -> None:
    """Fetch a model from Hugging Face, or by Ollama.

    NAME is a repository with GGUF files, hf.co/ORG/REPO or ORG/REPO, with or without a quantisation (:Q4_K_M) or a
    file's name behind it; the address of its page; or, without a slash, one of Ollama's names, which an Ollama that
    runs here pulls. Without a quantisation it is Q4_K_M, else the best that fits this machine.

    The files go into the first of the catalog's roots as LM Studio has them, ORG/REPO/FILE.gguf, with the projector of
    a model that sees. What was interrupted goes on where it ended. A running server knows the model at once.

    \b
    Example:
      llmsup pull lmstudio-community/Qwen3-4B-GGUF
      llmsup pull hf.co/unsloth/gemma-3-27b-it-GGUF:Q5_K_M --dry-run
      llmsup pull llama3.2:3b

    \b
    Environment:
      HF_TOKEN      your token, for private and gated repositories; else the one that `hf auth login` keeps
      HF_ENDPOINT   a mirror of the hub
      OLLAMA_HOST   where Ollama is
    """
    try:
        meant = understood(name, hub=mirror())
    except BadRequest as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    if not isinstance(meant, HubName):
        _by_ollama(meant.name, dry_run=dry_run, as_json=as_json)
        return
    path = find(config) if config else config_in_use() or find(None)
    settings = usable(path, ("catalog", "defaults", "memory")) if path else Config()
    _from_hub(meant, settings, dry_run=dry_run, force=force, as_json=as_json)


def _from_hub(name: HubName, settings: Config, *, dry_run: bool, force: bool, as_json: bool) -> None:
    the_hub = hub()
    from ..downloads.fetch import fetch
    from ..downloads.plan import plan

    ceiling = Bytes(0) if force else ceiling_here(settings)
    planned = plan(the_hub, name, settings, ceiling, force=force)
    if as_json and dry_run:
        click.echo(json.dumps(as_data(planned), indent=2))
        return
    if not as_json:
        show_plan(planned)
    planned.check()
    if dry_run:
        return
    began, missing = time.monotonic(), planned.missing
    with _stoppable("What has come is kept"), fetching(quiet=as_json) as show:
        for step in fetch(the_hub, planned):
            show(step.why or f"{step.what} {step.wanted.file.name}", step.done, step.wanted.file.size)
    took = format_seconds(time.monotonic() - began)
    done = f"{format_bytes(missing)} fetched in {took}." if missing else "All of it is there already."
    _end(done, f"{planned.listing.repo}/{planned.model.name}", as_json=as_json)


def _by_ollama(name: str, *, dry_run: bool, as_json: bool) -> None:
    if dry_run:
        raise DownloadFailed(f"--dry-run can't tell of {name}: Ollama says what it fetches only while it does.")

    async def follow(show: Show) -> None:
        async with ollama.pulling(name) as said:
            async for line in said:
                show(str(line.get("status", "")), _count(line.get("completed")), _count(line.get("total")))

    with _stoppable("Ollama keeps what has come"), fetching(quiet=as_json) as show:
        trio.run(partial(follow, show))
    _end(f"Ollama has pulled {name}.", name, as_json=as_json)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


@contextmanager
def _stoppable(kept: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"\nStopped. {kept}: the same command goes on from there.", err=True)
        raise click.exceptions.Exit(130) from None


def _end(done: str, name: str, *, as_json: bool) -> None:
    """Make a running server know the model, and say what it is called there; `name`: one that it answers to."""
    known, said = made_known(name)
    if as_json:
        click.echo(json.dumps({"pulled": name, "model": known}, indent=2))
    else:
        click.echo(visible(f"{done} {said}"))
