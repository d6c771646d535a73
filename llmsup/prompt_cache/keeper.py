"""One running engine's conversations: restored before its first request, saved while it is idle and before it ends."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import trio
from attrs import frozen

from ..engines.connection import Disconnected
from ..errors import EngineBadAnswer
from ..units import format_bytes, format_seconds
from .cache import PromptCache
from .fingerprint import Fingerprint, Told, differences, fingerprint
from .judge import Judge
from .limits import refuses
from .saved import Saved
from .slots import NotSupported, Slot
from .state_file import Tokens, shared, tokens_of

log = logging.getLogger(__name__)

RESTORING = 5.0
"""Seconds after which no further slot is restored: the first request waits."""

IDLE_SAVE = 2.0
"""Seconds that a save may take while nothing is about to end: a request that comes meanwhile waits for it."""

ONE = 8.0
"""Seconds that restoring one slot may take: reading it all for its checksum, and the engine's part."""

ROOM = 0.75
"""How much of a context that slots share may be taken by restored ones, the first aside."""


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


class _Off(Exception):
    """What was saved is not as it should be; the message is a clause."""


class Keeper:
    """The conversations of one engine."""

    def __init__(self, cache: PromptCache, engine: Started, slots: AsksSlots) -> None:
        self._cache = cache
        self._engine = engine
        self._slots = slots
        self._turn = trio.Lock()
        self._print: Fingerprint | None = None
        self._count = 1
        self._marks: dict[int, tuple[int | None, int | None]] = {}  # of what was saved of each slot
        self._entries: dict[int, Saved] = {}  # what each slot was saved as or restored from
        self._judge = Judge(cache, engine.model)
        self._token_bytes = engine.token_bytes

    @property
    def listens(self) -> bool:
        """Whether it wants to be told of answers."""
        return self._print is not None and self._judge.listens

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        """An answer is complete.

        Args:
            computed: How many tokens of the prompt had to be computed.
            cached: How many had not.
            seconds: How long computing took; None if the engine didn't tell.
        """
        self._judge.answered(computed, cached, seconds)

    # Restoring...

    async def restore(self) -> None:
        """Give the engine back what it had when it last ended, the most recently used first.

        Raises:
            Disconnected, OSError: The engine can't be asked.
        """
        tally, began = self._cache.of(self._engine.model), trio.current_time()
        tally.cold = ""
        try:
            slots = await self._look()
        except NotSupported as error:
            tally.unable = str(error)
            return
        except EngineBadAnswer as error:
            tally.unable = f"its engine answers nonsense about its slots: {error.message}"
            self._tell("cold", reason=tally.unable)
            return
        if slots is None:
            return
        await self._cache.sealed(self._engine.model)
        done = await self._restore_all(slots, began)
        self._judge.cost = seconds = trio.current_time() - began
        if done:
            tokens, count = sum(saved.tokens for saved in done), len(done)
            tally.restores += count
            self._tell("restored", slots=count, tokens=tokens, seconds=round(seconds, 3))
            text = "%s: %d tokens of %d conversations are back in %s"
            log.info(text, self._engine.model, tokens, count, format_seconds(round(seconds, 3)))
        elif tally.cold:
            self._tell("cold", reason=tally.cold)
            log.info("%s: its conversations begin anew: %s", self._engine.model, tally.cold)

    async def _look(self) -> list[Slot] | None:
        """Find out what the engine is; None if nothing can be kept of it."""
        slots = await self._slots.all()
        told = await self._slots.told(min(slot.context for slot in slots))
        if told.adapters:
            self._cache.of(self._engine.model).unable = "LoRA adapters are loaded, among which each request may choose"
            return None
        engine = self._engine
        look = partial(fingerprint, engine.argv, engine.env, engine.build, told)
        self._print = await trio.to_thread.run_sync(look, abandon_on_cancel=True)
        self._count = len(slots)
        return slots

    async def _restore_all(self, slots: list[Slot], began: float) -> list[Saved]:
        free, tally = [slot for slot in slots if not slot.busy], self._cache.of(self._engine.model)
        done: list[Saved] = []
        room = ROOM * min(slot.context for slot in slots)
        for saved in await self._fitting():
            if not free or trio.current_time() - began > RESTORING:
                break
            if done and self._engine.unified and sum(each.tokens for each in done) + saved.tokens > room:
                continue
            slot = free.pop(0)
            try:
                with trio.move_on_after(ONE) as limit:
                    await self._restore(slot, saved, len(done))
                if limit.cancelled_caught:
                    raise _Off(f"it was not restored within {format_seconds(ONE)}")  # noqa: TRY301 -- like the others
            except (_Off, EngineBadAnswer, OSError) as error:
                tally.cold = f"a saved conversation was off and is removed: {error}"
                await trio.to_thread.run_sync(self._cache.store.drop, saved.id)
            except Disconnected:  # the engine may have died of it, and would do so again
                tally.cold = "the engine hung up when it was given a saved conversation, which is removed"
                self._tell("cold", reason=tally.cold)
                await trio.to_thread.run_sync(self._cache.store.drop, saved.id)
                raise
            else:
                self._entries[slot.id] = saved
                self._judge.restored(slot.id, saved)
                done.append(saved)
        return done

    async def _fitting(self) -> list[Saved]:
        """What may be restored, the most recently used first; what may not, though it is this model's, is removed."""
        assert self._print is not None
        store, fitting = self._cache.store, []
        for saved in sorted(store.entries.values(), key=lambda each: -each.used_at):
            other = differences(saved.fingerprint, self._print)
            if not other:
                fitting.append(saved)
            elif saved.model == self._engine.model:
                self._cache.of(saved.model).cold = f"not the same as when they were saved: its {', its '.join(other)}"
                await trio.to_thread.run_sync(store.drop, saved.id)
        return fitting

    async def _restore(self, slot: Slot, saved: Saved, older: int) -> None:
        store, room = self._cache.store, self._engine.room
        name = await trio.to_thread.run_sync(store.lend, saved, room, abandon_on_cancel=True)
        if name is None:
            raise _Off("its data is not what was saved")
        try:
            tokens, size = await self._slots.restore(slot.id, name)
        finally:
            (room / name).unlink(missing_ok=True)
        if (tokens, size) != (saved.tokens, saved.bytes):
            await self._slots.erase(slot.id)
            raise _Off(f"the engine took {tokens} tokens of {size} bytes for {saved.tokens} of {saved.bytes}")
        await trio.to_thread.run_sync(store.used, saved, older)

    # Saving...

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
                await self._save_all(deadline, idle=idle)

    async def _save_all(self, deadline: float, *, idle: bool) -> None:
        if self._print is None or self._cache.off or self._cache.of(self._engine.model).trust.off:
            return
        try:
            slots = await self._slots.all()
        except EngineBadAnswer as error:
            self._cache.of(self._engine.model).unable = f"its engine answers nonsense about its slots: {error.message}"
            return
        for older, slot in enumerate(sorted(filter(self._worth, slots), key=lambda each: -(each.task or 0))):
            size = int((slot.tokens or 0) * self._token_bytes)
            limit = min(deadline, trio.current_time() + IDLE_SAVE) if idle else deadline
            if trio.current_time() + self._cache.rate.seconds(size) > limit:
                left, takes = format_seconds(round(limit - trio.current_time(), 1)), format_bytes(size)
                log.info("%s: a conversation of %s is not saved in %s", self._engine.model, takes, left)
            elif why := await trio.to_thread.run_sync(
                partial(refuses, self._cache.store, self._cache.spec, size, idle=idle)
            ):
                if not idle:
                    self._cache.warn(f"a conversation of {self._engine.model} is not saved: {why}")
                return
            else:
                await self._save(slot, older, size)

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
        cache, model, began = self._cache, self._engine.model, trio.current_time()
        fresh = self._engine.room / f"{secrets.token_hex(8)}.slot"
        await trio.to_thread.run_sync(cache.store.count, expected)  # it is written even if nobody waits for it
        try:
            tokens, size = await self._slots.save(slot.id, fresh.name)
            cache.rate.saw(size, trio.current_time() - began)
            await trio.to_thread.run_sync(cache.store.count, size - expected)
            self._marks[slot.id] = (slot.task, slot.tokens)
            if tokens < cache.spec.min_tokens:
                return
            content = await trio.to_thread.run_sync(_content, fresh, tokens, size)
            self._token_bytes = size / tokens
            assert self._print is not None
            now = time.time() - older
            saved = Saved(
                id=secrets.token_hex(16), model=model, fingerprint=dict(self._print), tokens=tokens, bytes=size,
                digest="", saved_at=now, used_at=now,
            )  # fmt: skip
            replaced = await trio.to_thread.run_sync(self._replaced, slot.id, content)
            if not await self._still_of_use(slot.id, content):
                return
            cache.store.take(fresh, saved.id)
            self._entries[slot.id] = saved
            cache.of(model).saves += 1
            cache.seal_soon(saved, replaced, self._count)
            seconds = round(trio.current_time() - began, 3)
            self._tell("saved", tokens=tokens, bytes=size, seconds=seconds)
        except NotSupported as error:  # a slot with an image in it
            self._marks[slot.id] = (slot.task, slot.tokens)
            log.info("%s: a conversation can't be saved: %s", model, error.message)
        except (EngineBadAnswer, _Off) as error:
            self._marks[slot.id] = (slot.task, slot.tokens)
            cache.warn(f"a conversation of {model} could not be saved: {error}")
        finally:
            fresh.unlink(missing_ok=True)

    def _replaced(self, slot: int, content: Tokens[int] | None) -> list[str]:
        """The entries that what is in a slot now continues."""
        before, store, gone = self._entries.get(slot), self._cache.store, []
        for saved in store.of(self._engine.model):
            old = self._content(saved) if content is not None else None
            if content is None or old is None:
                if before is not None and saved.id == before.id:
                    gone.append(saved.id)
                continue
            alike = shared(old, content)
            if alike == len(old) or (before is not None and saved.id == before.id and alike >= len(old) / 2):
                gone.append(saved.id)
        return gone

    def _content(self, saved: Saved) -> Tokens[int] | None:
        try:
            return tokens_of(self._cache.store.path(saved))
        except OSError:
            return None

    async def _still_of_use(self, slot: int, content: Tokens[int] | None) -> bool:
        """Look whether a slot that was restored was of use; returns whether there is still any sense in saving."""
        before, cache, model = self._entries.get(slot), self._cache, self._engine.model
        old = await trio.to_thread.run_sync(self._content, before) if before is not None else None
        self._judge.saw(slot, old, content)
        if why := cache.of(model).trust.off:
            await trio.to_thread.run_sync(cache.store.clear, model)
            self._tell("off", reason=why)
            cache.warn(f"conversations of {model} are no longer kept: {why}")
        return not why

    def _tell(self, what: str, **data: object) -> None:
        self._cache.events.write("prompt_cache", model=self._engine.model, what=what, **data)


def _content(path: Path, tokens: int, size: int) -> Tokens[int] | None:
    """The tokens in a file that an engine has just written; None if the file isn't understood."""
    if path.stat().st_size != size:
        raise _Off(f"it has {path.stat().st_size} bytes, not the {size} that its engine tells")
    content = tokens_of(path)
    if content is not None and len(content) != tokens:
        raise _Off(f"it has {len(content)} tokens, not the {tokens} that its engine tells")
    return content
