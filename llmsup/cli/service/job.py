"""What a service manager is to run: the command, its environment, and how long it may take to start and to stop.

It does not know launchd nor systemd, nor where their files are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from attrs import field, frozen

from ...config import Config, find
from ...errors import SetupError
from ...units import Seconds
from .surroundings import read_there, surroundings, unwritable

START = Seconds(120)
"""How long it may take until requests are answered. A warm start takes a second; Python's first one on a cold disk
takes longer, and llmsup itself gives the first look at the models three seconds."""

REST = Seconds(20)
"""What stopping may take beside `shutdown_grace` and `stop_grace`: last words on open connections, engines' memory that
is waited for, the guard."""


@frozen
class Job:
    """One llmsup for a service manager.

    Attributes:
        arguments: The command, its program an absolute path.
        environment: What is set beside what the manager sets.
        home: The working directory.
        listen: The address that it listens on, as the config has it.
        start: Seconds until it must be ready.
        stop: Seconds that it may take to stop; `inf` if there is no end.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # there may be secrets in it
    home: str
    listen: str
    start: Seconds
    stop: Seconds


def make_job(config: str | None, names: Iterable[str], environ: Mapping[str, str] = os.environ) -> Job:
    """Make the job that serves what `llmsup serve --config CONFIG` does in this terminal.

    Args:
        config: The config's path, as --config takes it; None: the one that is found.
        names: Variables of the environment to take along.

    Raises:
        ConfigError: The config has mistakes.
        SetupError: It isn't there, or needs a variable that the service would not have; or a path can't be written.
    """
    environment = surroundings(names, environ)
    path = find(config, environ)
    settings = read_there(path, environment, environ)
    # -P: a directory that happens to be called llmsup in the home directory must not be taken for us (python(1)).
    words = [_python(), "-P", "-m", "llmsup", "serve"]
    if path is not None:
        words += ["--config", os.path.abspath(path)]  # links stay: what they lead to may be replaced
    home = os.path.expanduser("~")
    for text in (home, *words):
        _check("The path", text)
    for name, value in environment.items():
        _check(f"${name},", value)
    return Job(tuple(words), environment, home, settings.server.listen, START, longest_stop(settings))


def longest_stop(config: Config) -> Seconds:
    """How long an orderly end may take: requests finish, then all engines stop at the same time."""
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
    return os.path.abspath(sys.executable)  # not resolved: a venv is a link to another Python
