"""What `llmsup pull` has to do with a server: it works without one, but a running one knows the ceiling and the config,
and shall know the model.
"""

from __future__ import annotations

from pathlib import Path

import trio

from ..config import Config
from ..errors import Error
from ..units import Bytes
from .client import NoServer, Refused, model_path
from .memory_report import look
from .target import connect, running_now


def config_in_use() -> Path | None:
    """The config of the server that runs for this user; None if none does, or it has none."""
    server = running_now()
    return Path(server.config) if server and server.config else None


def ceiling_here(settings: Config) -> Bytes:
    """What all models together may have on this machine, in bytes: as a running server knows, else as one would."""
    if running_now() is not None:
        try:
            return Bytes(int(connect(None).get("/memory")["ceiling_bytes"]))
        except (NoServer, Refused, KeyError, TypeError):
            pass  # it is ending, or older; look for ourselves
    return trio.run(look, settings, (), 0.0).ceiling


def made_known(name: str) -> tuple[str | None, str]:
    """Have a running server look for new models.

    Returns:
        What it calls the one that answers to `name`, or None; and a sentence about that.
    """
    if running_now() is None:
        return None, "No server runs now; `llmsup serve` serves it."
    client = connect(None)
    try:
        client.post("/reload-config", {})
    except Error as error:
        return None, f"The server has not looked for it: {error} `llmsup reload` makes it look again."
    try:
        known = str(client.get(model_path("/v1/models", name))["id"])
    except (Error, KeyError, TypeError):
        return None, "The server doesn't serve it: `llmsup ls --left-out` tells why, if its [catalog] has the folder."
    return known, f"The server has it as {known}."
