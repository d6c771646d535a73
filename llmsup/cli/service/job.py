"""What the service manager runs: the command, its environment, and the time limits for its start and stop.

`launchd` and `systemd` write it down, each in its own format.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from ...config import Config, Server, find
from ...errors import SetupError
from ...units import Seconds
from .surroundings import read_there, surroundings, unwritable

START = Seconds(120)
"""Seconds until requests must be answered. A warm start takes a second; Python's first one from a cold disk takes
longer, and llmsup itself allows three seconds for the first scan for models."""

REST = Seconds(20)
"""Seconds for a stop beyond `shutdown_grace` and `stop_grace`: the last messages on open connections, the return of the
engines' memory, the guard."""


@frozen
class Job:
    """One llmsup for a service manager.

    Attributes:
        arguments: The command, its program an absolute path.
        environment: What is set in addition to what the manager sets.
        home: The working directory.
        listen: The address to listen on, as in the config.
        start: Seconds until it must be ready.
        stop: Seconds that it may take to stop; `inf`: no limit.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # it may contain secrets
    home: str
    server: Server = field(repr=False)
    start: Seconds
    stop: Seconds


def make_job(config: str | None, names: Iterable[str], environ: Mapping[str, str] = os.environ) -> Job:
    """Make the job that serves what `llmsup serve --config CONFIG` does in this terminal.

    Args:
        config: The config's path, as given to --config; None: the usual one.
        names: Variables of the environment to take along.

    Raises:
        ConfigError: The config has mistakes.
        SetupError: It doesn't exist, or needs a variable that the service wouldn't have; or a path can't be
            represented.
    """
    environment = surroundings(names, environ)
    path = find(config, environ)
    settings = read_there(path, environment, environ)
    # -P: a directory in the home directory that happens to be called llmsup must not be imported (python(1)).
    words = [_python(), "-P", "-m", "llmsup", "serve"]
    if path is not None:
        words += ["--config", os.path.abspath(path)]  # links are kept: their target may be replaced
    home = os.path.expanduser("~")
    for text in (home, *words):
        _check("The path", text)
    for name, value in environment.items():
        _check(f"${name},", value)
    return Job(tuple(words), environment, home, settings.server, START, longest_stop(settings))


def longest_stop(config: Config) -> Seconds:
    """Seconds that an orderly stop may take: requests finish, then all engines stop at the same time."""
    engines = max(s.stop_grace for s in (config.defaults, *config.models.values()))
    return Seconds(config.server.shutdown_grace + engines + REST)


def _check(what: str, text: str) -> None:
    if bad := unwritable(text):
        raise SetupError(
            f"{what} {text!a} has a character that no service's file can hold ({bad!a}).", hint="Name it without that."
        )


def _python() -> str:
    if not sys.executable:
        raise SetupError("Python doesn't know where it is itself.", hint="Start llmsup by its full path.")
    return os.path.abspath(sys.executable)  # not resolved: a venv's Python is a link to another one
