"""Saves what an engine's slots hold, while it is idle and before it ends."""

from __future__ import annotations

import logging
import secrets
import time
from functools import partial

import trio

from ..errors import EngineBadAnswer
from ..units import format_bytes, format_seconds
from . import contents
from .limits import over_budget, refuses
from .saved import Saved
from .slots import NotSupported, Slot
from .state_file import Tokens
from .tended import NotAsSaved, Tended

log = logging.getLogger(__name__)

IDLE_SAVE = 2.0
"""Seconds that a save may take while nothing is about to end: a request that comes meanwhile waits for it."""


class Saving:
    """The saves of one engine."""

    def __init__(self, tended: Tended) -> None:
        self._tended = tended
        self._cache = tended.cache
        self._model = tended.model
        self._marks: dict[int, tuple[int | None, int | None]] = {}  # of what was saved of each slot
        self._clears = tended.cache.store.clears
        self._token_bytes = tended.engine.token_bytes

    @property
    def _off(self) -> bool:
        return bool(self._tended.print is None or self._cache.off or self._tended.tally.trust.off)

    def expected(self, tokens: int) -> float:
        """How many seconds it should take to save what has changed. `tokens`: the longest prompt that is known of."""
        if self._off:
            return 0.0
        cache = self._cache
        last = next((saved.bytes for saved in cache.store.of(self._model)), 0)
        size = max(int(tokens * self._token_bytes) if tokens >= cache.spec.min_tokens else 0, last)
        return 0.0 if over_budget(cache.store, cache.spec, size, idle=False) else cache.rate.seconds(size)

    async def all(self, deadline: float, *, idle: bool) -> bool:
        """See `Keeper.save`; returns whether nothing is left to be saved. If it is cancelled, nothing is half done."""
        if self._off:
            return False
        try:
            slots = await self._tended.slots.all()
        except EngineBadAnswer as error:
            self._tended.tally.unable = f"its engine answers nonsense about its slots: {error.message}"
            return False
        self._forget_what_was_cleared()
        left = False
        for older, slot in enumerate(sorted(filter(self._worth, slots), key=lambda each: -(each.task or 0))):
            size = int((slot.tokens or 0) * self._token_bytes)
            limit = min(deadline, trio.current_time() + IDLE_SAVE) if idle else deadline
            if trio.current_time() + self._cache.rate.seconds(size) > limit:
                spare, takes = format_seconds(round(limit - trio.current_time(), 1)), format_bytes(size)
                log.info("%s: a conversation of %s is not saved in %s", self._model, takes, spare)
                left = True
            elif why := await trio.to_thread.run_sync(
                partial(refuses, self._cache.store, self._cache.spec, size, idle=idle)
            ):
                if not idle:
                    self._cache.warn(f"a conversation of {self._model} is not saved: {why}")
                return False
            else:
                await self._save(slot, older, size)
        return not left

    def _forget_what_was_cleared(self) -> None:
        """What a person removed is saved again: it is still in the slots."""
        store, entries = self._cache.store, self._tended.entries
        if self._clears != store.clears:
            self._clears = store.clears
            gone = [slot for slot in self._marks if slot in entries and entries[slot].id not in store.entries]
            for slot in gone:
                del self._marks[slot]

    def _worth(self, slot: Slot) -> bool:
        """Whether a slot holds enough, and something else than what was saved of it."""
        if slot.busy or slot.task is None or self._marks.get(slot.id) == (slot.task, slot.tokens):
            return False
        return slot.tokens is None or slot.tokens >= self._cache.spec.min_tokens

    async def _save(self, slot: Slot, older: int, expected: int) -> None:
        """Save one slot.

        Args:
            older: How many others were used after it, and are saved before it.
            expected: How many bytes it is expected to take.
        """
        cache, tended, began = self._cache, self._tended, trio.current_time()
        fresh = tended.engine.room / f"{secrets.token_hex(8)}.slot"
        await trio.to_thread.run_sync(cache.store.count, expected)  # it is written even if nobody waits for it
        try:
            tokens, size = await tended.slots.save(slot.id, fresh.name)
            cache.rate.saw(size, trio.current_time() - began)
            await trio.to_thread.run_sync(cache.store.count, size - expected)
            self._marks[slot.id] = (slot.task, slot.tokens)
            if tokens < cache.spec.min_tokens:
                return
            content = await trio.to_thread.run_sync(contents.written, fresh, tokens, size)
            self._token_bytes = size / tokens
            assert tended.print is not None
            now = time.time() - older
            saved = Saved(
                id=secrets.token_hex(16), model=self._model, fingerprint=dict(tended.print), tokens=tokens, bytes=size,
                digest="", saved_at=now, used_at=now,
            )  # fmt: skip
            before = tended.entries.get(slot.id)
            replaced = await trio.to_thread.run_sync(contents.replaced, cache.store, self._model, before, content)
            if not await self._still_of_use(slot.id, content):
                return
            cache.store.take(fresh, saved.id)
            tended.entries[slot.id] = saved
            tended.tally.saves += 1
            cache.seal_soon(saved, replaced, tended.count)
            seconds = round(trio.current_time() - began, 3)
            tended.tell("saved", tokens=tokens, bytes=size, seconds=seconds)
        except trio.Cancelled:
            cache.rate.gave_up(expected, trio.current_time() - began)
            raise
        except NotSupported as error:  # a slot with an image in it
            self._marks[slot.id] = (slot.task, slot.tokens)
            log.info("%s: a conversation can't be saved: %s", self._model, error.message)
        except (EngineBadAnswer, NotAsSaved) as error:
            self._marks[slot.id] = (slot.task, slot.tokens)
            cache.warn(f"a conversation of {self._model} could not be saved: {error}")
        finally:
            fresh.unlink(missing_ok=True)

    async def _still_of_use(self, slot: int, content: Tokens[int] | None) -> bool:
        """Look whether a slot that was restored was of use; returns whether there is still any sense in saving."""
        before, cache, tended = self._tended.entries.get(slot), self._cache, self._tended
        old = await trio.to_thread.run_sync(contents.kept, cache.store, before) if before is not None else None
        tended.judge.saw(slot, old, content)
        if why := tended.tally.trust.off:
            await trio.to_thread.run_sync(cache.store.clear, self._model)
            tended.tell("off", reason=why)
            cache.warn(f"conversations of {self._model} are no longer kept: {why}")
        return not why
