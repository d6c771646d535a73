"""The config file is watched: what is read when, and what becomes of it; the file is real, the config a stand-in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, Server
from llmsup.errors import ConfigError, ConfigUnreadable, Error
from llmsup.fleet.config_file import Applied, ConfigFile, Look
from llmsup.fleet.config_watch import ConfigWatch
from llmsup.process.ring import Events
from llmsup.units import Seconds

SOON = Seconds(0.005)


class Watched:
    """A file, its watch, and what became of each time that it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_text("a")
        self.live = LiveConfig(self.read())
        self.events = Events()
        self.file = ConfigFile(self.live, self.read, self.events, path)
        self.outcomes: list[Applied | Error | None] = []
        self.changed = trio.Event()

    def read(self) -> Config:
        """Whatever the file holds is the default model; "bad" is a mistake."""
        try:
            text = self.path.read_text()
        except OSError as error:
            raise ConfigUnreadable(f"The config can't be read: {error.strerror}.") from None
        if "bad" in text:
            raise ConfigError(("one", "two"), str(self.path))
        return Config(server=Server(default_model=text, watch_config=text != "off"))

    async def apply(self, settled: Look) -> None:
        try:
            self.outcomes.append(await self.file.apply(settled))
        except Error as error:
            self.outcomes.append(error)
            raise
        finally:
            self.changed.set()
            self.changed = trio.Event()

    async def read_again(self) -> Applied | Error | None:
        """Wait for the next time that it is read; returns what became of that."""
        with trio.fail_after(30):
            await self.changed.wait()
        return self.outcomes[-1]

    @property
    def told(self) -> list[tuple[bool, list[str]]]:
        return [(event.data["applied"], event.data["mistakes"]) for event in self.events.tail()]

    @asynccontextmanager
    async def watching(self, quiet: Seconds = SOON) -> AsyncIterator[None]:
        """With the watch running, which has looked for the first time, and found what is in force."""
        watch = ConfigWatch(self.live, self.file, self.apply, every=SOON, quiet=quiet)
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            assert await self.read_again() is None
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "llmsup.toml")


async def test_a_change_is_applied(watched: Watched) -> None:
    """Written in place, or another file renamed over it, as editors do; also one of the same size and time."""
    async with watched.watching():
        watched.path.write_text("b")
        assert await watched.read_again() == Applied(("server.default_model",))
        assert watched.live.now.server.default_model == "b"
        new = watched.path.with_suffix(".new")
        new.write_text("c")
        now = watched.path.stat()
        os.utime(new, ns=(now.st_atime_ns, now.st_mtime_ns))
        new.rename(watched.path)
        assert isinstance(await watched.read_again(), Applied)
        assert watched.live.now.server.default_model == "c"


async def test_a_link_that_is_turned_elsewhere(watched: Watched) -> None:
    """As dotfiles and mounted configs are."""
    first, second = watched.path.with_suffix(".1"), watched.path.with_suffix(".2")
    watched.path.rename(first)
    watched.path.symlink_to(first)
    second.write_text("second")
    async with watched.watching():
        watched.path.unlink()
        watched.path.symlink_to(second)
        while watched.live.now.server.default_model != "second":
            await watched.read_again()


async def test_one_that_changed_before_the_first_look(watched: Watched) -> None:
    """It was read at the start, and saved before anything watched."""
    watched.path.write_text("b")
    watch = ConfigWatch(watched.live, watched.file, watched.apply, every=SOON, quiet=SOON)
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        assert isinstance(await watched.read_again(), Applied)
        nursery.cancel_scope.cancel()


async def test_a_bad_one_changes_nothing_and_is_told(watched: Watched) -> None:
    """Once, however long it stays; until it is mended, or is what it was."""
    async with watched.watching():
        watched.path.write_text("bad")
        assert isinstance(await watched.read_again(), ConfigError)
        assert watched.live.now.server.default_model == "a"
        assert isinstance(watched.file.problem, ConfigError)
        assert watched.file.mistakes == ("one", "two")
        watched.path.write_text("a")
        assert await watched.read_again() is None
        assert watched.file.problem is None
        watched.path.write_text("bad again")
        assert isinstance(await watched.read_again(), ConfigError)
        watched.path.write_text("b")
        assert isinstance(await watched.read_again(), Applied)
        assert watched.file.problem is None
        assert len(watched.outcomes) == 5
    assert watched.told == [
        (False, ["one", "two"]),
        (True, []),
        (False, ["one", "two"]),
    ]  # the reconciler tells the last


async def test_what_is_gone_or_empty_is_not_the_defaults(watched: Watched) -> None:
    """Its API keys would be gone with it. A writer that has only begun leaves an empty file, too."""
    async with watched.watching():
        watched.path.unlink()
        assert isinstance(await watched.read_again(), ConfigUnreadable)
        watched.path.write_text("")
        empty = await watched.read_again()
        assert isinstance(empty, ConfigUnreadable)
        assert "`llmsup reload` applies it" in str(empty)
        assert watched.live.now.server.default_model == "a"
        assert await watched.file.apply() == Applied(("server.default_model",)), "asked for, it is applied"


async def test_a_file_that_is_being_written_is_left_alone(watched: Watched) -> None:
    """It is read once it has not changed for a while, and not if it changes while it is read."""
    async with watched.watching(quiet=Seconds(0.5)):
        with watched.path.open("a") as file:
            for _ in range(10):
                file.write("+")
                file.flush()
                await trio.sleep(0.05)
        assert isinstance(await watched.read_again(), Applied)
        assert watched.live.now.server.default_model == "a" + 10 * "+"
    before = await watched.file.look()
    watched.path.write_text("half a file")
    assert await watched.file.apply(before) is None
    watched.path.write_text("bad")
    assert await watched.file.apply(before) is None
    assert watched.file.problem is None
    assert watched.live.now.server.default_model == "a" + 10 * "+"


async def test_a_touch_is_nothing_new(watched: Watched) -> None:
    """Its times change, and nothing is done."""
    async with watched.watching():
        os.utime(watched.path, ns=(0, 0))
        assert await watched.read_again() is None
    assert not watched.told


async def test_it_can_be_switched_off(watched: Watched) -> None:
    """By the file itself, and from then on only a reload changes anything."""
    async with watched.watching():
        watched.path.write_text("off")
        assert isinstance(await watched.read_again(), Applied)
        assert not watched.file.watched
        watched.path.write_text("b")
        await trio.sleep(20 * SOON)
        assert len(watched.outcomes) == 2
        assert await watched.file.apply() == Applied(("server.default_model", "server.watch_config"))
        assert await watched.read_again() is None, "it is looked at again, and is in force already"


async def test_what_needs_a_restart_is_told_once(watched: Watched) -> None:
    """It stays different from what is in force, and isn't applied again for that."""
    watched.read = lambda: evolve(Config(), server=Server(listen=watched.path.read_text()))  # type: ignore[method-assign]
    file = ConfigFile(LiveConfig(Config()), watched.read, None, watched.path)
    watched.path.write_text("127.0.0.1:1")
    assert await file.apply(await file.look()) == Applied((), ("server.listen",))
    assert await file.apply(await file.look()) is None
