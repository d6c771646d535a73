"""Gives an engine back what it had when it last ended, before its first request."""

from __future__ import annotations

import logging

import trio

from ..engines.connection import Disconnected
from ..errors import EngineBadAnswer
from ..units import format_seconds
from .fingerprint import differences
from .saved import Saved
from .slots import NotSupported, Slot
from .tended import NotAsSaved, Tended

log = logging.getLogger(__name__)

RESTORING = 5.0
"""Seconds after which no further slot is restored: the first request waits."""

ONE = 8.0
"""Seconds that restoring a small slot may take; what takes longer hangs, and isn't tried again."""

PACE = 500e6
"""Bytes a second for which a larger one gets more time: reading it all for its checksum, and the engine's part."""

MOST = 25.0
"""Seconds that any may take: less than `AFTER_READY` in `fleet.model.hooks`, which would end it without a word."""

ROOM = 0.75
"""How much of a context that slots share may be taken by restored ones, the first aside."""


async def restore(tended: Tended) -> None:
    """Restore what fits, the most recently used first.

    Raises:
        Disconnected, OSError: The engine can't be asked.
    """
    tally, began = tended.tally, trio.current_time()
    tally.cold = ""
    try:
        slots = await tended.look()
    except NotSupported as error:
        tally.unable = str(error)
        return
    except EngineBadAnswer as error:
        tally.unable = f"its engine answers nonsense about its slots: {error.message}"
        tended.tell("cold", reason=tally.unable)
        return
    if slots is None:
        return
    await tended.cache.sealed(tended.model)
    done = await _restore_all(tended, slots, began)
    tended.judge.cost = seconds = trio.current_time() - began
    if done:
        tokens, count = sum(saved.tokens for saved in done), len(done)
        tally.restores += count
        tended.tell("restored", slots=count, tokens=tokens, seconds=round(seconds, 3))
        what = "1 conversation is" if count == 1 else f"{count} conversations are"
        log.info("%s: %s back, %d tokens, in %s", tended.model, what, tokens, format_seconds(round(seconds, 3)))
    elif tally.cold:
        tended.tell("cold", reason=tally.cold)
        log.info("%s: its conversations begin anew: %s", tended.model, tally.cold)


def limit_of(size: int) -> float:
    """How many seconds restoring so many bytes may take."""
    return min(ONE + size / PACE, MOST)


async def _restore_all(tended: Tended, slots: list[Slot], began: float) -> list[Saved]:
    free, tally, store = [slot for slot in slots if not slot.busy], tended.tally, tended.cache.store
    done: list[Saved] = []
    room = ROOM * min(slot.context for slot in slots)
    for saved in await _fitting(tended):
        if not free or trio.current_time() - began > RESTORING:
            break
        if done and tended.engine.unified and sum(each.tokens for each in done) + saved.tokens > room:
            continue
        slot = free.pop(0)
        try:
            seconds = limit_of(saved.bytes)
            with trio.move_on_after(seconds) as limit:
                await _restore(tended, slot, saved, len(done))
            if limit.cancelled_caught:
                raise NotAsSaved(f"it was not restored within {format_seconds(round(seconds, 1))}")  # noqa: TRY301 -- like the others
        except (NotAsSaved, EngineBadAnswer, OSError) as error:
            tally.cold = f"a saved conversation was damaged and is removed: {error}"
            await trio.to_thread.run_sync(store.drop, saved.id)
        except Disconnected:  # the engine may have died of it, and would do so again
            tally.cold = "the engine hung up when it was given a saved conversation, which is removed"
            tended.tell("cold", reason=tally.cold)
            await trio.to_thread.run_sync(store.drop, saved.id)
            raise
        else:
            tended.entries[slot.id] = saved
            tended.judge.restored(slot.id, saved)
            done.append(saved)
    return done


async def _fitting(tended: Tended) -> list[Saved]:
    """What may be restored, the most recently used first; what may not, though it is this model's, is removed."""
    assert tended.print is not None
    store, fitting = tended.cache.store, []
    for saved in sorted(store.entries.values(), key=lambda each: -each.used_at):
        other = differences(saved.fingerprint, tended.print)
        if not other:
            fitting.append(saved)
        elif saved.model == tended.model:
            tended.tally.cold = f"not the same as when they were saved: its {', its '.join(other)}"
            await trio.to_thread.run_sync(store.drop, saved.id)
    return fitting


async def _restore(tended: Tended, slot: Slot, saved: Saved, older: int) -> None:
    store, room = tended.cache.store, tended.engine.room
    name = await trio.to_thread.run_sync(store.lend, saved, room, abandon_on_cancel=True)
    if name is None:
        raise NotAsSaved("its data is not what was saved")
    try:
        tokens, size = await tended.slots.restore(slot.id, name)
    finally:
        (room / name).unlink(missing_ok=True)
    if (tokens, size) != (saved.tokens, saved.bytes):
        await tended.slots.erase(slot.id)
        raise NotAsSaved(f"the engine took {tokens} tokens of {size} bytes for {saved.tokens} of {saved.bytes}")
    await trio.to_thread.run_sync(store.used, saved, older)
