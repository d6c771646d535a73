"""A stand-in for an engine's slots: it writes files as llama.cpp does, and can be made to do it wrong."""

from __future__ import annotations

import struct
from pathlib import Path

from attrs import evolve

from llmsup.errors import EngineBadAnswer
from llmsup.prompt_cache.fingerprint import Told
from llmsup.prompt_cache.slots import Slot

HEAD = struct.Struct("<III")


def state_file(tokens: list[int], *, packed: bool = False, per_token: int = 8) -> bytes:
    """What llama.cpp writes for a slot with these tokens."""
    words = [-1, 1, len(tokens), *tokens, 0] if packed else tokens
    return HEAD.pack(0x67677371, 4 if packed else 2, len(words)) + struct.pack(f"<{len(words)}i", *words) + bytes(
        per_token * len(tokens)
    )  # fmt: skip


class SlotEngine:
    """Slots that hold tokens.

    Attributes:
        held: What each slot holds.
        fails: Raised by the next save or restore.
        wrong: What is added to the numbers that it tells.
        forgets: It computes everything anew after a restore, as engines do for some models.
    """

    def __init__(self, room: Path, slots: int = 2, context: int = 10_000, *, packed: bool = False) -> None:
        self.room = room
        self.held: list[list[int]] = [[] for _ in range(slots)]
        self.tasks: list[int | None] = [None] * slots
        self.context = context
        self.packed = packed
        self.fails: Exception | None = None
        self.wrong = 0
        self.forgets = False
        self.adapters = 0
        self.saves = 0
        self._task = 0

    def ask(self, prompt: list[int], answer: list[int], slot: int | None = None) -> int:
        """One request; returns how many tokens of the prompt it had not to compute."""

        def alike(held: list[int]) -> int:
            differ = (at for at, (a, b) in enumerate(zip(held, prompt, strict=False)) if a != b)
            return next(differ, min(len(held), len(prompt)))

        numbers = range(len(self.held))
        best = max(numbers, key=lambda at: alike(self.held[at]))
        if slot is None and alike(self.held[best]) > len(prompt) / 10:
            slot = best
        elif slot is None:  # of equals the last, as llama-server does
            slot = min(numbers, key=lambda at: (self.tasks[at] or 0, -at))
        cached = 0 if self.forgets and self.tasks[slot] is None else alike(self.held[slot])
        self._task += 1
        self.held[slot], self.tasks[slot] = [*prompt, *answer], self._task
        return cached

    async def all(self) -> list[Slot]:
        return [
            Slot(id=at, busy=False, task=self.tasks[at], tokens=len(held) if self.tasks[at] is not None else None,
                 context=self.context)
            for at, held in enumerate(self.held)
        ]  # fmt: skip

    async def told(self, context: int) -> Told:
        return evolve(Told("build", context, "template"), adapters=self.adapters)

    def _maybe_fail(self) -> None:
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error

    async def save(self, slot: int, name: str) -> tuple[int, int]:
        data = state_file(self.held[slot], packed=self.packed)
        (self.room / name).write_bytes(data)
        self._maybe_fail()
        self.saves += 1
        return len(self.held[slot]) + self.wrong, len(data)

    async def restore(self, slot: int, name: str) -> tuple[int, int]:
        self._maybe_fail()
        data = (self.room / name).read_bytes()
        _, _, number = HEAD.unpack(data[:12])
        words = list(struct.unpack(f"<{number}i", data[12 : 12 + 4 * number]))
        tokens = words[3:-1] if self.packed else words
        if len(tokens) > self.context:
            raise EngineBadAnswer("no room")
        self.held[slot], self.tasks[slot] = tokens, None
        return len(tokens) + self.wrong, len(data)

    async def erase(self, slot: int) -> None:
        self.held[slot], self.tasks[slot] = [], None


def words(seed: int, count: int) -> list[int]:
    """So many tokens, always the same for a seed."""
    return [(seed * 7919 + at * 104729 + seed * at) % 40_000 + 1 for at in range(count)]
