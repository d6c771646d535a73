"""The environment of the service, and which of the terminal's variables it needs."""

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
    "/usr/local/bin",  # Homebrew on Intel, and manual installations
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
)
"""Where programs usually are, whatever the terminal's PATH says. launchd's default is
/usr/bin:/bin:/usr/sbin:/sbin."""

_GIVEN = ("HOME", "USER", "LOGNAME", "SHELL")
"""Variables that both managers set themselves (systemd.exec(5), "Environment Variables in Spawned Processes")."""

_OURS = ("OLLAMA_MODELS",)
"""Variables that llmsup reads: the service must find the same models as in the terminal."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def surroundings(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What to set in addition to what the manager sets: PATH, the variables that llmsup reads, and these `names`.

    Raises:
        SetupError: One of these variables isn't set here.
    """
    found = {"PATH": search_path(environ.get("PATH", "")), **_taken(names, environ)}
    return found | {name: environ[name] for name in _OURS if environ.get(name)}


def search_path(path: str) -> str:
    """The terminal's PATH, so that the service finds the same programs, followed by the usual places. Relative entries
    and those that can't be written to the file are left out.
    """
    ours = [place for place in path.split(":") if place.startswith("/") and not unwritable(place)]
    return ":".join(dict.fromkeys((*ours, *USUAL)))


def unwritable(text: str) -> str:
    """The first character of a text that neither manager's file can hold, or "".

    Control characters: systemd accepts none in a command's path or in variables (systemd.service(5), systemd.exec(5)),
    and XML 1.0 can't represent them. Surrogates: bytes that aren't UTF-8.
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
    """An environment that records which missing variables were looked up."""

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
        environment: The service's environment, without what every manager sets.
        environ: The terminal's environment.

    Raises:
        ConfigError: It has mistakes.
        SetupError: It can't be read, or needs variables that the service wouldn't have.
    """
    if path is None:
        return Config()
    asked = _Asked({**{name: environ[name] for name in _GIVEN if name in environ}, **environment})
    try:
        return load(path, asked)
    except ConfigError:
        load(path, environ)  # report mistakes that don't depend on the service first
        names = ", ".join(f"${name}" for name in asked.missed)
        options = " ".join(f"--env {name}" for name in asked.missed)
        raise SetupError(
            f"{path} needs {names}, and a service does not get this terminal's environment.",
            hint=f"Add {options} to write it into the service's file, which only you can read.",
        ) from None
