"""`/api/pull`: passed on to the Ollama that is installed here, as llmsup itself loads nothing down.

It is the one path of Ollama's that needs Ollama. What it has pulled is found on the disk.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec
import trio

from ....engines.address import TcpAddress
from ....engines.connection import Disconnected
from ....engines.pool import Answer, ConnectionPool
from ....errors import BadRequest, Error, MethodNotImplemented
from ...body import JsonBody, written
from ...message import Reply
from ..dialect import Asked

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that Ollama has to say that it is there."""

_USUAL_PORTS = {"": 11434, "http": 80, "https": 443}
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- nothing is bound
"""Where one reaches a server that listens on every address."""


async def pull(asked: Asked) -> Reply:
    """Have it pulled, and pass on how that goes.

    Raises:
        BadRequest: The request names no model.
        MethodNotImplemented: There is no Ollama that would do it.
    """
    name = _name(asked.body)
    assert asked.body is not None
    for flag in ("stream", "insecure"):
        asked.body.flag(flag, default=True)
    pool = ConnectionPool.to(address := where(os.environ))
    try:
        await _must_be_ollama(pool, address)
        headers = [(b"content-type", b"application/json")]
        answer = await pool.request("POST", b"/api/pull", headers, asked.body.edited({}))
    except BaseException as error:
        await _close(pool)
        if isinstance(error, Disconnected):
            raise MethodNotImplemented(f"Ollama at {address} hung up {error}.") from None
        raise
    kind = next((value for key, value in answer.headers if key.lower() == b"content-type"), b"application/x-ndjson")
    told = [(b"content-type", kind), (b"X-Accel-Buffering", b"no")]
    return Reply(status=answer.status, headers=told, body=_progress(pool, answer, name, asked))


def where(environ: Mapping[str, str]) -> TcpAddress:
    """Where Ollama is by $OLLAMA_HOST, read as Ollama's own clients do (its envconfig/config.go)."""
    text = environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    before, found, rest = text.partition("://")
    scheme, rest = (before.lower(), rest) if found else ("", text)
    host, _, port = rest.partition("/")[0].rpartition(":") if _has_port(rest) else (rest.partition("/")[0], "", "")
    host = host.strip("[]")
    number = int(port) if port.isdecimal() and int(port) < 65536 else _USUAL_PORTS.get(scheme, 11434)
    tls = ssl.create_default_context() if scheme == "https" else None
    return TcpAddress(_ANYWHERE.get(host, host), number, tls=tls)


def _has_port(text: str) -> bool:
    text = text.partition("/")[0]
    return text.count(":") == 1 or "]:" in text


def _name(body: JsonBody | None) -> str:
    name = (body.get("model") or body.get("name")) if body is not None else None
    if not isinstance(name, str) or not name:
        got = "" if name is None else f", not {written(name)}"
        raise BadRequest(f"`model` must be the name of a model{got}.", param="model")
    return name


async def _must_be_ollama(pool: ConnectionPool, address: TcpAddress) -> None:
    if why_not := await _why_not(pool):
        raise MethodNotImplemented(
            f"llmsup pulls nothing itself, and {why_not} at {address}.",
            hint="Start Ollama, with OLLAMA_HOST telling both where; or put GGUF files into a folder that llmsup "
            "looks at, and POST /reload-config.",
        )


async def _why_not(pool: ConnectionPool) -> str:
    """Why whoever is there is not asked; "" if it is Ollama. It may well be ourselves, by ollama_listen."""
    with trio.move_on_after(PATIENCE):
        try:
            answer = await pool.request("GET", b"/api/version", [], b"")
            try:
                told = msgspec.json.decode(await _whole(answer))
            finally:
                await answer.close()
        except (Error, Disconnected, OSError):
            return "no Ollama answers"
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "it isn't Ollama that answers"
        if not isinstance(told, dict) or "version" not in told:
            return "it isn't Ollama that answers"
        return "it is llmsup, not Ollama, that answers" if "llmsup" in told else ""
    return "no Ollama answers"


async def _whole(answer: Answer) -> bytes:
    parts = []
    while part := await answer.body():
        parts.append(part)
    return b"".join(parts)


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
        with trio.CancelScope(shield=True):
            await answer.close()
            await _close(pool)


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


async def _close(pool: ConnectionPool) -> None:
    with trio.CancelScope(shield=True):
        await pool.close()
