"""One running engine as its keeper knows it: how it was started, what it is, and what its slots were given."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import trio
from attrs import frozen

from .cache import PromptCache, Tally
from .fingerprint import Fingerprint, Told, fingerprint
from .judge import Judge
from .saved import Saved
from .slots import Slot


class NotAsSaved(Exception):
    """What was saved is not as it should be; the message is a clause."""


class AsksSlots(Protocol):
    """What it asks an engine; see `slots.Slots`."""

    async def all(self) -> list[Slot]: ...
    async def told(self, context: int) -> Told: ...
    async def save(self, slot: int, name: str) -> tuple[int, int]: ...
    async def restore(self, slot: int, name: str) -> tuple[int, int]: ...
    async def erase(self, slot: int) -> None: ...


@frozen(kw_only=True)
class Started:
    """An engine as it was started.

    Attributes:
        model: Its model's name.
        argv: Its command line.
        env: Its environment.
        build: A text that changes whenever the program does.
        room: The directory that it writes slots into.
        token_bytes: What one token is expected to take in a file; 0 if unknown.
        unified: Whether its slots share one context.
    """

    model: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    build: str
    room: Path
    token_bytes: float = 0
    unified: bool = True


class Tended:
    """One engine whose conversations are kept.

    Attributes:
        cache: Where they are kept.
        engine: How it was started.
        slots: Asks it about its slots.
        model: Its model's name.
        print: Its fingerprint; None until it was looked at, and if nothing can be kept of it.
        count: How many slots it has.
        entries: What each slot was last saved as or restored from.
        judge: Sees whether restoring was of use.
    """

    def __init__(self, cache: PromptCache, engine: Started, slots: AsksSlots) -> None:
        self.cache = cache
        self.engine = engine
        self.slots = slots
        self.model = engine.model
        self.print: Fingerprint | None = None
        self.count = 1
        self.entries: dict[int, Saved] = {}
        self.judge = Judge(cache, engine.model)

    @property
    def tally(self) -> Tally:
        """What came of its model's conversations so far."""
        return self.cache.of(self.model)

    def tell(self, what: str, **data: object) -> None:
        """Write an event."""
        self.cache.events.write("prompt_cache", model=self.model, what=what, **data)

    async def look(self) -> list[Slot] | None:
        """Find out what the engine is; returns its slots, or None if nothing can be kept of it.

        Raises:
            EngineBadAnswer: It has no such thing (`slots.NotSupported`), or answers nonsense.
            Disconnected, OSError: It can't be asked.
        """
        slots = await self.slots.all()
        told = await self.slots.told(min(slot.context for slot in slots))
        if told.adapters:
            self.tally.unable = "LoRA adapters are loaded, among which each request may choose"
            return None
        engine = self.engine
        look = partial(fingerprint, engine.argv, engine.env, engine.build, told)
        self.print = await trio.to_thread.run_sync(look, abandon_on_cancel=True)
        self.count = len(slots)
        return slots
