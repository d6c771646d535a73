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
        self._saved_at = float("-inf")  # when all that the slots held was on the disk (trio time)
        self._prompt = 0  # the most tokens that a prompt had, of those that were told

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
        self._prompt = max(self._prompt, computed + cached)
        self._tended.judge.answered(computed, cached, seconds)

    async def restore(self) -> None:
        """Give the engine back what it had when it last ended, the most recently used first.

        Raises:
            Disconnected, OSError: The engine can't be asked.
        """
        await restore(self._tended)
        self._saved_at = trio.current_time()

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
                if await self._saving.all(deadline, idle=idle):
                    self._saved_at = trio.current_time()

    def saves_for(self, limit: float, *, heard: float) -> float:
        """How many seconds a save should take if it was begun now.

        It goes by the longest prompt, and by the model's last conversation on the disk, which this one may continue:
        the engine isn't asked for that.

        Args:
            limit: Seconds that it may take.
            heard: When the engine last sent anything (trio's clock).
        """
        return min(self._saving.expected(self._prompt), limit) if heard > self._saved_at else 0.0
