"""Bytes between a client and an engine that have switched to another protocol, such as WebSocket."""

from __future__ import annotations

import trio

from .message import Duplex


async def relay(engine: Duplex, client: Duplex) -> None:
    """Carry bytes in both directions until either side ends; bytes received before that are still sent."""
    async with trio.open_nursery() as nursery:

        async def carry(source: Duplex, target: Duplex) -> None:
            try:
                while data := await source.receive():
                    await target.send(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # one side is gone; unloading an engine closes its connections
            nursery.cancel_scope.cancel()

        nursery.start_soon(carry, engine, client)
        await carry(client, engine)
