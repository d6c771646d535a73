"""A file gets more names, and loses some: its id stays while it can, and its engine in any case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from disks import ROOTS, disks
from fake_run import Garage
from fleets import entries, entry, use
from hypothesis import given, settings
from ollama_store import add
from real_engines import llama_server, smollm2
from serving import Served, serving
from trio.testing import MockClock

from llmsup.catalog.build import Key, build
from llmsup.catalog.disk.survey import Survey
from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found, Stamp, Unreadable
from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.ids import Ids
from llmsup.config.schema import Catalog, Config, EngineSpec, ModelSpec, Server
from llmsup.fleet.fleet import Fleet
from llmsup.units import Seconds

Disk = tuple[Survey, dict[Stamp, Facts | Unreadable]]


@pytest.fixture(name="store")
def store_with_a_model(tmp_path: Path) -> Path:
    add(tmp_path / "store", "smollm2:135m", smollm2())
    return tmp_path / "store"


def config(store: Path) -> Config:
    return Config(
        catalog=Catalog(roots=(), ollama=store),
        engines={"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))},
        server=Server(state_dir=store.parent / "state", shutdown_grace=Seconds(1)),
    )


async def ids(served: Served) -> set[str]:
    return {each["id"] for each in (await served.client.get("/v1/models")).json["data"]}


async def pids(served: Served) -> list[int]:
    return [each["pid"] for each in (await served.client.get("/running")).json]


async def test_ollama_cp_of_a_loaded_model(store: Path) -> None:
    """A shorter name for the same blob, while a request is in flight: the id stays on the list, both names are the same
    engine, and nothing is unloaded. Then the first name goes: the id is the other one, and the engine still the same.
    """
    async with serving(config=config(store)) as served:
        async with served.client.stream("smollm2:135m", max_tokens=2000, ignore_eos=True) as parts:
            await anext(parts)
            before = await pids(served)
            add(store, "smol", smollm2())
            assert (await served.client.post("/reload-config")).status == 200
            assert await ids(served) == {"smollm2:135m"}
            assert (await served.client.chat("smol", max_tokens=1)).status == 200
            (store / "manifests/registry.ollama.ai/library/smollm2/135m").unlink()
            assert (await served.client.post("/reload-config")).status == 200
            assert await ids(served) == {"smol:latest"}
            assert (await served.client.chat("smol", max_tokens=1)).status == 200
            assert await pids(served) == before
            await anext(parts)
        history = (await served.client.get("/memory/smol")).json["history"]
        assert [each["what"] for each in history] == ["load"]
        assert len(before) == 1


async def test_the_next_llmsup_knows_the_id(store: Path) -> None:
    """It is what clients have in their settings; one that begins now would choose the shorter name."""
    async with serving(config=config(store)) as served:
        assert await ids(served) == {"smollm2:135m"}
        assert (await served.client.post("/reload-config")).status == 200  # a look is over when its ids are kept
    add(store, "smol", smollm2())
    async with serving(config=config(store)) as served:
        assert await ids(served) == {"smollm2:135m"}
    elsewhere = config(store)
    fresh = evolve(elsewhere, server=evolve(elsewhere.server, state_dir=store.parent / "other"))
    async with serving(config=fresh) as served:
        assert await ids(served) == {"smol:latest"}


@settings(deadline=None)
@given(disks(), disks())
def test_an_id_stays_while_it_is_a_name_of_the_file(one: Disk, other: Disk) -> None:
    """Whatever else comes: unless an earlier root, or a folder before the store, has a model that this is the id of."""
    before = build(*one)
    known = {_key(found): id_ for id_, found in before.models.items()}
    assert build(*one, known) == before
    after = build(*other, known)
    now = {_key(found): found for found in after.models.values()}
    for key, id_ in known.items():
        found = now.get(key)
        if found is None or found.id == id_ or id_ not in found.names:
            continue
        assert _place(after.models[id_]) < _place(found)


def _place(found: Found) -> int:
    """Whose names come first."""
    return next((rank for rank, root in enumerate(ROOTS) if found.path.is_relative_to(root)), len(ROOTS))


def _key(found: Found) -> Key:
    return found.files[0].path, found.adapters


def model(id_: str, number: int = 1) -> Found:
    facts = Facts(architecture="llama", kind="chat")
    return Found(id=id_, path=Path(f"/{number}"), files=(Stamp(Path(f"/real/{number}"), 1, 1),), facts=facts)


def test_what_is_remembered(tmp_path: Path) -> None:
    """What is served; and for as long as llmsup runs what was, unless another has its id now."""
    some = Ids(tmp_path / "state/ids.json")
    some.load()
    some.note({"a": model("a"), "b": model("b", 2)})
    some.note({"c": model("c", 3)})
    assert set(some.given.values()) == {"a", "b", "c"}
    some.note({"a": model("a", 3)})
    assert set(some.given.values()) == {"a", "b"}
    assert some.given[(Path("/real/3"), ())] == "a"
    assert some.save(["a"]) is None
    again = Ids(tmp_path / "state/ids.json")
    again.load()
    assert dict(again.given) == {(Path("/real/3"), ()): "a"}


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"[]", b'{"format": 2, "ids": {}}', b'{"format": 1, "ids": {"a": []}}', b'{"format": 1, "ids": 1}'],
)
def test_a_file_that_is_no_good(tmp_path: Path, said: bytes) -> None:
    """Nothing is known, and the next save writes a whole one."""
    (tmp_path / "ids.json").write_bytes(said)
    some = Ids(tmp_path / "ids.json")
    told = some.load() or ""
    assert ("ids.json is damaged" in told) == (b'"format": 2' not in said)
    assert not some.given
    some.note({"a": model("a")})
    assert some.save(["a"]) is None
    assert json.loads((tmp_path / "ids.json").read_bytes())["ids"] == {"a": ["/real/1"]}


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    """It is told, and tried again the next time."""
    (tmp_path / "file").write_text("")
    some = Ids(tmp_path / "file/ids.json")
    some.load()
    some.note({"a": model("a")})
    for _ in range(2):
        assert "the models' ids can't be kept" in (some.save(["a"]) or "")


# --- the fleet ----------------------------------------------------------------------------------------------------


def named(name: str, **spec: Any) -> Entry:
    """The same file and settings, whatever it is called."""
    return _at("/same.gguf", entry(name, **spec))


def _at(path: str, entry: Entry) -> Entry:
    return evolve(entry, spec=evolve(entry.spec, path=path))


def _command(name: str) -> Entry:
    return evolve(entry(name), spec=ModelSpec(name=name, command=("serve", "${NAME}", "--port", "${PORT}")))


async def test_another_name_is_no_other_model(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """Who is served goes on, who waits is served, and what is known of it stays."""
    fleet.apply(entries(named("old", max_in_flight=1)))
    model = fleet.models["old"]
    done: list[str] = []

    async def ask() -> None:
        done.append(await use(fleet, fleet_name(), 10))

    def fleet_name() -> str:
        return next(iter(fleet.models))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await trio.sleep(5)
        fleet.apply(entries(named("new", max_in_flight=1), entry("other")))
        assert fleet.models["new"] is model
        assert model.spec.name == "new"
        assert fleet.find("new") is model
        nursery.start_soon(ask)
    assert done == [""] * 3
    assert len(garage.engines) == 1
    model.book.write("said")
    assert fleet.book.last == "[new] said"


async def test_one_on_its_way_out_is_wanted_under_another_name(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage
) -> None:
    """Its last request is not done, when the same file comes back: it is not loaded a second time."""
    fleet.apply(entries(named("old")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, fleet, "old", 50)
        await trio.sleep(5)
        fleet.apply({})
        await trio.sleep(5)
        fleet.apply(entries(named("new")))
        await use(fleet, "new")
        assert not fleet.models["new"].intent.retiring
    await trio.sleep(100)
    assert len(garage.engines) == 1
    assert garage.last.stopped_at is None


async def test_other_settings_are_another_model(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """And so is a name that the command is told."""
    fleet.apply(entries(named("a"), _command("b")))
    old = dict(fleet.models)
    fleet.apply(entries(named("c", ctx_size=5), _command("d")))
    assert not set(old.values()) & set(fleet.models.values())


async def test_names_that_are_exchanged(autojump_clock: MockClock, fleet: Fleet, garage: Garage) -> None:
    """Both names exist still, so each is a model that changed: no engine serves what it is not."""
    fleet.apply(entries(_at("/1.gguf", entry("a")), _at("/2.gguf", entry("b"))))
    await use(fleet, "a")
    fleet.apply(entries(_at("/2.gguf", entry("a")), _at("/1.gguf", entry("b"))))
    await use(fleet, "a")
    assert [each.spec.path for each in garage.started_with] == ["/1.gguf", "/2.gguf"]
