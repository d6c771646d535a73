"""What kinds of engines look for on the disk: programs, and models' files."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from ..catalog.disk.lmstudio import model_roots
from ..catalog.disk.model_path import resolve_path
from ..config.schema import EngineSpec, ModelSpec
from ..errors import SetupError
from .kind import Machine
from .launch import mentions


def names_program(table: EngineSpec) -> bool:
    """Tell whether an [engines.NAME] table only names the program to use, and not how to start it."""
    return not any(mentions(table.command, used) for used in ("PORT", "SOCKET", "PATH"))


def find_program(spec: ModelSpec, words: tuple[str, ...], machine: Machine, hint: str = "") -> tuple[str, ...]:
    """Return a command with its program resolved; one that is the model itself (a llamafile) is left unchanged.

    Args:
        hint: The remedy to suggest if the program doesn't exist.

    Raises:
        SetupError: The program doesn't exist.
    """
    if "${" in words[0]:
        return words
    found = machine.which(os.path.expanduser(words[0]))
    if not found:
        raise SetupError(f"model {spec.name}: {words[0]} is not on PATH, or can't be run.", hint=hint)
    return (found, *words[1:])


async def model_path(spec: ModelSpec, machine: Machine, *, directories: bool = False) -> Path:
    """Return the file that a model's `path` refers to, or the directory, if directories are allowed.

    Raises:
        SetupError: There is no such file, or there are several.
    """

    def resolve() -> Path:
        return resolve_path(spec, model_roots(machine.config.now.catalog), directories=directories)

    return await trio.to_thread.run_sync(resolve)
