"""What a model's `args` have an engine load beside its file: which files, and that they are in the estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from gguf_files import tiny_llama, write_gguf
from measured import estimated, found, measure
from projector_files import write_mmproj
from real_engines import smollm2

from llmsup.catalog.disk.companions import Companions, companions
from llmsup.catalog.entry import Entry
from llmsup.catalog.library import scan_now
from llmsup.catalog.merge import Disk, entries
from llmsup.config.schema import Bridge, Catalog, Config, ModelSpec, Server, Settings
from llmsup.engines.kinds import KINDS
from llmsup.engines.llama_server.context import context
from llmsup.memory.cost.estimate import Estimate, estimate
from llmsup.units import NEVER

MiB = 1024**2


@pytest.mark.parametrize(
    ("args", "env", "named"),
    [
        ("-md d.gguf", {}, Companions(draft=Path("d.gguf"))),
        ("--model-draft d.gguf", {}, Companions(draft=Path("d.gguf"))),
        ("--model_draft d.gguf", {}, Companions(draft=Path("d.gguf"))),
        ("--spec-draft-model=d.gguf", {}, Companions(draft=Path("d.gguf"))),
        ("-md a.gguf -md b.gguf", {}, Companions(draft=Path("b.gguf"))),
        ("", {"LLAMA_ARG_MODEL_DRAFT": "d.gguf"}, Companions(draft=Path("d.gguf"))),
        ("-md a.gguf", {"LLAMA_ARG_SPEC_DRAFT_MODEL": "d.gguf"}, Companions(draft=Path("a.gguf"))),
        ("-mm p.gguf", {}, Companions(projector=Path("p.gguf"))),
        ("--lora a.gguf --lora b.gguf", {}, Companions(others=(Path("a.gguf"), Path("b.gguf")))),
        ("--lora a.gguf,b.gguf", {}, Companions(others=(Path("a.gguf"), Path("b.gguf")))),
        ("--lora-scaled a.gguf:0.5,b.gguf:-1", {}, Companions(others=(Path("a.gguf"), Path("b.gguf")))),
        ("--lora-scaled a.gguf 0.5", {}, Companions(others=(Path("a.gguf"),))),
        ("--control-vector c.gguf -mv v.gguf", {}, Companions(others=(Path("c.gguf"), Path("v.gguf")))),
        ("-c 512 --jinja -md", {}, Companions()),
    ],
)
def test_the_files_that_are_named(args: str, env: dict[str, str], named: Companions) -> None:
    """In all spellings, and by the variables that stand in for flags."""
    assert companions(Settings(args=tuple(args.split()), env=env), {}) == named


def served(base: Path, *args: str, **settings: Any) -> Entry:
    spec = ModelSpec(name="m", path=str(base / "m.gguf"), args=args, given=frozenset({"args"}), **settings)
    config = Config(
        models={"m": spec},
        catalog=Catalog(roots=(base / "root",), ollama=None),
        bridge=Bridge(every=NEVER),
        server=Server(state_dir=base / "state"),
    )
    return entries(config, Disk(snapshot=scan_now(config), engines=KINDS))["m"]


def needs(entry: Entry) -> Estimate:
    said = estimate(entry.spec, entry.found)
    assert said is not None
    return said


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tiny_llama(tmp_path / "m.gguf")
    one_layer: dict[str, Any] = {"llama.block_count": 1}
    tiny_llama(tmp_path / "d.gguf", **one_layer)
    return tmp_path


def test_a_draft_model_is_in_the_estimate(base: Path) -> None:
    """With a context as long as the model's own; `=` makes no difference."""
    alone = needs(served(base, "-c", "1024"))
    assert alone.draft == 0
    for args in (("-md", f"{base}/d.gguf"), (f"--model-draft={base}/d.gguf",)):
        both = needs(served(base, "-c", "1024", *args))
        assert both.draft > alone.kv / 2
        assert both.total == alone.total + both.draft
    quantised = needs(served(base, "-c", "1024", "-md", f"{base}/d.gguf", "-ctkd", "q8_0", "-ctvd", "q8_0"))
    assert 0 < quantised.draft < both.draft


def test_a_draft_model_that_is_a_model_of_the_catalog(base: Path) -> None:
    """It is one, and guesses for another, too."""
    (base / "root/p/d").mkdir(parents=True)
    (base / "d.gguf").rename(base / "root/p/d/d.gguf")
    assert needs(served(base, "-md", f"{base}/root/p/d/d.gguf")).draft > 0


def test_other_files_are_in_the_estimate(base: Path) -> None:
    """Adapters by their size, and the user's own projector by its header."""
    (base / "lora.gguf").write_bytes(b"x" * MiB)
    write_mmproj(base / "mmproj.gguf", 256)
    alone = needs(served(base))
    assert needs(served(base, "--lora", f"{base}/lora.gguf")).weights == alone.weights + MiB
    assert needs(served(base, "--mmproj", f"{base}/mmproj.gguf")).projector > alone.projector == 0


def test_another_file_is_another_engine(base: Path) -> None:
    """A draft that was replaced under a running model needs a new one, as the model's own file does."""
    before = served(base, "-md", f"{base}/d.gguf")
    assert before.runs_like(served(base, "-md", f"{base}/d.gguf"))
    write_gguf(base / "d.gguf", {"general.architecture": "llama"})
    assert not before.runs_like(served(base, "-md", f"{base}/d.gguf"))


def test_a_file_that_is_not_there(base: Path) -> None:
    """The engine says so itself."""
    assert needs(served(base, "-md", f"{base}/gone.gguf")).draft == 0


@pytest.mark.parametrize(
    ("args", "cache"), [((), 2048), (("--cache-ram", "100"), 100), (("-cram=0",), 0), (("--cache-ram", "-1"), 8192)]
)
def test_the_prompt_cache_that_args_ask_for(base: Path, args: tuple[str, ...], cache: int) -> None:
    """They come after llmsup's own flag, and win."""
    assert needs(served(base, *args)).context.cache_ram == cache * MiB


@pytest.mark.parametrize("args", ["--ctx-size=512", "--ctx_size=512", "-c=512", "-c 512"])
def test_one_word_says_as_much_as_two(args: str) -> None:
    """In an estimate as on the command line."""
    spec = ModelSpec(name="m", path="m.gguf", args=tuple(args.split()))
    assert context(spec, found(smollm2()).facts, {}).n_ctx == 512


def test_a_real_draft_takes_what_was_estimated() -> None:
    """Its cache is the last that the log tells of."""
    args = ("-c", "1024", "-np", "2")
    quantised = ("-md", str(smollm2()), "-ctkd", "q8_0", "-ctvd", "q8_0")
    log = measure(smollm2(), *args, *quantised)
    alone = estimated(smollm2(), *args, "-ctk", "q8_0", "-ctv", "q8_0")
    assert log.buffers["KV"] == (f"{alone.kv / MiB:.2f}",)
    model = found(smollm2())
    spec = ModelSpec(name="m", path=str(smollm2()), args=(*args, *quantised))
    said = estimate(spec, evolve(model, draft_facts=model.facts))
    assert said is not None
    assert said.draft == alone.total - alone.engine
