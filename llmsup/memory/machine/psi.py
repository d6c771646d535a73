"""Pressure stall information: how long tasks on Linux wait for memory, and being woken when they do."""

from __future__ import annotations

import contextlib
import os
import re
import select
from collections.abc import Iterator
from pathlib import Path

import trio
from attrs import define

from ...units import Seconds
from .reading import Stall

HOST = Path("/proc/pressure/memory")

_SHARE = rb"([0-9]{1,3}\.[0-9]{2})"
_LINE = re.compile(
    rb"^(some|full) avg10=%b avg60=%b avg300=%b total=([0-9]{1,20})$" % (_SHARE, _SHARE, _SHARE), re.MULTILINE
)
_TRIGGER = b"some 150000 2000000\0"
_LEAST_APART = Seconds(0.5)


def parse_pressure(data: bytes) -> tuple[Stall | None, Stall | None]:
    """Parse the lines "some" and "full" of a pressure file; None for one that is missing or malformed.

    Linux Documentation/accounting/psi.rst.
    """
    stalls = {
        kind: Stall(float(avg10), float(avg60), float(avg300), int(total))
        for kind, avg10, avg60, avg300, total in _LINE.findall(data)
    }
    return stalls.get(b"some"), stalls.get(b"full")


@define
class Waker:
    """Wakes the monitor, so that a sudden shortage isn't noticed a whole interval late.

    It only says when to take a reading, not how bad things are.
    """

    _epoll: select.epoll | None = None
    _earliest: float = 0

    async def wait(self) -> None:
        """Sleep until tasks have waited too long for memory; for ever, where the kernel doesn't support this.

        Returns at most twice a second, so that a stale file (its control group is gone) can't make us spin.
        """
        if self._epoll is None:
            await trio.sleep_forever()
            return
        await trio.sleep_until(self._earliest)
        # The inner epoll isn't asked which event it was: the outer poll has already consumed it.
        await trio.lowlevel.wait_readable(self._epoll.fileno())
        self._earliest = trio.current_time() + _LEAST_APART


@contextlib.contextmanager
def open_waker(path: Path = HOST) -> Iterator[Waker]:
    """Ask the kernel to wake us at 150 ms of waiting within 2 s.

    The window is a multiple of 2 s, as required of unprivileged processes (psi.rst, "Notes"). Where that isn't granted,
    the waker sleeps for ever, and readings are only taken by the clock.
    """
    with contextlib.ExitStack() as stack:
        try:
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            os.write(fd, _TRIGGER)
            waker = stack.enter_context(watching(fd))
        except (OSError, AttributeError):  # no such file, no permission, not compiled in; or no epoll on this system
            waker = Waker()
        yield waker


@contextlib.contextmanager
def watching(fd: int) -> Iterator[Waker]:
    """A waker for a file descriptor's exceptional events, which trio can't wait for."""
    with select.epoll(1) as epoll:
        epoll.register(fd, select.EPOLLPRI)
        yield Waker(epoll)
