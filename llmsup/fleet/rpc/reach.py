"""Whether a worker answers, what it has, and whether it could be reached from another machine."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import psutil
import trio

from ...config.checks import parse_listen
from ...config.rpc import is_loopback
from ...engines.address import TcpAddress
from ...engines.devices import Device, list_devices
from ...engines.dial import connect
from ...errors import SetupError
from ...memory.cost.process import group_of
from ...process.inheritance import Inheritance
from ...units import Seconds

STAYS = 0.2
"""Seconds after which a connection counts as accepted: a tunnel accepts it before it knows whether there is anything at
its other end, and then closes it."""

HELLO = Seconds(10)
"""Seconds that a worker may take to say what it has. One that serves an engine says nothing to others."""

Asks = Callable[[str], Awaitable[tuple[Device, ...] | None]]
"""Asks a worker, by its address, for its devices; None if there is no llama-server that could ask."""


def address_of(text: str) -> TcpAddress:
    """HOST:PORT as an address."""
    host, port = parse_listen(text)
    return TcpAddress(host, port)


async def connects(address: str, patience: float = 2.0) -> bool:
    """Whether a worker accepts connections, and doesn't end them at once. Its protocol isn't spoken: it differs from
    one build to the next, and a worker may exit on what it doesn't understand.
    """
    with trio.move_on_after(patience), contextlib.suppress(OSError, trio.BrokenResourceError):
        stream = await connect(address_of(address))
        try:
            with trio.move_on_after(STAYS):
                await stream.receive_some(1)
                return False
            return True
        finally:
            await trio.aclose_forcefully(stream)
    return False


async def until_gone(address: str) -> None:
    """Wait until nothing listens there any more, by a connection that stays.

    A worker serves one connection at a time: this one waits in its queue while an engine is served, and must be closed
    when that engine is gone, or no other would be served. So it is only for as long as an engine uses the worker.
    """
    with contextlib.suppress(OSError, trio.BrokenResourceError):
        stream = await connect(address_of(address))
        try:
            while await stream.receive_some(1):  # it says nothing unasked
                pass
        finally:
            await trio.aclose_forcefully(stream)


def asks(program: Callable[[], Sequence[str]], inheritance: Inheritance) -> Asks:
    """Ask by a llama-server, the one that would use the worker: `program` finds it, () if there is none."""

    async def ask(address: str) -> tuple[Device, ...] | None:
        command = await trio.to_thread.run_sync(program)
        if not command:
            return None
        try:
            found = await list_devices((*command, "--rpc", address), timeout=HELLO, inheritance=inheritance)
        except SetupError:
            return ()
        return tuple(each for each in found if each.name == address)

    return ask


async def listens_beyond_loopback(pid: int) -> str:
    """An address of a process or its descendants that other machines could connect to; "" if there is none."""
    return await trio.to_thread.run_sync(_listens, pid)


def _listens(pid: int) -> str:
    for each in group_of(pid):
        with contextlib.suppress(psutil.Error, OSError):
            for one in psutil.Process(each).net_connections("tcp"):
                if one.status == psutil.CONN_LISTEN and not is_loopback(one.laddr.ip):
                    return f"{one.laddr.ip}:{one.laddr.port}"
    return ""
