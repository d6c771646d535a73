"""The question that a model asks before it starts: may I? `fleet.memory` answers it.

It does not know how a model starts.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .model import Model


class Grant(Protocol):
    """What a supervisor holds while memory is its model's: it says what becomes of the engine that has the memory."""

    def ready(self) -> None:
        """The engine is ready."""

    def measured(self) -> None:
        """What the engine costs was seen to be another."""

    def stopping(self) -> None:
        """The engine is about to be ended, or has ended."""

    def out_of_memory(self) -> bool:
        """Whether the system has killed a process for want of memory since this was granted."""


class Admission(Protocol):
    """Decides when a model may start."""

    def admit(self, model: Model) -> AbstractAsyncContextManager[Grant]:
        """Wait for room, then hold it until the model's engine is gone and its memory is back.

        Raises:
            ModelTooLarge: There can never be room.
        """
