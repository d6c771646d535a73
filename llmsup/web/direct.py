"""Requests for engines: straight to the gateway, and the engine's bytes straight back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from ..errors import Error
from ..gateway.gateway import Gateway
from ..gateway.message import ClientLeft, Duplex, RequestHead
from .incoming import Incoming
from .outgoing import Outgoing

log = logging.getLogger(__name__)

Switch = Callable[[], Awaitable[Duplex]]
"""Switches a connection to another protocol, and returns its byte stream."""


async def answer(gateway: Gateway, head: RequestHead, incoming: Incoming, outgoing: Outgoing, switch: Switch) -> None:
    """Answer one request. If that fails after the answer has begun, it is left incomplete.

    Raises:
        ClientLeft: The client left before the end.
    """
    more = gateway.guard.headers(head)
    try:
        async with gateway.exchange(head, incoming) as reply:
            if reply.tunnel is not None:
                client = await switch()
                await outgoing.switch([*reply.headers, *more])
                await reply.tunnel(client)
                return
            outgoing.closing = outgoing.closing or not await incoming.skip()
            await outgoing.send(reply, more)
    except Error as error:
        if not outgoing.began:  # else the gateway has logged why; the client sees that its answer is short
            outgoing.closing = outgoing.closing or not await incoming.skip()
            await outgoing.refuse(error, more, gateway.routes.dialect(head.path))
    except ClientLeft:
        raise
    except Exception as error:
        log.exception("a bug in llmsup: %s %s", head.method, head.path)
        if not outgoing.began:
            outgoing.closing = True
            bug = Error(f"A bug in llmsup: {type(error).__name__}. Its log has the details.", lasting=True)
            await outgoing.refuse(bug, more, gateway.routes.dialect(head.path))
