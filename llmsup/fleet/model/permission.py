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
