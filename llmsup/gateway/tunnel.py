"""Bytes between a client and an engine that have switched to another protocol: WebSocket, or whatever they agreed on.

It does not know that protocol.
"""

from __future__ import annotations

import trio

from .message import Duplex


async def relay(engine: Duplex, client: Duplex) -> None:
    """Carry bytes in both directions until either side ends; what has been received by then is still sent."""
    async with trio.open_nursery() as nursery:

        async def carry(source: Duplex, target: Duplex) -> None:
            try:
                while data := await source.receive():
                    await target.send(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # one of them is gone; an engine that is unloaded has its connections closed
            nursery.cancel_scope.cancel()

        nursery.start_soon(carry, engine, client)
        await carry(client, engine)
