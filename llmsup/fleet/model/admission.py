"""The question that a model asks before it starts: may I? `governor` answers it.

It does not know how a model starts.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .model import Model


class Admission(Protocol):
    """Decides when a model may start."""

    def admit(self, model: Model) -> AbstractAsyncContextManager[None]:
        """Wait for room, then hold it until the model's engine is gone and its memory is back.

        Raises:
            ModelTooLarge: There can never be room.
        """

    def changed(self, model: Model) -> None:
        """Something about the model is different: its state, whether it has requests, what it costs."""

    def out_of_memory(self, model: Model) -> bool:
        """Whether the system has killed a process for want of memory since the model was admitted."""
