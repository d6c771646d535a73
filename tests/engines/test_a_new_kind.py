"""A kind of engine that llmsup has never heard of: one registration, and a config may name it."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from pathlib import Path

import pytest
from attrs import evolve
from configs import parse
from engine_kinds import kinds
from serving import FAKE, serving

import llmsup
from llmsup import config
from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.live import LiveConfig
from llmsup.config.schema import Bridge, Catalog, Config, ModelSpec, Server
from llmsup.engines.address import UnixAddress
from llmsup.engines.context import Context
from llmsup.engines.kind import Kind, Machine, Wanted
from llmsup.engines.kinds import KINDS
from llmsup.engines.launch import Launch
from llmsup.engines.llama_server.flag_probe import FlagProbe
from llmsup.engines.missing import without_engine
from llmsup.engines.registry import Kinds
from llmsup.engines.selector import EngineSelector
from llmsup.errors import ConfigError, SetupError
from llmsup.memory.cost.estimate import estimate
from llmsup.units import NEVER, Bytes

PACKAGE = Path(llmsup.__file__).parent


class Tensors(Kind):
    """It runs directories of tensors, as an engine for another format would."""

    name = "tensors"
    own_table = True
    directories = True
    remedy = "tensors, from the shop"

    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        return Path(spec.path).is_dir()

    def estimate(self, spec: ModelSpec, found: Found) -> Context | None:
        return Context(n_ctx=256, n_ctx_seq=256, sequences=1, unified=True, cache_ram=Bytes(0))

    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        table = wanted.tables.get(self.name)
        return (*(table.command if table else (sys.executable,)), str(FAKE))

    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        return Launch(engine=self.name, argv=(*program, "--socket", str(socket)), address=UnixAddress(socket))


def with_tensors(registry: Kinds) -> Kinds:
    """One more kind, which "auto" tries last."""
    return evolve(registry, built_in=(*registry.built_in, Tensors()))


WITH_TENSORS = with_tensors(KINDS)


def read(tmp_path: Path, text: str) -> Config:
    settings = config.parse(text, "test.toml", {}, engines=WITH_TENSORS.words)
    return evolve(
        settings,
        server=Server(state_dir=tmp_path / "state"),
        catalog=Catalog(roots=(), ollama=None),
        bridge=Bridge(every=NEVER),
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "a-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    "more",
    ['engine = "tensors"', f'engine = "tensors"\n[engines.tensors]\ncommand = [{json.dumps(sys.executable)}]'],
    ids=["by name", "with a program"],
)
async def test_a_config_names_it_and_it_serves(tmp_path: Path, model: Path, more: str) -> None:
    """A directory is its model, and it answers a request; a table of its name may say which program it is."""
    settings = read(tmp_path, f'[models.m]\npath = "{model}"\n{more}')
    async with serving(config=settings, kinds=WITH_TENSORS) as served:
        answer = await served.client.chat("m")
        assert answer.status == 200, answer.body
        run = served.model("m").run
        assert run is not None
        assert run.engine is not None
        assert run.engine.launch.engine == "tensors"


def test_without_the_registration_the_config_is_refused() -> None:
    """With the names of those that there are."""
    with pytest.raises(ConfigError) as caught:
        parse("[models.m]\npath = 'x'\nengine = 'tensors'", "test.toml", {})
    (mistake,) = caught.value.mistakes
    assert "no engine is called 'tensors' (there are: auto, llama-server, bundled, vllm)" in mistake


async def test_auto_chooses_it_where_it_can_run_a_model_and_nothing_else_is_installed(model: Path) -> None:
    """It is asked last, as it was registered last."""
    selector = EngineSelector(
        config=LiveConfig(Config()), probe=FlagProbe(), kinds=with_tensors(kinds()), which=lambda program: None
    )
    launch = await selector.plan(ModelSpec(name="m", path=str(model)), Path("/s.sock"))
    assert launch.engine == "tensors"
    with pytest.raises(SetupError, match="there is no engine"):
        await selector.plan(ModelSpec(name="m", path="/m.gguf"), Path("/s.sock"))


def test_the_estimate_is_made_from_what_it_says() -> None:
    """Not from what a llama-server would make of the same settings."""
    facts = Facts(architecture="llama", kind="chat", context_length=100_000)
    found = Found(id="m", path=Path("/m"), files=(), facts=facts)
    said = estimate(ModelSpec(name="m", path="/m", engine="tensors"), found, WITH_TENSORS)
    assert said is not None
    assert said.context.n_ctx == 256


def test_who_has_no_engine_is_told_of_it() -> None:
    assert WITH_TENSORS.remedy == f"{KINDS.remedy.removesuffix('.')}, or tensors, from the shop."


def test_nobody_else_knows_a_kind_by_its_name() -> None:
    """The word that a config says stands in the kind's own folder, and nowhere else."""
    homes = {kind.name: Path(inspect.getfile(type(kind))).parent for kind in KINDS.built_in if kind.word}
    assert set(homes) == {"llama-server", "bundled", "vllm"}
    for path in PACKAGE.rglob("*.py"):
        if PACKAGE / "peers" in path.parents:  # other servers have the same names, and are not started here
            continue
        words = {node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)}
        strangers = [name for name, home in homes.items() if name in words and home not in path.parents]
        assert not strangers, f"{path} knows {strangers}"


async def test_what_only_it_can_run_is_not_taken_for_missing(model: Path) -> None:
    """Two models with the same settings may be for different kinds, by their files."""
    selector = EngineSelector(
        config=LiveConfig(Config()), probe=FlagProbe(), kinds=with_tensors(kinds()), which=lambda program: None
    )
    entries = [
        Entry(spec=ModelSpec(name=name, path=path)) for name, path in (("gguf", "/m.gguf"), ("tensors", str(model)))
    ]
    assert list(await without_engine(selector, entries)) == ["gguf"]
