"""The question that a model asks before it starts: may I?

It does not know how a model starts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from ..config.schema import ModelSpec


class Admission(Protocol):
    """Decides when a model may start."""

    def admit(self, spec: ModelSpec) -> AbstractAsyncContextManager[None]:
        """Wait for room, then hold it for as long as the model lives.

        Raises:
            InsufficientMemory: There will be no room soon.
            ModelTooLarge: There can never be room.
        """


class AlwaysYes:
    """The admission of a machine with memory for everything: nothing is ever unloaded to make room."""

    @asynccontextmanager
    async def admit(self, spec: ModelSpec) -> AsyncIterator[None]:  # noqa: ARG002 -- the protocol's signature
        """Let the model start at once."""
        yield
