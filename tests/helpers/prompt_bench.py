"""A cache in a temporary directory, and engines that come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, evolve
from slot_engine import SlotEngine

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, PromptCacheSpec
from llmsup.engines.kinds import KINDS
from llmsup.process.ring import Events
from llmsup.prompt_cache import limits
from llmsup.prompt_cache.cache import PromptCache
from llmsup.prompt_cache.keeper import Keeper
from llmsup.prompt_cache.tended import Started


@define
class Bench:
    """A cache, and its engines.

    Attributes:
        config: Of the cache.
    """

    config: LiveConfig
    cache: PromptCache

    def start(self, model: str = "m", *, slots: int = 2, **more: Any) -> tuple[Keeper, SlotEngine]:
        """An engine that has just started, and its keeper."""
        room = self.cache.store.room_for_engine()
        packed, context = more.pop("packed", False), more.pop("context", 10_000)
        engine = SlotEngine(room, slots, context, packed=packed)
        started = Started(model=model, argv=("/bin/false", "--x"), env={}, build="b", room=room, token_bytes=12)
        return Keeper(self.cache, evolve(started, **more), engine), engine

    async def end(self, made: tuple[Keeper, SlotEngine]) -> None:
        """Its planned end."""
        await made[0].save(trio.current_time() + 5)
        self.cache.store.leave(made[1].room)
        await self.cache.sealed("m")

    def files(self) -> set[str]:
        """What lies in the directory of saved slots."""
        return {path.name for path in (self.cache.store.directory / "saved").iterdir()}

    def whats(self) -> list[str]:
        """What was told as events."""
        return [event.data["what"] for event in self.cache.events.tail()]


@pytest.fixture
def spec() -> dict[str, Any]:
    """[prompt_cache] of the bench; a test may change it before it uses `bench`."""
    return {"min_tokens": 20}


@pytest.fixture
async def bench(tmp_path: Path, nursery: trio.Nursery, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(limits, "HEADROOM", 0)
    made = opened(tmp_path / "cache", **spec)
    await nursery.start(made.cache.run)
    return made


def opened(directory: Path, **spec: Any) -> Bench:
    """A cache that doesn't run yet."""
    config = LiveConfig(Config(prompt_cache=PromptCacheSpec(**spec)))
    return Bench(config, PromptCache(config, directory, Events(), KINDS))
