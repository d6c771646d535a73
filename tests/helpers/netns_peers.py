"""What the tests of peers on several machines share: what a llmsup says of its peers, and a wire that is read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from netns import PATIENCE
from netns_hosts import Host
from netns_llmsup import PORT, Machine, url
from serving import Client

Peer = dict[str, Any]

ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Count from one to nine."}],
    "max_tokens": 24,
    "temperature": 0,
}
ENDLESS: dict[str, Any] = {"messages": ASKED["messages"], "n_predict": -1, "ignore_eos": True}
"""Not quite: until the context is full, in a minute or so."""


def peer(host: Host, **table: Any) -> dict[str, Any]:
    """The table of a llmsup on that host."""
    return {"url": url(host), "key": f"key-of-{host.name}", **table}


async def peers_of(machine: Machine) -> dict[str, Peer]:
    """What a llmsup says of its peers, by name."""
    return {each["name"]: each for each in (await machine.client.get("/peers")).json["peers"]}


async def until_peer(machine: Machine, name: str, wanted: Callable[[Peer], object]) -> Peer:
    """Wait until a llmsup says that of a peer."""
    with trio.fail_after(PATIENCE):
        while not wanted(found := (await peers_of(machine))[name]):  # noqa: ASYNC110 -- it can only be asked again
            await trio.sleep(0.05)
    return found


def has(model: str, **more: Any) -> Callable[[Peer], bool]:
    """Whether a peer is up and offers a model, and what it says of that is this."""
    return lambda found: (
        found["state"] == "up"
        and any(each["name"] == model and more.items() <= each.items() for each in found["models"])
    )


def text_of(pieces: Sequence[bytes]) -> str:
    """What was said in a streamed chat, as far as it came."""
    said = []
    for event in b"".join(pieces).split(b"\n\n"):
        if event.startswith(b"data: {"):
            choices = json.loads(event.removeprefix(b"data: ")).get("choices") or [{}]
            said.append(choices[0].get("delta", {}).get("content") or "")
    return "".join(said)


class Chat:
    """A streamed chat that is read in the background.

    Attributes:
        pieces: What has come.
        begun: Something has; `ended`: the stream is over.
    """

    def __init__(self, nursery: trio.Nursery, client: Client, model: str, **body: Any) -> None:
        self.pieces: list[bytes] = []
        self.begun, self.ended = trio.Event(), trio.Event()
        nursery.start_soon(self._read, client, model, body)

    async def _read(self, client: Client, model: str, body: dict[str, Any]) -> None:
        async with client.stream(model, **body) as pieces:
            async for piece in pieces:
                self.pieces.append(piece)
                self.begun.set()
        self.ended.set()

    @property
    def last(self) -> bytes:
        """Its last events."""
        return b"".join(self.pieces[-3:])


@asynccontextmanager
async def wire_to(there: Host, on: Host) -> AsyncIterator[bytearray]:
    """Something on one host that passes all on to a llmsup on another; gives what has been sent there."""
    sent = bytearray()

    async def pass_on(here: trio.SocketStream, other: trio.SocketStream, record: bytearray) -> None:
        async for data in here:
            record += data
            await other.send_all(data)
        await other.send_eof()

    async def connection(client: trio.SocketStream) -> None:
        try:
            async with await on.connect(there.address, PORT) as server, trio.open_nursery() as nursery:
                nursery.start_soon(pass_on, client, server, sent)
                nursery.start_soon(pass_on, server, client, bytearray())
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass  # one of them has left

    listener = await on.listen(PORT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, connection, [listener])
        yield sent
        nursery.cancel_scope.cancel()
