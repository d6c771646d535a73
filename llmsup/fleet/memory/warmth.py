"""How much of models' files lies in the page cache: looked at in a thread, and seldom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

import trio

from ...catalog.entry import Entry
from ...memory.machine.page_cache import cached_share
from ..model.model import Model

EVERY = 5.0
"""Seconds between two looks, at least, at whatever models were asked about meanwhile."""


class Warmth:
    """The share of each model's files that is in the page cache.

    Attributes:
        look: Finds that out for some files; None if it can't be told. Blocks for some milliseconds.
    """

    def __init__(self, look: Callable[[Iterable[Path]], float | None] = cached_share) -> None:
        self._look = look
        self._seen: MutableMapping[Model, tuple[float, float | None]] = WeakKeyDictionary()
        self._asked: WeakSet[Model] = WeakSet()
        self._woken = trio.Event()

    async def run(self) -> None:
        """Look again at the models that `share` was asked about, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            asked, self._asked = list(self._asked), WeakSet()
            for model in asked:
                await self.now(model)
            await trio.sleep(EVERY)

    def share(self, model: Model) -> float | None:
        """The share at the last look, 0 to 1; None if there was none, or it can't be told. An old one has the next look
        taken soon.
        """
        at, share = self._seen.get(model, (float("-inf"), None))
        if trio.current_time() - at >= EVERY and files_of(model.served):
            self._asked.add(model)
            self._woken.set()
        return share

    async def recent(self, model: Model) -> float | None:
        """The share as it was at most `EVERY` seconds ago."""
        at, share = self._seen.get(model, (float("-inf"), None))
        return await self.now(model) if trio.current_time() - at >= EVERY else share

    async def now(self, model: Model) -> float | None:
        """Look now."""
        files = files_of(model.served)
        share = await trio.to_thread.run_sync(self._look, files, abandon_on_cancel=True) if files else None
        self._seen[model] = (trio.current_time(), share)
        return share


def files_of(entry: Entry) -> tuple[Path, ...]:
    """The files that an engine reads when it loads a model; none if they aren't known."""
    found = entry.found
    return tuple(stamp.path for stamp in (*found.files, *found.extras)) if found else ()
