"""One running engine's conversations: restored before its first request, saved while it is idle and before it ends."""

from __future__ import annotations

import trio

from .cache import PromptCache
from .restoring import restore
from .saving import Saving
from .tended import AsksSlots, Started, Tended


class Keeper:
    """The conversations of one engine."""

    def __init__(self, cache: PromptCache, engine: Started, slots: AsksSlots) -> None:
        self._tended = Tended(cache, engine, slots)
        self._saving = Saving(self._tended)
        self._turn = trio.Lock()

    @property
    def listens(self) -> bool:
        """Whether it wants to be told of answers."""
        return self._tended.print is not None and self._tended.judge.listens

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        """An answer is complete.

        Args:
            computed: How many tokens of the prompt had to be computed.
            cached: How many had not.
            seconds: How long computing took; None if the engine didn't tell.
        """
        self._tended.judge.answered(computed, cached, seconds)

    async def restore(self) -> None:
        """Give the engine back what it had when it last ended, the most recently used first.

        Raises:
            Disconnected, OSError: The engine can't be asked.
        """
        await restore(self._tended)

    async def save(self, deadline: float, *, idle: bool = False) -> None:
        """Save what has changed since it was last saved, the most recently used first.

        Args:
            deadline: When it has to be over (trio's clock); what would take longer isn't begun.
            idle: Nothing is about to end.

        Raises:
            Disconnected, OSError: The engine can't be asked.
        """
        with trio.move_on_at(deadline):
            async with self._turn:
                await self._saving.all(deadline, idle=idle)
