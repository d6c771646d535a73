"""The benchmark's client: sends requests over persistent connections, as fast as they are answered, and records times.

It uses llmsup's own connections to engines, whose cost (some 0.05 ms a request) is in every column.
"""

from __future__ import annotations

import json
import time
from typing import Any

import trio
from attrs import Factory, define, frozen

from llmsup.engines.address import Address
from llmsup.engines.connection import Disconnected
from llmsup.engines.pool import Answer, ConnectionPool
from llmsup.errors import EngineBadAnswer

HEADERS = [(b"content-type", b"application/json"), (b"user-agent", b"llmsup-bench"), (b"accept", b"*/*")]


class Failed(Exception):
    """A request that was not answered successfully."""


@frozen
class Request:
    """The request to repeat; None as body means GET."""

    path: str
    body: dict[str, Any] | None = None


@define
class Load:
    """The results of many requests: the seconds of each, what went wrong, and how long it took altogether."""

    latencies: list[float] = Factory(list)
    errors: list[str] = Factory(list)
    seconds: float = 0.0


@frozen
class Stream:
    """One streamed answer: seconds until its first bytes, until its last, and how many events it had."""

    first: float
    seconds: float
    events: int


class Client:
    """One client with one connection; if the server has closed it, reopening it is part of the measured time."""

    def __init__(self, address: Address) -> None:
        self._pool = ConnectionPool.to(address)

    async def start(self, request: Request) -> Answer:
        """Send a request and wait for the head of a successful response.

        Raises:
            Failed: There is none.
        """
        body = b"" if request.body is None else json.dumps(request.body).encode()
        method = "GET" if request.body is None else "POST"
        try:
            answer = await self._pool.request(method, request.path.encode(), HEADERS, body)
        except (Disconnected, EngineBadAnswer) as error:
            raise Failed(f"{request.path}: {type(error).__name__}: {error}") from None
        if answer.status != 200:
            text = await self._rest(answer)
            raise Failed(f"{request.path}: {answer.status} {text[:300].decode('utf-8', 'replace')}")
        return answer

    async def ask(self, request: Request) -> bytes:
        """Send a request and read the whole successful response. Raises Failed."""
        return await self._rest(await self.start(request))

    async def stream(self, request: Request) -> Stream:
        """Send a request and read its stream of events. Raises Failed."""
        began = time.perf_counter()
        answer = await self.start(request)
        pieces, first = [], 0.0
        try:
            while piece := await answer.body():
                first = first or time.perf_counter() - began
                pieces.append(piece)
        except (Disconnected, EngineBadAnswer) as error:
            raise Failed(f"{request.path}: {error}") from None
        finally:
            await answer.close()
        seconds = time.perf_counter() - began
        text = b"".join(pieces)
        if b"data: [DONE]" not in text:
            raise Failed(f"{request.path}: the stream has no end: {text[-200:]!r}")
        return Stream(first, seconds, text.count(b"data: ") - 1)

    async def close(self) -> None:
        """Close the connection."""
        await self._pool.close()

    async def _rest(self, answer: Answer) -> bytes:
        pieces = []
        try:
            while piece := await answer.body():
                pieces.append(piece)
        except (Disconnected, EngineBadAnswer) as error:
            raise Failed(str(error)) from None
        finally:
            await answer.close()
        return b"".join(pieces)


async def stream_once(address: Address, request: Request) -> Stream:
    """One stream on a separate connection. Raises Failed."""
    client = Client(address)
    try:
        return await client.stream(request)
    finally:
        await client.close()


async def load(address: Address, request: Request, *, connections: int, seconds: float) -> Load:
    """Send requests for so long over so many connections, each the next as soon as one is answered."""
    done = Load()
    start = time.perf_counter()

    async def work() -> None:
        client = Client(address)
        while (began := time.perf_counter()) < start + seconds:
            try:
                await client.ask(request)
            except Failed as error:
                done.errors.append(str(error))
            else:
                done.latencies.append(time.perf_counter() - began)
        await client.close()

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(work)
    done.seconds = time.perf_counter() - start
    return done


async def until_answers(address: Address, request: Request, *, every: float = 0.005, patience: float = 60) -> None:
    """Repeat a request until it succeeds. Raises Failed."""
    deadline = time.monotonic() + patience
    while True:
        client = Client(address)
        try:
            await client.ask(request)
        except Failed:
            if time.monotonic() > deadline:
                raise
            await trio.sleep(every)
        else:
            return
        finally:
            await client.close()
