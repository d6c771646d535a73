"""A client of `GET /events`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import frozen
from serving import PATIENCE, Served


@frozen
class Told:
    """One event, as a browser would see it."""

    id: int
    kind: str
    data: dict[str, Any]


class Follower:
    """Reads a stream of server-sent events."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.comments: list[bytes] = []
        self.ended = False
        self._left = b""

    async def next(self) -> Told | None:
        """The next event; None at the end of the stream."""
        with trio.fail_after(PATIENCE):
            while True:
                while b"\n\n" not in self._left:
                    part = await self.answer.body()
                    if not part:
                        self.ended = True
                        assert self._left == b"", "it ends amid an event"
                        return None
                    self._left += part
                block, _, self._left = self._left.partition(b"\n\n")
                if block.startswith(b":"):
                    self.comments.append(block)
                    continue
                names, values = zip(*(line.split(b": ", 1) for line in block.split(b"\n")), strict=True)
                assert names == (b"id", b"event", b"data")
                return Told(int(values[0]), values[1].decode(), json.loads(values[2]))

    async def until(self, kind: str, **data: Any) -> list[Told]:
        """All events up to one of this kind with such data."""
        told: list[Told] = []
        while not told or told[-1].kind != kind or not data.items() <= told[-1].data.items():
            event = await self.next()
            assert event is not None, f"the stream ended: {told}"
            told.append(event)
        return told

    async def rest(self) -> list[Told]:
        told = []
        while (event := await self.next()) is not None:
            told.append(event)
        return told


@asynccontextmanager
async def following(served: Served, last: str | None = None) -> AsyncIterator[Follower]:
    headers = [(b"Last-Event-ID", last.encode("latin-1"))] if last is not None else []
    with trio.fail_after(PATIENCE):
        answer = await served.client.send("GET", "/events", headers=headers)
    try:
        assert answer.status == 200
        assert {name.lower(): value for name, value in answer.headers}[b"content-type"].startswith(b"text/event-stream")
        yield Follower(answer)
    finally:
        await answer.close()
