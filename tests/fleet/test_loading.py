"""How a model's weights are loaded: decided when it is let in, by what is cached and what memory there is; and what is
read ahead while it waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from fake_run import FakeEngine, Garage
from fleets import entry
from machines import TOTAL, Machine, machine
from trio.testing import MockClock

from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found, Stamp
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.load_modes import LOAD_MODES, LoadMode
from llmsup.config.schema import GiB, ModelSpec
from llmsup.fleet.memory.ask import Ask
from llmsup.fleet.memory.costs import MeasuredCosts
from llmsup.fleet.memory.read_ahead import PIECE, ReadAhead
from llmsup.fleet.memory.warmth import EVERY, Warmth
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.run import Run
from llmsup.memory.cost.cost import Cost
from llmsup.memory.cost.load_mode import Plan
from llmsup.memory.cost.store import FootprintStore
from llmsup.process.logbook import LogBook
from llmsup.units import Bytes

SIZE = 20 * GiB
PLENTY = 10 * SIZE


class Disk:
    """A page cache that a test fills."""

    def __init__(self, share: float | None = 0.0) -> None:
        self.share, self.looks = share, 0

    def __call__(self, _files: Iterable[Path]) -> float | None:
        self.looks += 1
        return self.share


def large(**spec: Any) -> Model:
    """A chat model of 20 GiB."""
    facts = Facts(architecture="llama", kind="chat", weights=Bytes(SIZE), context_length=512, vocabulary=100)
    files = (Stamp(Path("/m.gguf"), SIZE, 1),)
    found = Found(id="m", path=Path("/m.gguf"), files=files, facts=facts)
    return Model(Entry(spec=ModelSpec(name="m", path="/m.gguf", **spec), found=found), LogBook())


class Loading:
    """One model's loads, as `MeasuredCosts` plans and remembers them."""

    def __init__(self, folder: Path, able: Sequence[LoadMode] = LOAD_MODES, **spec: Any) -> None:
        async def modes(_entry: Entry) -> Sequence[LoadMode]:
            return able

        self.disk = Disk()
        self.costs = MeasuredCosts(FootprintStore(folder / "f.json"), lambda _: "b1", modes, Warmth(self.disk))
        self.model = large(**spec)

    async def load(self, seconds: float, says: str = "", spare: int = PLENTY) -> Run:
        """One load that took so long, of an engine that says this of its weights."""
        self.model.run = run = Run()
        await self.costs.cost(self.model)
        run.plan = await self.costs.plan(self.model, spare=spare)
        run.engine = FakeEngine(Garage(), 1, "m")
        if says:
            run.engine.meter.line(f"load_tensors: {says} model buffer size = 20480.00 MiB")
        self.costs.loaded(self.model, run, seconds, SIZE)
        return run


async def test_the_other_way_is_tried_once_and_the_faster_stays(tmp_path: Path) -> None:
    loading = Loading(tmp_path)
    first = await loading.load(29, "CPU_Mapped")
    assert (first.plan.mode, str(first.load)) == ("", "0.74 GB/s (mmap, 0% of its file was in the page cache)")
    assert first.plan.mapped == SIZE
    assert not first.plan.private
    second = await loading.load(3.3, "CPU")
    assert (second.plan.mode, second.plan.mapped, second.plan.private) == ("read", 0, True)
    assert str(second.load).startswith("6.5 GB/s (read")
    for _ in range(2):
        assert (await loading.load(3.3, "CPU")).plan.mode == "read"


async def test_a_try_that_the_engine_did_not_survive_is_the_only_one(tmp_path: Path) -> None:
    """It never got ready, so nothing was measured; another llmsup doesn't try again either."""
    loading = Loading(tmp_path, ("mmap", "read"))
    await loading.load(29, "CPU_Mapped")
    assert (await loading.costs.plan(loading.model, spare=PLENTY)).mode == "read"
    assert (await loading.costs.plan(loading.model, spare=PLENTY)).mode == "mmap"
    assert loading.costs._store.save() is None
    later = Loading(tmp_path, ("mmap", "read"))
    assert later.costs._store.load() is None
    await later.costs.cost(later.model)
    assert (await later.costs.plan(later.model, spare=PLENTY)).mode == "mmap"


async def test_weights_of_their_own_need_memory_to_spare(tmp_path: Path) -> None:
    """As much as the model takes, and as it would take if it was measured with a file that another engine shared."""
    loading = Loading(tmp_path)
    await loading.load(29, "CPU_Mapped")
    await loading.load(3.3, "CPU")
    needs = loading.model.estimate
    assert needs is not None
    for spare, mode in [(needs.total, "read"), (needs.total - 1, "mmap"), (0, "mmap"), (PLENTY, "read")]:
        assert (await loading.costs.plan(loading.model, spare=spare)).mode == mode
    loading.costs._store.put(loading.costs._key(loading.model), Bytes(GiB))
    assert (await loading.costs.cost(loading.model)).bytes == GiB
    assert (await loading.costs.plan(loading.model, spare=2 * GiB)).mode == "mmap"


@pytest.mark.parametrize(("spec", "private"), [({"load_mode": "read"}, True), ({"load_mode": "mmap"}, False)])
async def test_a_mode_of_the_config_is_kept_and_measured(
    tmp_path: Path, spec: dict[str, Any], *, private: bool
) -> None:
    loading = Loading(tmp_path, **spec)
    for _ in range(3):
        run = await loading.load(29, spare=0)
        assert (run.plan.mode, run.plan.private) == (spec["load_mode"], private)
    assert set(loading.costs._store.loads(loading.costs._key(loading.model)).cold) == {spec["load_mode"]}


async def test_auto_stays_out_where_the_users_words_decide(tmp_path: Path) -> None:
    """The engine's kind offers no choice then; the load is measured all the same, by what the engine says."""
    loading = Loading(tmp_path, (), args=("--no-mmap",))
    for _ in range(3):
        run = await loading.load(29, "CPU")
        assert (run.plan.mode, run.plan.why, run.plan.private) == ("", "", True)
        assert run.load is not None
        assert run.load.mode == "read"


async def test_a_mode_of_the_config_that_the_engine_is_not_told(tmp_path: Path) -> None:
    """The user's own words win, or the engine is a command: what it says of its buffers counts."""
    loading = Loading(tmp_path, (), load_mode="read", args=("--mmap",))
    run = await loading.load(29, "CPU_Mapped")
    assert (run.plan.mode, run.plan.private) == ("", False)
    assert run.load is not None
    assert run.load.mode == "mmap"


async def test_the_next_load_is_expected_by_what_is_cached(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Now, or as far as it can still be there then; and looked at no more often than every few seconds."""
    loading = Loading(tmp_path)
    costs, model, disk = loading.costs, loading.model, loading.disk
    assert costs.expected_seconds(model) is None
    await loading.load(20, "CPU_Mapped")
    disk.share = 1.0
    await loading.load(2, "CPU_Mapped")
    assert costs.expected_seconds(model) == pytest.approx(2)
    assert costs.expected_seconds(model, SIZE // 2) == pytest.approx(11)
    assert costs.expected_seconds(model, 0) == pytest.approx(20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(costs.warmth.run)
        disk.share, disk.looks = 0.0, 0
        for _ in range(100):
            costs.expected_seconds(model)
            await trio.sleep(EVERY / 10)
        assert 9 <= disk.looks <= 11
        assert costs.expected_seconds(model) == pytest.approx(20)
        nursery.cancel_scope.cancel()


async def test_what_a_page_cache_that_cannot_be_seen_leaves(tmp_path: Path) -> None:
    """What the last load took stands, as for a command without a file."""
    loading = Loading(tmp_path)
    loading.disk.share = None
    run = await loading.load(20, "CPU_Mapped")
    assert (run.plan.mode, str(run.load)) == ("", "1.1 GB/s (mmap)")
    assert loading.costs.expected_seconds(loading.model) is None
    assert loading.costs.load_seconds(loading.model) == 20


# Let in...


async def test_its_engine_is_started_as_planned(autojump_clock: MockClock) -> None:
    """With the memory that is left by others, themselves not counted; the model itself stays as it is configured."""
    async with machine() as m:
        m.serve(a=10, b=20)
        m.costs.plans["b"] = Plan("read", private=True)
        await m.use("a")
        await m.use("b")
        assert [each.spec.load_mode for each in m.garage.started_with] == ["auto", "read"]
        assert m.fleet.models["b"].served.spec.load_mode == "auto"
        reserve = m.governor.machine().host.reserve
        assert m.costs.spare == {"a": TOTAL - reserve // 2, "b": TOTAL - reserve // 2 - 10 * GiB}
        b = m.fleet.models["b"].run
        assert b is not None
        assert b.engine is not None
        assert b.engine.meter.private


async def test_a_try_that_fails_costs_no_request(autojump_clock: MockClock) -> None:
    """It was our idea: the engine is started once more as before. A way that a user chose fails as it is."""
    async with machine(load_time=10) as m:
        m.serve(a=10, b=10)
        m.costs.plans["a"] = Plan("read", private=True, tries=True)
        m.costs.plans["b"] = Plan("read", private=True)
        for name in "ab":
            m.ask(name)
            await trio.sleep(5)
            assert m.garage.engines[-1].name == name
            m.garage.engines[-1].exit(1)
            await trio.sleep(60)
        assert m.ended == ["", "model_failed"]
        assert [each.spec.load_mode for each in m.garage.started_with] == ["read", "auto", "read"]


async def test_under_pressure_nothing_is_to_spare(autojump_clock: MockClock) -> None:
    async with machine() as m:
        m.serve(a=1)
        m.neighbour = TOTAL - GiB
        await trio.sleep(30)
        assert m.governor.pressure.level != "normal"
        assert m.governor._spare() == 0


async def test_a_loaded_models_file_is_not_counted_on_beyond_what_waiting_loads_leave(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read for them pushes it out of the page cache."""
    asked: list[int | None] = []

    def expected(model: Model, most: int | None = None) -> float | None:
        if model.spec.name == "a":
            asked.append(most)
            return 7.0
        return None

    async with machine() as m:
        monkeypatch.setattr(m.costs, "expected_seconds", expected)
        m.serve(a=40, b=40)
        await m.use("a")
        (a,) = m.governor.loaded_models()
        assert (asked[-1], a.reload_seconds) == (TOTAL - 40 * GiB, 7.0)
        m.ask("a", 30)
        m.ask("b")
        await trio.sleep(5)
        assert [ask.name for ask in m.governor.asks] == ["b"]
        m.governor.loaded_models()
        assert asked[-1] == max(TOTAL - 80 * GiB, 0)


# Read ahead...


class Ahead:
    """What is read ahead, on a machine with so much to spare."""

    def __init__(self, spare: int = PLENTY, share: float | None = 0.0) -> None:
        self.spare, self.read, self.disk = spare, list[tuple[int, int]](), Disk(share)
        self.changed = trio.Event()
        self.ahead = ReadAhead(lambda _ask: self.spare, self.change, Warmth(self.disk), self.reads)

    async def change(self) -> None:
        await self.changed.wait()
        self.changed = trio.Event()

    def reads(self, _path: Path, offset: int, length: int) -> None:
        self.read.append((offset, length))

    def has(self, spare: int) -> None:
        self.spare = spare
        self.changed.set()


def waiting(folder: Path, size: int = 5 * PIECE // 2) -> Ask:
    path = folder / "m.gguf"
    with path.open("wb") as file:
        file.truncate(size)
    model = large()
    assert model.entry.found is not None
    found = evolve(model.entry.found, path=path, files=(Stamp(path, size, 1),))
    model.entry = model.served = evolve(model.entry, found=found)
    return Ask(model, Cost(Bytes(size), "estimated", Bytes(size)), 0.0)


async def test_a_waiting_loads_file_is_read_ahead_in_pieces(tmp_path: Path) -> None:
    ahead, ask = Ahead(), waiting(tmp_path)
    await ahead.ahead.go(ask)
    assert ahead.read == [(0, PIECE), (PIECE, PIECE), (2 * PIECE, PIECE // 2)]
    assert ask.ahead == 5 * PIECE // 2


async def test_no_more_than_there_is_memory_for(tmp_path: Path) -> None:
    """Under pressure nothing; when there is more again it goes on."""
    ahead, ask = Ahead(spare=2 * PIECE), waiting(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ahead.ahead.go, ask)
        with trio.fail_after(60):
            while len(ahead.read) < 2:
                await trio.testing.wait_all_tasks_blocked(0.01)
        ahead.has(0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(ahead.read) == 2
        ahead.has(PLENTY)
    assert len(ahead.read) == 3


async def test_one_waiting_load_at_a_time(tmp_path: Path) -> None:
    ahead, first = Ahead(spare=PIECE), waiting(tmp_path)
    (tmp_path / "b").mkdir()
    second = waiting(tmp_path / "b")
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def begin() -> None:
            with scope:
                await ahead.ahead.go(first)

        nursery.start_soon(begin)
        with trio.fail_after(60):
            while not ahead.read:
                await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.start_soon(ahead.ahead.go, second)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (first.ahead, second.ahead) == (PIECE, 0)
        scope.cancel()  # it waits no more
        ahead.has(PLENTY)
    assert second.ahead == 5 * PIECE // 2


@pytest.mark.parametrize("share", [1.0, None])
async def test_what_is_there_or_cannot_be_told_is_not_read(tmp_path: Path, share: float | None) -> None:
    ahead = Ahead(share=share)
    await ahead.ahead.go(waiting(tmp_path))
    assert not ahead.read


async def test_what_is_loaded_past_the_page_cache_is_not_read_ahead(tmp_path: Path) -> None:
    ahead, ask = Ahead(), waiting(tmp_path)
    ask.model.entry = ask.model.served = ask.model.entry.loaded_by("direct")
    await ahead.ahead.go(ask)
    assert not ahead.read


async def test_a_file_that_has_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    ahead, ask = Ahead(), waiting(tmp_path)
    (tmp_path / "m.gguf").unlink()
    await ahead.ahead.go(ask)
    assert not ahead.read


async def test_a_load_that_waits_for_others_reads_ahead(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they leave; and not any more when it starts. One that need not wait doesn't."""
    seen: list[str] = []
    spare: list[int] = []

    async def go(self: ReadAhead, ask: Ask) -> None:
        seen.append(f"{ask.name} begins")
        await trio.sleep(1)
        spare.append(self._spare(ask))
        try:
            await trio.sleep_forever()
        finally:
            seen.append(f"{ask.name} ends")

    monkeypatch.setattr(ReadAhead, "go", go)
    async with machine(stop_time=5) as m:
        assert isinstance(m, Machine)
        m.serve(a=40, b=40)
        await m.use("a")
        assert not seen
        m.ask("b")
        await trio.sleep(3)
        assert seen == ["b begins"]
        left = TOTAL - 40 * GiB - m.governor.machine().host.reserve // 2
        assert spare == [left], "what it is going to take itself is what it may read ahead"
        await trio.sleep(10)
        assert seen == ["b begins", "b ends"]
        assert m.loaded == ["b"]


async def test_nothing_is_read_ahead_while_another_load_needs_the_disk(autojump_clock: MockClock) -> None:
    async with machine(load_time=10) as m:
        m.serve(a=40, b=40)
        for name in "ab":
            m.ask(name, 30)
            await trio.sleep(1)
        (ask,) = m.governor.asks
        assert (ask.name, m.governor._spare_for(ask)) == ("b", 0)
        await trio.sleep(10)
        assert m.governor._spare_for(ask) > 0


def test_entries_load_as_told() -> None:
    a = entry("a")
    assert a.loaded_by("") is a
    assert a.loaded_by("read").spec.load_mode == "read"
