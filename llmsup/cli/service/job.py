"""What a service manager is to run: the command, its environment, and how long it may take to start and to stop.

It does not know launchd nor systemd, nor where their files are.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections import UserDict
from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import field, frozen

from ...config import Config, find, load
from ...errors import ConfigError, SetupError
from ...units import Seconds

START = Seconds(120)
"""How long it may take until requests are answered. A warm start takes a second; Python's first one on a cold disk
takes longer, and llmsup itself gives the first look at the models three seconds."""

REST = Seconds(20)
"""What stopping may take beside `shutdown_grace` and `stop_grace`: last words on open connections, engines' memory that
is waited for, the guard."""

USUAL = (
    "/opt/homebrew/bin",  # Homebrew on Apple Silicon
    "/usr/local/bin",  # Homebrew on Intel, and what people install by hand
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
)
"""Where programs are, whatever the terminal's PATH says. launchd's own is /usr/bin:/bin:/usr/sbin:/sbin."""

_GIVEN = ("HOME", "USER", "LOGNAME", "SHELL")
"""What both managers set by themselves (systemd.exec(5), "Environment Variables in Spawned Processes")."""

_OURS = ("OLLAMA_MODELS",)
"""What llmsup reads from the environment: it must find the same models as in the terminal."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


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
    environment = {"PATH": search_path(environ.get("PATH", "")), **_taken(names, environ)}
    environment |= {name: environ[name] for name in _OURS if environ.get(name)}
    path = find(config, environ)
    settings = _read(path, environment, environ)
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


def search_path(path: str) -> str:
    """The terminal's PATH, so that the service finds the same programs, and after it the usual places. What depends on
    the current directory, and what can't be written down, is left out.
    """
    ours = [place for place in path.split(":") if place.startswith("/") and not unwritable(place)]
    return ":".join(dict.fromkeys((*ours, *USUAL)))


def unwritable(text: str) -> str:
    """The first character of a text that neither manager's file can hold, or "".

    Control characters: systemd takes none in a command's path nor in variables (systemd.service(5), systemd.exec(5)),
    XML 1.0 has no way to write them. Surrogates: bytes that are no UTF-8.
    """
    return next((c for c in text if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff"), "")


def _check(what: str, text: str) -> None:
    if bad := unwritable(text):
        raise SetupError(
            f"{what} {text!a} has a character that no service's file can hold ({bad!a}).", hint="Name it without that."
        )


def _python() -> str:
    if not sys.executable:
        raise SetupError("Python doesn't know where it is itself.", hint="Start llmsup by its full path.")
    return os.path.abspath(sys.executable)  # not resolved: a venv is a link to another Python


def _taken(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    for name in names:
        if not _VARIABLE.fullmatch(name):
            hint = "Write it like --env HF_TOKEN; its value is read here."
            raise SetupError(f"--env {name!r} is not a variable's name.", hint=hint)
        if name not in environ:
            raise SetupError(f"--env {name}: there is no such variable here.", hint=f"Set it first: export {name}=…")
    return {name: environ[name] for name in names}


class _Asked(UserDict[str, str]):
    """An environment that remembers what was asked for in vain."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.missed: dict[str, None] = {}

    def __contains__(self, key: object) -> bool:
        there = super().__contains__(key)
        if not there:
            self.missed[str(key)] = None
        return there


def _read(path: Path | None, environment: Mapping[str, str], environ: Mapping[str, str]) -> Config:
    """The config as the service will read it."""
    if path is None:
        return Config()
    asked = _Asked({**{name: environ[name] for name in _GIVEN if name in environ}, **environment})
    try:
        return load(path, asked)
    except ConfigError:
        load(path, environ)  # what is wrong here, too, is told first
        names = ", ".join(f"${name}" for name in asked.missed)
        options = " ".join(f"--env {name}" for name in asked.missed)
        raise SetupError(
            f"{path} needs {names}, and a service does not get this terminal's environment.",
            hint=f"Add {options} to write it into the service's file, which only you can read.",
        ) from None
