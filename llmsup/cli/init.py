"""`llmsup init`: a commented starting config from the models on this machine; `starting` writes its text."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..catalog.found import Snapshot
from ..catalog.library import scan_now
from ..config import DEFAULT_PATH, Config, find
from ..config.tilde import expand
from ..config.write import replaceable, write_whole
from ..errors import ConfigError
from .configs import load
from .progress import counting
from .starting import parted, starting_config


@click.command("init")
@click.option("--output", metavar="FILE", help=f"Where to write it; - is standard output  [default: {DEFAULT_PATH}]")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(output: str | None, force: bool) -> None:
    """Write a commented config from the models on this machine.

    Models are looked for where an existing config says, else in LM Studio's and Ollama's folders. llmsup serves them
    without a config, too; you need one only to change a setting.

    \b
    Example:
      llmsup init --output - | less
    """
    target = None if output == "-" else expand(output or DEFAULT_PATH)
    if target:
        replaceable(target, force=force)  # before searching the disk, which can take a while
    config = _config()
    snapshot = _look(config)
    text = starting_config(config, snapshot)
    if target is None:
        click.echo(text, nl=False)
        return
    write_whole(target, text, force=force)
    served, others = parted(snapshot)
    found = f"{len(served)} model{'s' if len(served) != 1 else ''} found"
    if others:
        found += f", and {len(others)} that can't be served (the file says why)"
    serve = "llmsup serve" if target == expand(DEFAULT_PATH) else f"llmsup serve --config {_short(target)}"
    click.echo(f"Wrote {_short(target)}: {found}. Next: {serve}", err=True)


def _look(config: Config) -> Snapshot:
    """Find all models; on a terminal, with a progress bar while files are read for the first time."""
    with counting("reading model files") as count:
        return scan_now(config, count)


def _config() -> Config:
    """The existing config, or the defaults if there is none or it can't be read."""
    try:
        path = find(None)
        return load(path) if path else Config()
    except ConfigError:
        return Config()


def _short(path: Path) -> str:
    home = os.path.expanduser("~")
    return f"~{str(path).removeprefix(home)}" if str(path).startswith(home + os.sep) else str(path)
