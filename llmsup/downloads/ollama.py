"""The Ollama that is installed here, as far as it pulls models: where it is, whether it is there, what it says."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from ..engines.address import ANYWHERE, TcpAddress
from ..engines.connection import Disconnected
from ..engines.http import Payload
from ..engines.pool import Answer, ConnectionPool
from ..errors import DownloadCut, DownloadFailed, Error, MethodNotImplemented

PATIENCE = 5.0
"""Seconds that Ollama has to say that it is there."""

_USUAL_PORTS = {"": 11434, "http": 80, "https": 443}


def where(environ: Mapping[str, str]) -> TcpAddress:
    """Where Ollama is by $OLLAMA_HOST, read as Ollama's own clients do (its envconfig/config.go)."""
    text = environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    before, found, rest = text.partition("://")
    scheme, rest = (before.lower(), rest) if found else ("", text)
    host, _, port = rest.partition("/")[0].rpartition(":") if _has_port(rest) else (rest.partition("/")[0], "", "")
    host = host.strip("[]")
    number = int(port) if port.isdecimal() and int(port) < 65536 else _USUAL_PORTS.get(scheme, 11434)
    tls = ssl.create_default_context() if scheme == "https" else None
    return TcpAddress(ANYWHERE.get(host, host), number, tls=tls)


def _has_port(text: str) -> bool:
    text = text.partition("/")[0]
    return text.count(":") == 1 or "]:" in text


async def begin(body: Payload) -> tuple[ConnectionPool, Answer]:
    """Ask it to pull what a body of its API says. The caller closes both with `end`.

    Raises:
        MethodNotImplemented: There is no Ollama that would do it.
    """
    pool = ConnectionPool.to(address := where(os.environ))
    try:
        await _must_be_ollama(pool, address)
        headers = [(b"content-type", b"application/json")]
        return pool, await pool.request("POST", b"/api/pull", headers, body)
    except BaseException as error:
        await end(pool)
        if isinstance(error, Disconnected):
            raise MethodNotImplemented(f"Ollama at {address} hung up {error}.") from None
        raise


async def end(pool: ConnectionPool, answer: Answer | None = None) -> None:
    """Hang up, which ends a pull that is under way, as it does for Ollama's own clients."""
    with trio.CancelScope(shield=True):
        if answer is not None:
            await answer.close()
        await pool.close()


@asynccontextmanager
async def pulling(name: str) -> AsyncGenerator[AsyncGenerator[dict[str, Any], None], None]:
    """Have it pull a model; yields what it says, an object a line, up to its success.

    Raises:
        MethodNotImplemented: There is no Ollama that would do it.
        DownloadFailed: It failed, also in the block.
    """
    pool, answer = await begin(msgspec.json.encode({"model": name, "stream": True}))
    said = _said(answer, name)
    try:
        yield said
    finally:
        with trio.CancelScope(shield=True):
            await said.aclose()
        await end(pool, answer)


async def _said(answer: Answer, name: str) -> AsyncGenerator[dict[str, Any], None]:
    rest = b""
    try:
        while data := await answer.body():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield (told := _object(line, name))
                    if told.get("status") == "success":
                        return
    except Disconnected as gone:
        raise DownloadCut(f"Ollama hung up {gone}.") from None
    if rest.strip() and (told := _object(rest, name)).get("status") == "success":
        yield told
        return
    raise DownloadCut(f"Ollama ended without having pulled {name}.")


def _object(line: bytes, name: str) -> dict[str, Any]:
    """A line of its answer. Raises DownloadFailed: It says that it failed, or isn't one."""
    try:
        told = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    if not isinstance(told, dict):
        raise DownloadFailed("What Ollama says of its pull can't be understood.")
    if error := told.get("error"):
        raise DownloadFailed(f"Ollama can't pull {name}: {error}.")
    return told


async def _must_be_ollama(pool: ConnectionPool, address: TcpAddress) -> None:
    if why_not := await _why_not(pool):
        raise MethodNotImplemented(
            f"Its own models are pulled by Ollama itself, and {why_not} at {address}.",
            hint="Start Ollama, with OLLAMA_HOST telling both where; or name a repository of the hub: hf.co/ORG/REPO.",
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
