"""What a supervisor needs before it starts an engine: permission to use memory. `fleet.memory` grants it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .model import Model


class Grant(Protocol):
    """Held by a supervisor while its model has memory; through it the supervisor reports what happens to the engine."""

    def ready(self) -> None:
        """The engine is ready."""

    def measured(self) -> None:
        """The engine's measured size has changed."""

    def sleep_level(self) -> int:
        """At which level the engine is to sleep now instead of being stopped; 0: it is to be stopped."""

    async def asleep(self, level: int) -> None:
        """The engine has fallen asleep: from now on only what it still holds is its model's."""

    def awake(self) -> None:
        """The engine has been woken."""

    def stopping(self) -> None:
        """The engine is about to be ended, or has ended."""

    def out_of_memory(self) -> bool:
        """Whether the system has run out of memory and killed a process since this was granted."""


class Admission(Protocol):
    """Decides when a model may start."""

    def admit(self, model: Model) -> AbstractAsyncContextManager[Grant]:
        """Wait for room, then hold it until the model's engine is gone and its memory has been returned.

        Raises:
            ModelTooLarge: There will never be enough room.
        """

    async def readmit(self, model: Model) -> bool:
        """Wait for room to wake a model whose engine sleeps, and hold it as before; returns whether there is any:
        False if it isn't wanted any more.

        Raises:
            ModelTooLarge: There will never be enough room.
        """
