"""Has the system read the file of a load ahead while the load waits for memory or for others to leave."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from ...memory.machine.page_cache import read_ahead
from ...units import format_bytes
from .ask import Ask
from .warmth import Warmth, files_of

log = logging.getLogger(__name__)

PIECE = 64 * 1024**2
"""Bytes that are asked for at once; after each it is looked whether there still is memory for more."""

ENOUGH = 0.95
"""With this share of a file in the page cache there is nothing to win."""


class ReadAhead:
    """Reads ahead for one waiting load at a time, the one that has waited longest.

    Attributes:
        spare: How many bytes of memory nobody but this load wants now; 0 under pressure. The page cache is among
            them, so that what has been read ahead doesn't lessen them.
        change: Waits until that may have changed.
        warmth: Tells what of a file is there already.
        read: Reads a part of a file ahead; returns once it is there.
    """

    def __init__(
        self,
        spare: Callable[[Ask], int],
        change: Callable[[], Awaitable[None]],
        warmth: Warmth,
        read: Callable[[Path, int, int], None] = read_ahead,
    ) -> None:
        self._spare = spare
        self._change = change
        self._warmth = warmth
        self._read = read
        self._turn = trio.Lock()

    async def go(self, ask: Ask) -> None:
        """Read its files ahead, until cancelled because it waits no more."""
        async with self._turn:
            files = files_of(ask.model.served)
            if ask.model.spec.load_mode == "direct":  # which goes past the page cache
                return
            share = await self._warmth.now(ask.model)
            if not files or share is None or share >= ENOUGH:
                return
            try:
                await self._through(ask, files)
            except OSError as error:
                log.debug("%s: its file can't be read ahead: %s", ask.name, error)

    async def _through(self, ask: Ask, files: tuple[Path, ...]) -> None:
        try:
            for path in files:
                size = (await trio.Path(path).stat()).st_size
                for offset in range(0, size, PIECE):
                    length = min(PIECE, size - offset)
                    while self._spare(ask) < ask.ahead + length:
                        await self._change()
                    # A load that may start must not wait for the disk to deliver what it asked for here.
                    await trio.to_thread.run_sync(self._read, path, offset, length, abandon_on_cancel=True)
                    ask.ahead += length
        finally:
            if ask.ahead:
                log.info("%s: %s of its file were read ahead while it waited", ask.name, format_bytes(ask.ahead))
