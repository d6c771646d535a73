"""Engines, disks and neighbours that go wrong: a cold start at worst, never another's answer, nothing left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
from attrs import evolve
from prompt_bench import Bench, opened
from slot_engine import SlotEngine, words

from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import ModelSpec
from llmsup.errors import EngineBadAnswer
from llmsup.prompt_cache import saved as files
from llmsup.prompt_cache.fingerprint import PARTS
from llmsup.prompt_cache.keeper import Keeper

TALK = words(1, 40)


async def loaded(bench: Bench) -> tuple[Keeper, SlotEngine]:
    made = bench.start()
    await made[0].restore()
    return made


async def saved_once(bench: Bench) -> None:
    """One conversation is saved."""
    made = await loaded(bench)
    made[1].ask(TALK, words(2, 8))
    await bench.end(made)
    assert len(bench.cache.store.entries) == 1


@pytest.mark.parametrize("part", PARTS)
async def test_each_part_of_a_fingerprint_alone(bench: Bench, part: str) -> None:
    """If only one differs from what was saved, nothing is restored, its files are removed, and people are told which.

    What changes which part is in test_fingerprint.
    """
    await saved_once(bench)
    ((name, saved),) = bench.cache.store.entries.items()
    bench.cache.store.entries[name] = evolve(saved, fingerprint={**saved.fingerprint, part: "another"})
    made = await loaded(bench)
    assert made[1].held == [[], []]
    assert bench.files() == set()
    assert bench.cache.of("m").cold == f"not the same as when they were saved: its {part}"
    assert bench.whats() == ["saved", "cold"]


async def test_nonsense_about_its_slots(bench: Bench) -> None:
    """Nothing is restored or saved, which `why` tells; another engine gets what was saved."""
    await saved_once(bench)
    for when in ("before restoring", "before saving"):
        made = bench.start()
        answers = made[1].all

        async def nonsense() -> list[object]:
            raise EngineBadAnswer("Its slots are none.")

        made[1].all = nonsense if when == "before restoring" else answers  # type: ignore[assignment]  # of this engine
        await made[0].restore()
        made[1].all = nonsense if when == "before saving" else answers  # type: ignore[assignment]  # of this engine
        made[1].ask(words(5, 40), [])
        await bench.end(made)
        assert made[1].saves == 0
        assert "nonsense about its slots: Its slots are none." in bench.cache.of("m").unable
    assert len(bench.files()) == 3
    assert (await loaded(bench))[1].held[0][:40] == TALK


@pytest.mark.parametrize("how", ["nothing", "half of it", "another number"])
async def test_a_save_that_wrote_something_else(bench: Bench, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """An engine in a container, say, which writes where llmsup doesn't see it. That is told once, and not tried again
    before the conversation goes on.
    """
    made = await loaded(bench)
    whole = made[1].save

    async def save(slot: int, name: str) -> tuple[int, int]:
        tokens, size = await whole(slot, name)
        path = made[1].room / name
        match how:
            case "nothing":
                path.unlink()
            case "half of it":
                os.truncate(path, size // 2)
            case _:
                tokens += 1
        return tokens, size

    made[1].save = save  # type: ignore[method-assign]  # of this engine
    for expected in (1, 2):
        made[1].ask([*TALK, expected], words(2, 8))
        for _ in range(2):
            await made[0].save(trio.current_time() + 5, idle=True)
        assert made[1].saves == expected
    await bench.end(made)
    assert bench.files() == set()
    assert len([text for text in caplog.messages if "could not be saved" in text]) == 1


async def test_the_disk_is_full_after_the_data(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays, nothing is left of what was not completed, and the next is kept again."""
    await saved_once(bench)
    before = bench.files()
    for name in (".sum", ".json"):

        def full(path: Path, data: bytes, last: str = name) -> None:
            if path.suffix == last:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            path.write_bytes(data)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write_atomic", full)
            made = await loaded(bench)
            made[1].ask(words(7, 40), [])
            await bench.end(made)
            assert made[1].saves == 1
        assert bench.files() == before
    made = await loaded(bench)
    made[1].ask(words(7, 40), [])
    await bench.end(made)
    assert len(bench.files()) == 6


async def test_two_llmsups(bench: Bench, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    """The second loads its models without, and says so; once the first is gone, the next load has what that left."""
    await saved_once(bench)
    directory = bench.cache.store.directory
    second = opened(directory, min_tokens=20)
    await nursery.start(second.cache.run)
    facts = Facts(architecture="llama", kind="chat", context_length=4096, numbers={"block_count": 2})
    entry = Entry(spec=ModelSpec(name="m", path="/m"), found=Found(id="m", path=Path("/m"), files=(), facts=facts))
    assert await second.cache.room(entry) is None
    assert second.cache.ability(entry).reason == f"another llmsup uses {directory}"
    assert len([text for text in caplog.messages if "another llmsup uses" in text]) == 1
    made = await loaded(bench)
    assert made[1].held[0][:40] == TALK
    bench.cache.store.leave(made[1].room)
    bench.cache.store.close()
    assert await second.cache.room(entry) is not None
    assert (await loaded(second))[1].held[0][:40] == TALK
