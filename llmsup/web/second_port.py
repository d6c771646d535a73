"""The listeners of a server: `server.listen`, and Ollama's port where `server.ollama_listen` wants that, too.

Ollama's clients look for it at one port, which Ollama itself may have taken: then the error must say so.
"""

from __future__ import annotations

import http.client
import json
import socket

from ..config.checks import parse_listen
from ..config.schema import Server
from ..errors import SetupError
from .server import listen

PATIENCE = 2.0
"""Seconds that the program which has the port may take to say what it is."""


def listen_all(server: Server) -> list[socket.socket]:
    """Bind all addresses of a config, before anything else starts; the first sockets are those of `listen`.

    Raises:
        SetupError: One is taken, or isn't ours to bind.
    """
    sockets = listen(server.listen)
    if server.ollama_listen:
        try:
            sockets += listen_as_ollama(server.ollama_listen)
        except BaseException:
            for each in sockets:
                each.close()
            raise
    return sockets


def listen_as_ollama(address: str) -> list[socket.socket]:
    """Bind HOST:PORT for Ollama's clients. Raises SetupError, which names Ollama if it has the port."""
    try:
        return listen(address)
    except SetupError as error:
        who = occupant(address)
        if who.startswith("Ollama"):
            raise SetupError(
                f"Can't listen on {address} (server.ollama_listen): {who} does already.",
                hint="Stop it (`systemctl stop ollama`, or quit its app), have it listen elsewhere (OLLAMA_HOST), or "
                "take ollama_listen out.",
            ) from None
        reason = error.message.removeprefix(f"Can't listen on {address}: ").rstrip(".")
        raise SetupError(
            f"Can't listen on {address} (server.ollama_listen): {reason}{who and f', by {who}'}.",
            hint="Stop that program, choose another address, or take ollama_listen out.",
        ) from None


def occupant(address: str) -> str:
    """What answers at HOST:PORT: "Ollama 0.12.6", "another llmsup"; "" for nothing, or something else."""
    host, port = parse_listen(address)
    try:
        connection = http.client.HTTPConnection(_reachable(host), port, timeout=PATIENCE)
        try:
            connection.request("GET", "/api/version")
            told = json.loads(connection.getresponse().read(10_000))
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    if not isinstance(told, dict) or not isinstance(told.get("version"), str):
        return ""
    return "another llmsup" if "llmsup" in told else f"Ollama {told['version'][:20]}"


def _reachable(host: str) -> str:
    """An address at which a program that listens on every one can be asked."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- nothing is bound
