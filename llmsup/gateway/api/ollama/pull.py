"""`/api/pull`: what is named as the hub's is fetched as `llmsup pull` does; Ollama's own names are passed on to Ollama.

That is the one thing of Ollama's API that needs Ollama. What it has pulled is found on the disk.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from ....downloads import ollama
from ....downloads.hub import mirror
from ....downloads.name import HubName, understood
from ....engines.connection import Disconnected
from ....engines.pool import Answer, ConnectionPool
from ....errors import BadRequest, Error
from ...body import JsonBody, written
from ...message import Reply
from ..dialect import Asked
from .hub_pull import from_hub

log = logging.getLogger(__name__)


async def pull(asked: Asked) -> Reply:
    """Have it pulled, and pass on how that goes.

    Raises:
        BadRequest: The request names no model.
        MethodNotImplemented: It is Ollama's, and there is no Ollama that would do it.
        Error: It is the hub's, and can't be fetched.
    """
    name = _name(asked.body)
    assert asked.body is not None
    streamed = asked.body.flag("stream", default=True)
    asked.body.flag("insecure", default=True)
    meant = understood(name, hub=mirror(), plain="ollama")
    # Ollama can fetch those, too; where the library for that is missing here, it may.
    if isinstance(meant, HubName) and importlib.util.find_spec("huggingface_hub"):
        return await from_hub(meant, asked, streamed=streamed)
    pool, answer = await ollama.begin(asked.body.edited({}))
    kind = next((value for key, value in answer.headers if key.lower() == b"content-type"), b"application/x-ndjson")
    told = [(b"content-type", kind), (b"X-Accel-Buffering", b"no")]
    return Reply(status=answer.status, headers=told, body=_progress(pool, answer, name, asked))


def _name(body: JsonBody | None) -> str:
    name = (body.get("model") or body.get("name")) if body is not None else None
    if not isinstance(name, str) or not name:
        got = "" if name is None else f", not {written(name)}"
        raise BadRequest(f"`model` must be the name of a model{got}.", param="model")
    return name


async def _progress(pool: ConnectionPool, answer: Answer, name: str, asked: Asked) -> AsyncGenerator[bytes, None]:
    """Ollama's own lines. Before the last one the disk is looked at, so that who reads it can use the model."""
    rest = b""
    try:
        while data := await answer.body():
            *lines, rest = (rest + data).split(b"\n")
            if any(map(_is_done, lines)):
                await _find(name, asked)
            if lines:
                yield b"".join([line + b"\n" for line in lines])
        if _is_done(rest):
            await _find(name, asked)
        if rest:
            yield rest
    except Disconnected as gone:
        yield msgspec.json.encode({"error": f"Ollama hung up {gone}."}) + b"\n"
    finally:
        await ollama.end(pool, answer)


def _is_done(line: bytes) -> bool:
    if b"success" not in line:
        return False
    try:
        told: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(told, dict) and told.get("status") == "success"


async def _find(name: str, asked: Asked) -> None:
    try:
        await asked.rescan()
    except Error as error:
        log.warning("Ollama has pulled %s; it will be found later: %s", name, error)
        return
    if not asked.fleet.knows(name):
        log.warning("Ollama has pulled %s, but not into a store that llmsup reads (catalog.ollama)", name)
