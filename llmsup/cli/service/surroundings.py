"""The environment of a service: what a terminal has and a service has not, and what is taken along.

It does not know how it is written down.
"""

from __future__ import annotations

import re
import unicodedata
from collections import UserDict
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...config import Config
from ...errors import ConfigError, SetupError
from ..configs import load

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


def surroundings(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What is set beside what the manager sets: PATH, what llmsup reads, and the variables of these names.

    Raises:
        SetupError: There is no such variable.
    """
    found = {"PATH": search_path(environ.get("PATH", "")), **_taken(names, environ)}
    return found | {name: environ[name] for name in _OURS if environ.get(name)}


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


def read_there(path: Path | None, environment: Mapping[str, str], environ: Mapping[str, str]) -> Config:
    """The config as the service will read it.

    Args:
        environment: The service's, beside what every manager sets.
        environ: The terminal's.

    Raises:
        ConfigError: It has mistakes.
        SetupError: It can't be read, or only with variables that the service would not have.
    """
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
