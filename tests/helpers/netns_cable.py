"""A cable on which everything takes its time: `tc`'s netem would do, but many kernels don't have that.

What comes out of one interface is carried to another by a task of ours, frame by frame.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

import trio
from netns import Namespace

_EVERYTHING = 0x0003  # ETH_P_ALL
_SIOCETHTOOL = 0x8946
_OFFLOADS = (0x17, 0x1F, 0x24)  # ETHTOOL_STXCSUM, _STSO, _SGSO


def as_on_the_wire(inside: Namespace, interface: str) -> None:
    """Have an interface send finished frames: veth leaves checksums, and cutting to size, to who never comes to it."""
    with inside.make_socket(socket.SOCK_DGRAM) as own:
        for command in _OFFLOADS:
            value = array.array("I", [command, 0])
            request = struct.pack("16sP16x", interface.encode(), value.buffer_info()[0])
            fcntl.ioctl(own.fileno(), _SIOCETHTOOL, request)


async def carry(
    inside: Namespace,
    interfaces: Sequence[str],
    seconds: float,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Carry what comes out of either of two interfaces to the other, where it arrives that much later."""
    ends = [await _tap(inside, interface) for interface in interfaces]
    with ends[0], ends[1]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_one_way, ends[0], ends[1], seconds)
            nursery.start_soon(_one_way, ends[1], ends[0], seconds)
            task_status.started()


async def _tap(inside: Namespace, interface: str) -> Any:
    if sys.platform != "linux":
        raise NotImplementedError
    own = inside.make_socket(socket.SOCK_RAW, socket.AF_PACKET, socket.htons(_EVERYTHING))
    await own.bind((interface, _EVERYTHING))
    return own


async def _one_way(here: Any, there: Any, seconds: float) -> None:
    if sys.platform != "linux":
        raise NotImplementedError
    put, take = trio.open_memory_channel[tuple[float, bytes]](10_000)

    async def deliver() -> None:
        async for due, frame in take:
            await trio.sleep_until(due)
            await there.send(frame)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver)
        while True:
            frame, (_, _, direction, *_) = await here.recvfrom(65536)
            if direction != socket.PACKET_OUTGOING:
                put.send_nowait((trio.current_time() + seconds, frame))
