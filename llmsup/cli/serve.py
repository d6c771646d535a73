"""`llmsup serve`: the server in the foreground, with the config that is found; `running` runs and stops it."""

from __future__ import annotations

import logging
from pathlib import Path

import attrs
import click

from ..config import DEFAULT_PATH, Config, find
from ..config.tilde import expand
from ..fleet.fleet import Fleet
from ..web.second_port import listen_all
from . import running
from .configs import load
from .options import config_option, listen_option, verbose_option

log = logging.getLogger(__name__)

SHOWN = 8
"""How many models are named in the log at the start."""


@click.command("serve")
@config_option
@listen_option
@verbose_option
def command(config: str | None, listen: str | None, verbose: bool) -> None:
    """Run the server in the foreground.

    It serves every model found on this machine and those in the config, and logs to stderr. SIGTERM and SIGINT (Ctrl-C)
    stop it once the requests in flight are done; a second one stops it at once. A changed config is applied when it has
    been saved, if it has no mistakes; SIGHUP and `llmsup reload` do so at once, and look for new models. Closing the
    terminal stops the server like SIGTERM, unless it was started with nohup or setsid; `llmsup service install` keeps
    one running.

    \b
    Example:
      llmsup serve --config llmsup.toml --listen 127.0.0.1:5005
    """
    path = find(config)

    def read() -> Config:
        nonlocal path
        path = path or find(config)  # a file that has disappeared is an error, or its API keys would silently go, too
        settings = load(path) if path else Config()
        return attrs.evolve(settings, server=attrs.evolve(settings.server, listen=listen)) if listen else settings

    settings = read()
    sockets = listen_all(settings.server)  # before anything else is done or said: a taken port is one line

    def announce(url: str, fleet: Fleet) -> None:
        # Without --url, `llmsup ps` looks at the address in the user's own config.
        elsewhere = config or listen or settings.server.listen.endswith(":0")
        peers = tuple(settings.peers)
        introduce(fleet, path, ps=f"llmsup ps --url {url}" if elsewhere else "llmsup ps", peers=peers)

    watched = path or expand(DEFAULT_PATH)  # which may be written later
    running.run(settings, sockets, verbose=verbose, announce=announce, reread=read, source=path, watched=watched)


def introduce(fleet: Fleet, path: Path | None, *, ps: str, peers: tuple[str, ...] = ()) -> None:
    """Log what is served, and which command to try next."""
    if path is None:
        log.info("there is no config at %s: using the built-in defaults", DEFAULT_PATH)
    else:
        log.info("config %s", path)
    if not fleet.models and fleet.complete and not peers:
        running.warn_of_nothing()
        return
    log.info("%s%s", count(list(fleet.models)), "" if fleet.complete else " so far; more files are being read")
    if peers:
        log.info("and those of %s: %s", "a peer" if len(peers) == 1 else f"{len(peers)} peers", ", ".join(peers))
    log.info("`%s` shows the loaded models; GET /v1/models lists all of them", ps)


def count(names: list[str]) -> str:
    """The number of models and the names of the first few: "2 models: a, b"."""
    if not names:
        return "no models"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} model{'s' if len(names) != 1 else ''}: {', '.join(names[:SHOWN])}{more}"
