"""All saved conversations: which models have some, what may be written, and what came of it."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from pathlib import Path

import trio
from attrs import Factory, define

from ..catalog.entry import Entry
from ..config.live import LiveConfig
from ..config.schema import PromptCacheSpec
from ..engines.registry import Kinds
from ..process.ring import Events
from ..process.watched import Watched
from ..units import format_bytes
from .ability import Ability, Trust, ability
from .limits import Rate
from .saved import Saved
from .store import Store
from .time_machine import leave_out

log = logging.getLogger(__name__)

FINISH = 20.0
"""Seconds that what was saved at the end of llmsup has to reach the disk."""


@define
class Tally:
    """What came of it for one model, since llmsup started.

    Attributes:
        saves: Slots that were saved.
        restores: Slots that were restored.
        hits: Restored slots that an answer made use of.
        misses: Restored slots that were computed anew although they fitted.
        tokens: Tokens that did not have to be computed again.
        seconds: How long that would have taken, less the time for restoring.
        cold: Why nothing was restored the last time, a clause; "" if something was, or nothing was there.
        unable: What the engine that ran last can't do, a clause; "" if nothing is known against it.
    """

    saves: int = 0
    restores: int = 0
    hits: int = 0
    misses: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cold: str = ""
    unable: str = ""
    trust: Trust = Factory(Trust)
    per_token: float | None = None  # seconds to compute one, as measured


class PromptCache(Watched):
    """The saved conversations of all models.

    Attributes:
        store: Where they are.
        tallies: What came of it, by model.
        rate: How fast engines write.
    """

    def __init__(self, config: LiveConfig, directory: Path, events: Events, kinds: Kinds) -> None:
        """`directory`: where to keep them; made when it is first needed."""
        super().__init__()
        self.store = Store(directory)
        self.tallies: dict[str, Tally] = {}
        self.rate = Rate()
        self.events = events
        self._config = config
        self._kinds = kinds
        self._sealing: Counter[str] = Counter()
        self._nursery: trio.Nursery | None = None
        self._told: set[tuple[str, int]] = set()

    @property
    def spec(self) -> PromptCacheSpec:
        """[prompt_cache] as it is now."""
        return self._config.now.prompt_cache

    @property
    def off(self) -> str:
        """Why nothing is saved or restored, a clause; "" if it is."""
        return "[prompt_cache] disk is 0" if not self.spec.disk else self.store.problem

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the directory until cancelled; what is being saved by then is still completed."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._follow_config()
                task_status.started()
                while True:
                    await self._config.change()
                    await self._follow_config()
        finally:
            self._nursery = None
            self.store.close()

    async def _follow_config(self) -> None:
        """Keep to the budget; with none, nothing stays."""
        if self.spec.disk:
            await self.open()
        elif await trio.Path(self.store.directory).exists():
            await trio.to_thread.run_sync(self.store.open)
        if not self.store.problem:
            before = len(self.store.entries)
            await trio.to_thread.run_sync(self.store.shrink, self.spec.disk)
            if gone := before - len(self.store.entries):
                many = "1 saved conversation was" if gone == 1 else f"{gone} saved conversations were"
                log.info("%s removed: [prompt_cache] disk is %s", many, format_bytes(self.spec.disk))

    async def open(self) -> None:
        """Take the directory, unless that is done or another llmsup has it."""
        if await trio.to_thread.run_sync(self.store.open):
            if sys.platform == "darwin":
                await leave_out(self.store.directory)
        elif self.store.problem:
            self.warn(f"conversations are not kept when models are unloaded: {self.store.problem}")

    def warn(self, text: str) -> None:
        """Log something once a day."""
        key = (text.partition(":")[0], int(time.time() // 86400))
        if key not in self._told:
            self._told.add(key)
            log.warning("%s", text)

    # About one model...

    def of(self, model: str) -> Tally:
        """A model's tally, which is new if it has none."""
        return self.tallies.setdefault(model, Tally())

    def ability(self, entry: Entry) -> Ability:
        """Whether a model's conversations are kept, by all that is known now."""
        able, tally = ability(entry, self._kinds), self.tallies.get(entry.name)
        if self.off:
            return Ability("no", self.off)
        if able and tally is not None and (why := tally.unable or tally.trust.off):
            return Ability("no", why)
        return able

    async def room(self, entry: Entry) -> Path | None:
        """A directory for an engine of that model to write into; None if its conversations are not kept."""
        if self.spec.disk and self.store.problem:
            await self.open()
        if entry.name in self.tallies:
            self.of(entry.name).unable = ""  # another engine, another try
        if not self.ability(entry):
            return None
        try:
            return await trio.to_thread.run_sync(self.store.room_for_engine)
        except OSError as error:
            self.warn(f"conversations can't be kept: {self.store.directory}: {error.strerror or error}")
            return None

    async def leave(self, room: Path) -> None:
        """Remove an engine's directory. Works in a cancelled task."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.store.leave, room)

    # Completing what was saved...

    def seal_soon(self, saved: Saved, instead_of: list[str], most_entries: int) -> None:
        """Make an entry of what the store has taken, in the background: reading it all for its checksum takes time, and
        the engine doesn't have to wait for that.
        """
        if self._nursery is not None:
            self._sealing[saved.model] += 1
            self._nursery.start_soon(self._seal, saved, instead_of, most_entries)

    async def _seal(self, saved: Saved, instead_of: list[str], most_entries: int) -> None:
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + FINISH):
                await trio.to_thread.run_sync(self._add, saved, instead_of, most_entries, abandon_on_cancel=True)
        except OSError as error:
            self.warn(f"a conversation of {saved.model} can't be kept: {error.strerror or error}")
        finally:
            self._sealing[saved.model] -= 1
            self.notify()

    def _add(self, saved: Saved, instead_of: list[str], most_entries: int) -> None:
        if self.store.add(saved, most=self.spec.disk, instead_of=instead_of) is not None:
            for more in self.store.of(saved.model)[most_entries:]:  # there is no slot to restore them to
                self.store.drop(more.id)

    async def sealed(self, model: str) -> None:
        """Wait until all that was saved of a model is complete."""
        await self.until(lambda: not self._sealing[model])
