"""What it takes to run one engine: a command line, its address, and the settings it couldn't be given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from .address import Address
from .sleep import Sleep


@frozen(kw_only=True)
class Launch:
    """One engine, ready to be started.

    Attributes:
        engine: Its name for people: the kind's, that of an [engines.NAME] table, or "command" for a model's own.
        argv: The command line; argv[0] is a path or a name on PATH.
        env: Added to our own environment.
        address: Where the engine will answer HTTP.
        health: The path that answers 200 once the engine is ready; "" means ready when the port answers.
        tells_progress: Whether the engine speaks llama-server's child protocol on its standard output. It then also
            exits when its standard input closes, so that must be a pipe, held open while the engine may run.
        farewell: Bytes to write to its standard input when it is to stop, besides sending SIGTERM.
        body_defaults: Request fields that the engine has no flag for; they are added to bodies that don't set them.
        projector: The projector that it was given because it belongs to the model's file; None if there is none, or
            if the user chose one.
        slots: The directory that it was given for what its slots hold; None if it was given none.
        no_slots: Why it was given none although there was one, a clause.
        corrections: Changes to what was configured, a clause each: "args: --typ-p is --typical-p here".
        sleep: How it is put to sleep; None if it can't be.
        open_paths: Patterns of the paths that clients may ask it for; None: all of them.
    """

    engine: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = Factory(dict)
    address: Address
    health: str = "/health"
    tells_progress: bool = False
    farewell: bytes = b""
    body_defaults: Mapping[str, Any] = Factory(dict)
    projector: Path | None = None
    slots: Path | None = None
    no_slots: str = ""
    corrections: tuple[str, ...] = ()
    sleep: Sleep | None = None
    open_paths: tuple[str, ...] | None = None


def mentions(command: tuple[str, ...], name: str) -> bool:
    """Tell whether a command uses a placeholder: `mentions(("x", "${PATH}"), "PATH")`."""
    return any(f"${{{name}}}" in word for word in command)
