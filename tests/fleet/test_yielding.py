"""The programs that llmsup makes way for are looked for: when, and what follows; which ones run is made up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
import trio.testing

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, Memory
from llmsup.fleet.yielding import Yielding
from llmsup.units import Seconds

WANTED = Config(memory=Memory(yield_to=("Final Cut Pro",)))


class Watched:
    """A machine on which one program or none runs, and what was told of it."""

    def __init__(self, config: Config = WANTED) -> None:
        self.config = LiveConfig(config)
        self.program = ""
        self.looked = trio.Event()
        self.told: list[str] = []

    def first(self, names: Sequence[str]) -> str:
        trio.from_thread.run_sync(self._note)
        return self.program

    def _note(self) -> None:
        self.looked.set()
        self.looked = trio.Event()

    def runs(self, program: str) -> None:
        self.told.append(program)

    async def look(self) -> None:
        """Wait for the end of the next look."""
        with trio.fail_after(30):
            await self.looked.wait()
            await self.looked.wait()

    @asynccontextmanager
    async def watching(self, *, linger: float = 0.0) -> AsyncIterator[None]:
        watch = Yielding(self.config, self, self.first, every=Seconds(0.01), linger=Seconds(linger))  # type: ignore[arg-type]  # all that it uses
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            yield
            nursery.cancel_scope.cancel()


async def test_it_is_told_while_it_runs() -> None:
    """The first look is over when the rest starts."""
    watched = Watched()
    watched.program = "Final Cut Pro"
    async with watched.watching():
        assert watched.told == ["Final Cut Pro"]
        watched.program = ""
        while watched.told[-1]:
            await watched.look()


async def test_one_that_is_started_again_soon_counts_as_running() -> None:
    """A build's compiler, say."""
    watched = Watched()
    async with watched.watching(linger=600):
        assert watched.told == [""]
        watched.program = "Final Cut Pro"
        await watched.look()
        watched.program = ""
        for _ in range(5):
            await watched.look()
        assert watched.told[-1] == "Final Cut Pro"
        watched.config.replace(Config())
        with trio.fail_after(30):
            while watched.told[-1]:
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_without_names_nothing_is_looked_at() -> None:
    """Until the config has some."""
    watched = Watched(Config())
    async with watched.watching():
        first = watched.looked
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not first.is_set()
        assert watched.told == [""]
        watched.program = "Final Cut Pro"
        watched.config.replace(WANTED)
        await watched.look()
        assert watched.told[-1] == "Final Cut Pro"
