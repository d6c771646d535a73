"""What it takes to run one engine: a command line, where it will answer, and what it couldn't be told.

It does not know how a launch is made (`kind`) nor who starts it (`fleet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from .address import Address


@frozen(kw_only=True)
class Launch:
    """One engine, ready to be started.

    Attributes:
        engine: What a person calls it: the kind's name, that of an [engines.NAME] table, or "command" for a model's
            own.
        argv: The command line; argv[0] is a path or a name on PATH.
        env: Added to our own environment.
        address: Where the engine will answer HTTP.
        health: The path that answers 200 once the engine is ready; "" means ready when the port answers.
        tells_progress: The engine speaks llama-server's child protocol on its standard output. It also ends
            when its standard input does, so that has to be a pipe, held open for as long as it may live.
        farewell: What to write to its standard input when it shall end, besides a SIGTERM.
        body_defaults: Request fields that the engine couldn't take at launch; they are written into bodies
            that don't set them.
        projector: The file that it was given to see or hear with because that goes with the model's; None: it got none,
            or one that the user chose.
        corrections: What was written otherwise than configured, a clause each: "args: --typ-p is --typical-p here".
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
    corrections: tuple[str, ...] = ()


def mentions(command: tuple[str, ...], name: str) -> bool:
    """Whether a command uses a placeholder: `mentions(("x", "${PATH}"), "PATH")`."""
    return any(f"${{{name}}}" in word for word in command)
