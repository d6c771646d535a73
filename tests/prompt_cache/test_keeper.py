"""What is saved and restored of one engine, and what becomes of it when anything is off."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import trio
from attrs import evolve
from prompt_bench import Bench
from slot_engine import SlotEngine, words

from llmsup.config.schema import PromptCacheSpec
from llmsup.engines.connection import Disconnected
from llmsup.errors import EngineBadAnswer
from llmsup.prompt_cache import limits, restoring
from llmsup.prompt_cache.keeper import Keeper
from llmsup.prompt_cache.slots import NotSupported
from llmsup.units import Bytes

SYSTEM, ASKED, SAID, MORE = words(1, 30), words(2, 10), words(3, 8), words(4, 6)

Made = tuple[Keeper, SlotEngine]


def answer(made: Made, prompt: list[int], said: list[int]) -> int:
    """One request, of which the keeper is told; returns what was cached."""
    cached = made[1].ask(prompt, said)
    if made[0].listens:
        made[0].answered(len(prompt) - cached, cached, 0.1)
    return cached


async def loaded(bench: Bench, **more: Any) -> Made:
    made = bench.start(**more)
    await made[0].restore()
    return made


async def saved_once(bench: Bench, **more: Any) -> None:
    """One conversation is saved."""
    made = await loaded(bench, **more)
    answer(made, SYSTEM + ASKED, SAID)
    await bench.end(made)
    assert len(bench.cache.store.entries) == 1


NEXT = [*SYSTEM, *ASKED, *SAID, *MORE]


@pytest.mark.parametrize("packed", [False, True])
async def test_it_goes_on_where_it_was(bench: Bench, packed: bool) -> None:
    """And the longer conversation replaces the shorter."""
    await saved_once(bench, packed=packed)
    made = await loaded(bench, packed=packed)
    assert answer(made, NEXT, words(5, 5)) == 48
    tally = bench.cache.of("m")
    assert (tally.saves, tally.restores, tally.hits, tally.misses, tally.tokens) == (1, 1, 1, 0, 48)
    await bench.end(made)
    assert [saved.tokens for saved in bench.cache.store.of("m")] == [59]
    assert len(bench.files()) == 3
    assert bench.whats() == ["saved", "restored", "saved"]


async def test_how_long_saving_takes_is_known_before(bench: Bench) -> None:
    """By the longest prompt, or by the last conversation on the disk, which this one may continue. Nothing, where
    all is saved, too little is there, or it is not to be written; never more than there is time for.
    """
    made = await loaded(bench, token_bytes=100_000.0)
    keeper, rate = made[0], bench.cache.rate

    def takes(limit: float = 5.0, *, since: float = 1.0) -> float:
        return keeper.saves_for(limit, heard=trio.current_time() + since)

    assert takes() == 0.0
    answer(made, SYSTEM, SAID[:1])
    assert takes() == pytest.approx(rate.seconds(30 * 100_000))
    assert takes(0.001) == 0.001
    assert takes(since=-100.0) == 0.0
    bench.config.replace(evolve(bench.config.now, prompt_cache=PromptCacheSpec(min_tokens=20, writes_per_day=Bytes(1))))
    assert takes() == 0.0
    bench.config.replace(evolve(bench.config.now, prompt_cache=PromptCacheSpec(min_tokens=20)))
    heard = trio.current_time()
    await keeper.save(heard + 5)
    assert keeper.saves_for(5.0, heard=heard) == 0.0
    assert takes() > 0.0
    await bench.end(made)
    made = await loaded(bench)
    (saved,) = bench.cache.store.of("m")
    assert made[0].saves_for(5.0, heard=trio.current_time() + 1) == pytest.approx(rate.seconds(saved.bytes))
    await made[0].save(trio.current_time() - 1)  # cut off: what was asked since is not on the disk
    assert made[0].saves_for(5.0, heard=trio.current_time() + 1) > 0.0


async def test_short_and_unchanged_ones_are_not_written(bench: Bench) -> None:
    """Nor what was restored and not used."""
    made = await loaded(bench)
    answer(made, words(9, 5), words(8, 5))
    await bench.end(made)
    assert bench.cache.store.written == 0
    await saved_once(bench)
    written = bench.cache.store.written
    made = await loaded(bench)
    await made[0].save(trio.current_time() + 5, idle=True)
    await bench.end(made)
    assert (bench.cache.store.written, bench.cache.of("m").saves) == (written, 1)
    made = await loaded(bench)
    answer(made, NEXT, SAID)
    for _ in range(3):
        await made[0].save(trio.current_time() + 5, idle=True)
    await bench.end(made)
    assert bench.cache.of("m").saves == 2


async def test_the_most_recently_used_come_first(bench: Bench) -> None:
    """No more than there are slots, and no more than leaves room in a context that they share."""
    for seed in (10, 20, 30):
        made = await loaded(bench, slots=1, context=90)
        made[1].ask(words(seed, 40), [], slot=0)
        await bench.end(made)
    assert len(bench.cache.store.of("m")) == 1, "there is one slot, so the others can't be restored"
    made = await loaded(bench, context=90)
    made[1].ask(words(40, 40), [], slot=1)
    await bench.end(made)
    tight = await loaded(bench, context=90)
    assert tight[1].held == [words(40, 40), []]
    apart = await loaded(bench, context=90, unified=False)
    assert apart[1].held == [words(40, 40), words(30, 40)]


@pytest.mark.parametrize("change", [{"argv": ("/bin/false", "--y")}, {"build": "c"}, {"env": {"LLAMA_ARG_X": "1"}}])
async def test_another_engine_gets_nothing(bench: Bench, change: dict[str, Any]) -> None:
    """And what can't be restored any more is removed."""
    await saved_once(bench)
    made = await loaded(bench, **change)
    assert answer(made, NEXT, SAID) == 0
    assert bench.files() == set()
    assert bench.cache.of("m").cold.startswith("not the same as when they were saved: its ")
    assert bench.whats() == ["saved", "cold"]


@pytest.mark.parametrize("change", [{"context": 999}, {"template": "other"}, {"build": "other"}])
async def test_another_context_or_template_gets_nothing(bench: Bench, change: dict[str, Any]) -> None:
    await saved_once(bench)
    made = bench.start()
    before = await made[1].told(10_000)

    async def told(context: int) -> Any:
        return evolve(before, **change)

    made[1].told = told  # type: ignore[method-assign]  # it is this engine's
    await made[0].restore()
    assert made[1].held == [[], []]
    assert bench.files() == set()


async def test_another_model_keeps_its_own(bench: Bench) -> None:
    """Of another build, or the same: only what fits is restored, and nothing of others is removed."""
    await saved_once(bench)
    made = await loaded(bench, model="other", build="c")
    assert made[1].held == [[], []]
    assert len(bench.cache.store.of("m")) == 1
    assert not bench.cache.of("other").cold


def _spoil(bench: Bench, end: str, how: str) -> None:
    (path,) = (bench.cache.store.directory / "saved").glob(f"*.{end}")
    data = path.read_bytes()
    match how:
        case "gone":
            path.unlink()
        case "short":
            path.write_bytes(data[:-1])
        case "flipped":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "empty":
            path.write_bytes(b"")


@pytest.mark.parametrize("how", ["gone", "short", "flipped", "empty"])
async def test_damaged_data_is_never_restored(bench: Bench, how: str) -> None:
    """It is removed, and the engine begins anew: a state file that ends early crashes some builds."""
    await saved_once(bench)
    _spoil(bench, "data", how)
    made = await loaded(bench)
    assert made[1].held == [[], []]
    assert bench.files() == set()
    assert bench.whats() == ["saved", "cold"]


@pytest.mark.parametrize("end", ["data", "sum", "json"])
@pytest.mark.parametrize("how", ["gone", "short", "flipped", "empty"])
async def test_what_is_damaged_while_llmsup_is_away(bench: Bench, end: str, how: str) -> None:
    """Nothing of it stays, and nothing of it is used."""
    await saved_once(bench)
    _spoil(bench, end, how)
    bench.cache.store.close()
    assert bench.cache.store.open()
    made = await loaded(bench)
    if (end, how) == ("json", "flipped") and made[1].held[0]:  # a brace that became another still isn't JSON
        pytest.fail("a manifest that isn't JSON was used")
    assert made[1].held == [[], []]
    assert bench.files() == set()


@pytest.mark.parametrize("wrong", [1, -1])
async def test_an_engine_that_miscounts(bench: Bench, wrong: int) -> None:
    """What it saves so isn't kept; what it restores so is taken from it again, and removed."""
    made = await loaded(bench)
    made[1].wrong = wrong
    answer(made, SYSTEM + ASKED, SAID)
    await bench.end(made)
    assert bench.files() == set()
    await saved_once(bench)
    made = bench.start()
    made[1].wrong = wrong
    await made[0].restore()
    assert (made[1].held, bench.files()) == ([[], []], set())


async def test_an_engine_that_refuses(bench: Bench) -> None:
    """A slot with an image, say: no harm done, and not tried again until it changes."""
    made = await loaded(bench)
    answer(made, SYSTEM + ASKED, SAID)
    for error in (NotSupported("it has an image"), EngineBadAnswer("what?")):
        made[1].fails = error
        await made[0].save(trio.current_time() + 5)
        assert made[1].fails is None
        made[1].ask(NEXT, SAID)
    assert (bench.files(), list(made[1].room.iterdir())) == (set(), [])


async def test_an_engine_that_dies_of_a_restore(bench: Bench) -> None:
    """It isn't given that again."""
    await saved_once(bench)
    made = bench.start()
    made[1].fails = Disconnected(began=False)
    with pytest.raises(Disconnected):
        await made[0].restore()
    assert bench.files() == set()
    assert bench.whats() == ["saved", "cold"]


async def test_an_engine_that_never_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore ends after its time, and isn't tried again; a save ends at its deadline, and counts as written."""
    monkeypatch.setattr(restoring, "ONE", 0.05)
    await saved_once(bench)
    written = bench.cache.store.written
    made = bench.start()
    asked = trio.Event()

    async def never(slot: int, name: str) -> tuple[int, int]:
        asked.set()
        await trio.sleep_forever()

    made[1].restore = made[1].save = never  # type: ignore[method-assign]  # of this engine
    with trio.fail_after(20):
        await made[0].restore()
        assert bench.files() == set()
        answer(made, NEXT, SAID)
        asked = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made[0].save, trio.current_time() + 1000)
            await asked.wait()
            nursery.cancel_scope.cancel()  # as its deadline would
        assert bench.cache.store.written == written + 62 * 12
        await made[0].save(trio.current_time() + 0.05)


async def test_adapters_can_be_chosen_by_requests(bench: Bench) -> None:
    """So that a slot doesn't tell what it was computed with."""
    made = bench.start()
    made[1].adapters = 1
    await made[0].restore()
    answer(made, SYSTEM + ASKED, SAID)
    await bench.end(made)
    assert bench.files() == set()
    assert "LoRA" in bench.cache.of("m").unable


async def test_two_misses_switch_it_off(bench: Bench) -> None:
    """An engine that computes everything anew makes nothing of it; what doesn't fit at all is no miss."""
    await saved_once(bench)
    for misses in (1, 2):
        made = await loaded(bench)
        made[1].forgets = True
        answer(made, NEXT, words(5 + misses, 5))
        await bench.end(made)
        assert bench.cache.of("m").trust.misses == misses
    assert bench.files() == set()
    assert bench.whats()[-1] in ("off", "saved")
    assert "off" in bench.whats()
    made = await loaded(bench)
    answer(made, NEXT, SAID)
    await bench.end(made)
    assert bench.files() == set()


async def test_other_conversations_are_no_misses(bench: Bench) -> None:
    """After each load somebody asks for something else, and only then goes on."""
    await saved_once(bench)
    for seed in (50, 60, 70):
        made = await loaded(bench)
        assert answer(made, words(seed, 40), []) == 0
        assert answer(made, NEXT, SAID) >= 48
        await bench.end(made)
    tally = bench.cache.of("m")
    assert (tally.hits, tally.misses) == (3, 0)


async def test_a_single_slot_that_another_conversation_takes(bench: Bench) -> None:
    """It is no miss either, and the old one is gone only because there is no second slot."""
    await saved_once(bench, slots=1)
    for seed in (50, 60, 70):
        made = await loaded(bench, slots=1)
        answer(made, words(seed, 40), [])
        await bench.end(made)
    assert bench.cache.of("m").misses == 0
    assert len(bench.cache.store.of("m")) == 1


async def test_what_would_take_too_long_is_not_begun(bench: Bench) -> None:
    made = await loaded(bench, token_bytes=10**9)
    answer(made, SYSTEM + ASKED, SAID)
    await made[0].save(trio.current_time() + 5)
    assert made[1].saves == 0
    assert bench.files() == set()


@pytest.mark.parametrize("spec", [{"min_tokens": 20, "writes_per_day": 1500}])
async def test_the_budget_of_a_day(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """It holds whoever asks; half of it is left for what is about to end; a new start doesn't reset it."""
    made = await loaded(bench)
    answer(made, SYSTEM + ASKED, SAID)
    await made[0].save(trio.current_time() + 5, idle=True)
    assert made[1].saves == 1
    written = bench.cache.store.written
    assert 0 < written <= 750
    made[1].ask(NEXT, SAID)
    await made[0].save(trio.current_time() + 5, idle=True)
    assert made[1].saves == 1
    await made[0].save(trio.current_time() + 5)
    assert made[1].saves == 2
    for _ in range(3):
        made[1].ask([*made[1].held[0], 7], SAID)
        await made[0].save(trio.current_time() + 5)
    assert made[1].saves == 2
    assert len([text for text in caplog.messages if "writes_per_day" in text]) == 1
    written = bench.cache.store.written
    bench.cache.store.close()
    bench.cache.store.open()
    assert bench.cache.store.written == written <= 1500


async def test_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is saved, which is said once."""
    monkeypatch.setattr(limits, "HEADROOM", 2**62)
    for seed in (1, 2):
        made = await loaded(bench)
        answer(made, words(seed, 40), [])
        await bench.end(made)
    assert bench.files() == set()
    assert len([text for text in caplog.messages if "its disk has only" in text]) == 1


async def test_what_was_cleared_is_saved_again(bench: Bench) -> None:
    """It is still in the engine's slots; but once only."""
    made = await loaded(bench)
    answer(made, SYSTEM + ASKED, SAID)
    await made[0].save(trio.current_time() + 5, idle=True)
    await bench.cache.sealed("m")
    assert bench.cache.store.clear()[0] == 1
    assert bench.files() == set()
    for _ in range(2):
        await made[0].save(trio.current_time() + 5)
        await bench.cache.sealed("m")
        assert (made[1].saves, len(bench.cache.store.of("m"))) == (2, 1)


async def test_a_directory_that_somebody_has_removed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing in it is told of any more, why nothing is saved is, and the next engine has a new one."""
    await saved_once(bench)
    made = await loaded(bench)
    shutil.rmtree(bench.cache.store.directory)
    answer(made, SYSTEM + ASKED, SAID)
    await bench.end(made)
    assert "can't be used any more: No such file or directory" in caplog.text
    await bench.end(await loaded(bench))
    assert bench.cache.store.of("m") == []
    made = await loaded(bench)
    answer(made, SYSTEM + ASKED, SAID)
    await bench.end(made)
    assert len(bench.cache.store.of("m")) == 1


async def test_switched_off_while_it_runs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing stays on the disk that the config doesn't want there."""
    await saved_once(bench)
    made = await loaded(bench)
    caplog.set_level("INFO")
    bench.config.replace(evolve(bench.config.now, prompt_cache=PromptCacheSpec(disk=Bytes(0))))
    with trio.fail_after(10):
        while bench.files():  # noqa: ASYNC110 -- a directory
            await trio.sleep(0.005)
        while "1 saved conversation was removed: [prompt_cache] disk is 0" not in caplog.text:  # noqa: ASYNC110 -- a log
            await trio.sleep(0.005)
    answer(made, NEXT, SAID)
    await bench.end(made)
    assert bench.files() == set()
