"""`llmsup service install|uninstall|status|print`: what each does, and what it prints.

Whatever differs between launchd and systemd is behind `manager.Manager`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from typing import Any

import click

from ...config import find
from ...errors import ConfigError, Error, SetupError
from ...process.lines import visible
from ..configs import load
from ..groups import Group
from ..options import config_option, url_option
from ..target import connect
from .job import make_job
from .manager import Name, manager, usual
from .place import put, remove, written_before
from .tool import ToolFailed, shown
from .trial import must_be_free, must_be_ourselves, must_start

_env_option = click.option(
    "--env",
    "names",
    metavar="NAME",
    multiple=True,
    help="Pass this environment variable on to the service, with its present value (repeatable).",
)


@click.group("service", cls=Group)
def command() -> None:
    """Keep llmsup running, as a launchd agent or a systemd user unit.

    It starts at login, is restarted if it fails, and serves what `llmsup serve` does in this terminal: with the same
    config, and the same PATH to find engines.

    \b
    Example:
      llmsup service print
      llmsup service install
    """


@command.command("print")
@config_option
@_env_option
@click.option(
    "--for", "name", type=click.Choice(["launchd", "systemd"]), help="The service manager  [default: this system's]"
)
def show(config: str | None, names: tuple[str, ...], name: Name | None) -> None:
    """Print what `install` would write, and write nothing."""
    click.echo(manager(name or usual()).text(make_job(config, names)), nl=False)


@command.command(short_help="Write the service's file and start it.")
@config_option
@_env_option
def install(config: str | None, names: tuple[str, ...]) -> None:
    """Write the service's file and start the service, replacing one that is installed.

    Run it again after raising `shutdown_grace` or `stop_grace` in the config, and after moving Python or llmsup.
    """
    must_be_ourselves()
    here = manager(usual())
    anew = written_before(here.file)
    job = make_job(config, names)
    must_start(job)
    if not anew:  # a server that runs then is most likely the service itself
        must_be_free(job.server)
    put(here.file, here.text(job))
    click.echo(f"Wrote {visible(str(here.file))}")
    try:
        here.start(anew=anew)
    except ToolFailed as error:
        raise SetupError(
            f"{error.message} {here.file} stays, but the service may not run.",
            hint=f"To start it, type: {shown(here.way)}   To see its log: {shown([here.log])}",
        ) from None
    click.echo(f"Started it. `llmsup service status` shows its state, `{visible(shown([here.log]))}` its log.")
    if here.note:
        click.echo(here.note)


@command.command()
def uninstall() -> None:
    """Stop the service and remove its file, if `install` wrote it."""
    here = manager(usual())
    if not written_before(here.file):
        click.echo(f"There is no {visible(str(here.file))}: nothing to do.")
        return
    _unless_missing(here.stop, f"If it doesn't run, remove its file by hand: rm {shlex.quote(str(here.file))}")
    remove(here.file)
    click.echo(f"Removed {visible(str(here.file))}")
    _unless_missing(here.forget, "The file is removed all the same.")


@command.command(short_help="Show whether the service runs and the server answers.")
@url_option
def status(url: str | None) -> None:
    """Show whether the service runs and the server answers; the exit code is 1 unless both are so."""
    here = manager(usual())
    ours = os.path.lexists(here.file) and written_before(here.file)
    click.echo(
        f"file:    {visible(str(here.file))}{'' if ours else ' (not there; `llmsup service install` writes it)'}"
    )
    try:
        state = here.state()
    except ToolFailed as error:
        runs, text = False, error.message
    else:
        runs, text = state.runs, state.text
    click.echo(f"{here.name}: {visible(text)}")
    answers, text = _health(url)
    click.echo(f"server:  {visible(text)}")
    click.echo(f"log:     {visible(shown([here.log]))}")
    if not (runs and answers):
        raise click.exceptions.Exit(1)


def _health(url: str | None) -> tuple[bool, str]:
    try:
        client = connect(url)
        health: Any = client.get("/health")
    except Error as error:
        return False, _mistakes() or str(error)
    if not isinstance(health, dict):
        return True, f"answers at {client.url}"
    problems = health.get("problems") or ()
    return True, "; ".join((f"{health.get('status')} at {client.url}", *map(str, problems)))


def _mistakes() -> str:
    """Why the server couldn't start: the mistakes in its config, or ""."""
    try:
        path = find(None)
        if path:
            load(path)
    except ConfigError as error:
        return f"{error} (see `llmsup check`)"
    except SetupError as error:
        return str(error)
    return ""


def _unless_missing(act: Callable[[], None], hint: str) -> None:
    """Run one of the manager's actions; if there is no manager, there is nothing running to stop."""
    try:
        act()
    except ToolFailed as error:
        if not error.missing:
            raise SetupError(error.message, hint=hint) from None
        click.echo(visible(error.message), err=True)
