"""What the server does on SIGTERM, SIGINT and SIGHUP.

SIGHUP has two meanings, "read your config again" for servers and "your terminal is gone" for all others, so this also
knows whether the terminal that llmsup was started from is still there.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
from typing import Self

import trio
from attrs import frozen

from ..process.notify import Notifier
from ..tree import Tree
from ..units import Seconds

log = logging.getLogger(__name__)

CLOSING = Seconds(1)
"""How long a terminal may take to disappear after its SIGHUP: some send the signal first and close afterwards."""

OURS = "/dev/tty"
"""The terminal that controls this process, whichever that is: the one that Ctrl-C comes from."""

_GONE = (errno.ENXIO, errno.EIO, errno.ENODEV)
"""Errors of opening it once it is closed; others, such as running out of files, don't tell that."""


async def obey_signals(tree: Tree, manager: Notifier, *, task_status: trio.TaskStatus[None]) -> None:
    """Stop the tree on SIGTERM, SIGINT, and SIGHUP from a closed terminal; reload it on any other SIGHUP."""
    terminal, stopping = Terminal.now(), False

    def stop(why: str) -> None:
        nonlocal stopping
        stopping = True
        log.info("%s: stopping", why)
        manager.stopping()
        tree.stop()

    async def stop_if_closed() -> None:
        await trio.sleep(CLOSING)
        if terminal.closed and not stopping:
            stop("its terminal was closed")

    obeyed = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        obeyed.remove(signal.SIGHUP)  # started with `nohup`
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(*obeyed) as signals:
            task_status.started()
            async for number in signals:
                if number != signal.SIGHUP:
                    stop(signal.Signals(number).name)
                elif terminal.closed and not stopping:
                    stop("SIGHUP, as its terminal was closed")
                elif not stopping:  # the shell and the system each send one for a closed terminal
                    log.info("SIGHUP: reloading")
                    tree.reload()
                    nursery.start_soon(stop_if_closed)


@frozen
class Terminal:
    """The terminal that controls this process.

    Attributes:
        controls: Whether there was one when this was made. Services have none, nor has what setsid or cron starts.
        path: The file that stands for it.
    """

    controls: bool
    path: str = OURS

    @classmethod
    def now(cls, path: str = OURS) -> Self:
        """The terminal as it is now."""
        return cls(_why_not(path) is None, path)

    @property
    def closed(self) -> bool:
        """Whether there was one, and its window, tab or connection has been closed since."""
        return self.controls and _why_not(self.path) in _GONE


def _why_not(path: str) -> int | None:
    """The errno of opening it; None if it can be opened."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno
    return None
