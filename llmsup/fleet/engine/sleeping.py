"""Sends an engine the requests that put it to sleep or wake it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ...engines.address import Address
from ...engines.pool import Answer, ConnectionPool
from ...engines.sleep import Call
from ...errors import EngineBadAnswer

_MOST = 64 * 1024
"""Bytes of an answer that are read, at most."""


async def send(address: Address, calls: Iterable[Call]) -> None:
    """Send these, one after the other, on a connection of their own: what is for clients is of no concern here.

    Raises:
        EngineBadAnswer: One is answered with another status than 200, or with something else than it should be.
        Disconnected, OutOfResources: The engine can't be asked, or has hung up.
    """
    pool = ConnectionPool.to(address)
    try:
        for call in calls:
            await _send(pool, call)
    finally:
        await pool.close()


async def _send(pool: ConnectionPool, call: Call) -> None:
    headers = [(b"content-type", b"application/json")] if call.body else []
    answer = await pool.request(call.method, call.target.encode(), headers, call.body)
    try:
        said = await _whole(answer)
    finally:
        await answer.close()
    if answer.status != 200:
        raise EngineBadAnswer(f"{call.method} {call.target} answered {answer.status}")
    if call.says and not _says(said, call):
        raise EngineBadAnswer(f"{call.method} {call.target} did not answer {dict(call.says)}")


async def _whole(answer: Answer) -> bytes:
    said = b""
    while (part := await answer.body()) and len(said) < _MOST:
        said += part
    return said


def _says(said: bytes, call: Call) -> bool:
    try:
        members = json.loads(said)
    except (ValueError, RecursionError):
        return False
    return isinstance(members, dict) and all(members.get(name) == value for name, value in call.says.items())
