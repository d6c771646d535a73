"""A projector that an engine can't use: the model is served without it, and everybody is told."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from fake_run import Garage
from fleets import entry, supervised
from projector_files import write_mmproj
from real_engines import llama_server, smollm2
from serving import serving
from trio.testing import MockClock

from llmsup.catalog.found import Found, Stamp
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import Bridge, Catalog, Config, EngineSpec, Settings
from llmsup.errors import ModelFailed
from llmsup.fleet.engine.projectors import complains_of_projector
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.redefinition import redefine
from llmsup.fleet.model.states import State
from llmsup.units import NEVER, Seconds

MISMATCH = "mtmd_init_from_file: error: mismatch between text model (n_embd = 576) and mmproj (n_embd = 2560)"
LAST = "srv    load_model: failed to load multimodal model, '/m/mmproj.gguf'"
EXIT = "srv  llama_server: exiting due to model loading error"


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ((f"0.00.187.886 E {MISMATCH}", "hint: you may be using wrong mmproj", f"0.00.187.904 E {LAST}"), MISMATCH),
        (("E clip_init: failed to load model '/m': load_hparams: unknown projector type: x", LAST),
         "E clip_init: failed to load model '/m': load_hparams: unknown projector type: x"),
        (("clip_model_load: error: no such file", LAST), "clip_model_load: error: no such file"),
        ((LAST, EXIT), LAST),
        (("/src/tools/mtmd/clip.cpp:2071: GGML_ASSERT(x)",), "/src/tools/mtmd/clip.cpp:2071: GGML_ASSERT(x)"),
        (("srv load_model: failed to load CLIP model",), "srv load_model: failed to load CLIP model"),
        ((EXIT,), ""),
        (("clip_model_loader: model name:", "loaded multimodal model, '/m'"), ""),
    ],
)  # fmt: skip
def test_lines_that_complain(lines: tuple[str, ...], complaint: str) -> None:
    """As llama-server b10068 and others say it, without the time."""
    assert complains_of_projector(lines) == complaint


FOUND = Found(
    id="m",
    path=Path("/m/m.gguf"),
    files=(),
    facts=Facts(architecture="llama", kind="chat"),
    projector=Path("/m/mmproj.gguf"),
    projector_facts=Facts(architecture="clip", role="projector"),
)


@pytest.fixture
def garage() -> Garage:
    return Garage(ready=False)


@pytest.fixture
async def model(nursery: trio.Nursery, garage: Garage) -> Model:
    return supervised(evolve(entry("m"), found=FOUND), nursery, garage)


async def until_started(model: Model, garage: Garage, number: int) -> None:
    await model.until(lambda: len(garage.engines) == number and model.run is not None and model.run.engine)


def refuse(model: Model, garage: Garage, code: int = 1, *, given: bool = True) -> None:
    """The engine ends as one does that can't use its projector."""
    if given:
        garage.last.launch = evolve(garage.last.launch, projector=Path("/m/mmproj.gguf"))
    model.book.write(f"0.00.187.886 E {MISMATCH}")
    garage.last.exit(code)


@pytest.mark.parametrize("code", [1, -6])
async def test_it_is_served_without(autojump_clock: MockClock, model: Model, garage: Garage, code: int) -> None:
    """Who waits goes on waiting; it counts as no crash, and is no failure."""
    with model.enter() as lease:
        await until_started(model, garage, 1)
        refuse(model, garage, code)
        await until_started(model, garage, 2)
        garage.last.answers.set()
        await lease.run(Seconds(1000))
    assert [entry.found and entry.found.projector for entry in garage.started_with] == [FOUND.projector, None]
    assert (model.state, model.crashes, model.failure) == (State.READY, 0, None)
    assert any("/m/mmproj.gguf" in e.reason and MISMATCH in e.reason for e in model.history.entries)
    assert model.served.found
    assert "n_embd" in model.served.found.unseeing


async def test_it_stays_so_until_something_changes(autojump_clock: MockClock, model: Model, garage: Garage) -> None:
    """A look at the disk that finds the same changes nothing; another file may do, and so does somebody's `load`."""
    model.load()
    await until_started(model, garage, 1)
    refuse(model, garage)
    await until_started(model, garage, 2)
    redefine(model, evolve(model.entry))
    assert model.served.found
    assert model.served.found.projector is None
    other = Path("/m/mmproj-other.gguf")
    files = (Stamp(other, 1, 1),)
    redefine(model, evolve(model.entry, found=evolve(FOUND, projector=other, files=files)))
    assert model.served.found.projector == Path("/m/mmproj-other.gguf")


async def test_a_load_tries_it_again(autojump_clock: MockClock, model: Model, garage: Garage) -> None:
    """llama.cpp may have been upgraded meanwhile."""
    model.load()
    await until_started(model, garage, 1)
    refuse(model, garage)
    await until_started(model, garage, 2)
    garage.last.answers.set()
    await model.until(lambda: model.state is State.READY)
    await model.unload("a test")
    model.load()
    await until_started(model, garage, 3)
    assert garage.started_with[-1].found == FOUND


async def test_one_that_llmsup_did_not_give(autojump_clock: MockClock, model: Model, garage: Garage) -> None:
    """The user's own `--mmproj`, or a command's, is theirs to mend."""
    with model.enter() as lease:
        await until_started(model, garage, 1)
        refuse(model, garage, given=False)
        with pytest.raises(ModelFailed, match="mismatch"):
            await lease.run(Seconds(1000))
    assert len(garage.engines) == 1


def config(root: Path, engine: str, **more: Any) -> Config:
    engines = {}
    if engine == "llama-server":
        engines = {engine: EngineSpec(name=engine, command=(str(llama_server()),))}
    defaults = Settings(engine=engine, ctx_size=512, parallel=1, threads=1)
    return Config(
        defaults=defaults,
        engines=engines,
        catalog=Catalog(roots=(root,), ollama=None),
        bridge=Bridge(every=NEVER),
        **more,
    )


@pytest.mark.parametrize("engine", ["bundled", "llama-server"])
async def test_real_engines_refuse_one(engine: str, tmp_path: Path) -> None:
    """A type that this llama.cpp doesn't know yet: nothing in the headers speaks against it."""
    (tmp_path / "pub/m").mkdir(parents=True)
    shutil.copy(smollm2(), tmp_path / "pub/m/m.gguf")
    write_mmproj(tmp_path / "pub/m/mmproj.gguf", 576, type_="of-tomorrow")
    async with serving(config=config(tmp_path, engine)) as served:
        (before,) = (await served.client.get("/v1/models")).json["data"]
        assert "vision" in before["capabilities"]
        got = await served.client.chat("pub/m", max_tokens=1)
        assert got.status == 200, got.body
        (after,) = (await served.client.get("/v1/models")).json["data"]
        assert "vision" not in after["capabilities"]
        assert "mmproj.gguf" in after["without_projector"]
        assert after["memory"]["projector_bytes"] == 0 < before["memory"]["projector_bytes"]
        history = (await served.client.get("/memory/pub/m")).json["history"]
        assert any("served without it" in entry["reason"] for entry in history)


@pytest.mark.parametrize("engine", ["bundled", "llama-server"])
async def test_real_engines_take_one_that_fits(engine: str, tmp_path: Path) -> None:
    """And only the model that it fits has it, though all lie together."""
    (tmp_path / "pub/all").mkdir(parents=True)
    shutil.copy(smollm2(), tmp_path / "pub/all/smol.gguf")
    write_mmproj(tmp_path / "pub/all/mmproj-F16.gguf", 576)
    write_mmproj(tmp_path / "pub/all/mmproj-F32.gguf", 2560)
    async with serving(config=config(tmp_path, engine)) as served:
        got = await served.client.chat("smol", max_tokens=1)
        assert got.status == 200, got.body
        run = served.model("pub/all").run
        assert run
        assert run.engine
        assert str(tmp_path / "pub/all/mmproj-F16.gguf") in run.engine.launch.argv
