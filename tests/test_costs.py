"""What a model is going to cost by what is known, and which build of which engine that was measured with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve
from fleets import entry

from llmsup.config.schema import Config, EngineSpec, GiB
from llmsup.engines.builds import build_of, llama_server
from llmsup.engines.context import Context
from llmsup.engines.plan import Planner
from llmsup.engines.probe import Probe
from llmsup.memory.costs import MARGIN, UNKNOWN, cost
from llmsup.memory.estimate import Estimate
from llmsup.units import Bytes

PROMPTS = Bytes(2 * GiB)


def estimate(total: int, *, embeddings: bool = False) -> Estimate:
    context = Context(n_ctx=1, n_ctx_seq=1, sequences=1, unified=True, cache_ram=PROMPTS, embeddings=embeddings)
    nothing = Bytes(0)
    return Estimate(Bytes(total), nothing, nothing, nothing, nothing, context)


def test_declared_is_believed_until_more_was_seen() -> None:
    """The user may know better; a measurement knows best."""
    a = entry("a", memory=Bytes(5 * GiB))
    assert cost(a, estimate(9 * GiB), None).bytes == 5 * GiB
    lower = cost(a, estimate(9 * GiB), Bytes(3 * GiB))
    assert (lower.bytes, lower.source) == (5 * GiB, "declared")
    higher = cost(a, estimate(9 * GiB), Bytes(6 * GiB))
    assert (higher.bytes, higher.source) == (6 * GiB, "measured")


def test_measured_replaces_estimated() -> None:
    """Also where it is less; what it needs in any case is the less of both."""
    found = cost(entry("a"), estimate(9 * GiB), Bytes(4 * GiB))
    assert (found.bytes, found.source, found.least) == (4 * GiB, "measured", 4 * GiB)
    grown = cost(entry("a"), estimate(4 * GiB), Bytes(9 * GiB))
    assert (grown.bytes, grown.least) == (9 * GiB, 4 * GiB)


def test_an_estimate_has_a_margin_and_the_prompts_that_may_be_kept() -> None:
    """An embedder keeps none. It is refused only if it can't even begin."""
    found = cost(entry("a"), estimate(GiB), None)
    assert (found.bytes, found.source, found.least) == (round(GiB * MARGIN) + PROMPTS, "estimated", GiB)
    assert cost(entry("a"), estimate(GiB, embeddings=True), None).bytes == round(GiB * MARGIN)


def test_nothing_known_is_not_nothing() -> None:
    """A command without a file."""
    assert cost(entry("a"), None, None).bytes == UNKNOWN


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "llama-server"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def planner(binary: Path | None, **config: EngineSpec) -> Planner:
    def which(program: str) -> str | None:
        return str(binary) if binary and program in ("llama-server", str(binary)) else None

    return Planner(config=Config(engines=config), probe=Probe(), which=which, ollama_server=lambda: binary)


def test_an_engine_that_was_replaced_is_another_build(binary: Path) -> None:
    """By its size or its time; a link to the same file is the same."""
    made = planner(binary)
    before = build_of(made, entry("a"))
    assert str(binary.resolve()) in before
    os.utime(binary, ns=(1, 1))
    after = build_of(made, entry("a"))
    assert after != before
    binary.write_text("#!/bin/sh\nexit\n")
    assert build_of(made, entry("a")) not in (before, after)


def test_each_engine_is_asked_for_its_own(binary: Path, tmp_path: Path) -> None:
    """The bundled one has a version; a command its program; where there is nothing, nothing is said."""
    other = tmp_path / "other"
    other.write_text("x")
    made = planner(binary, own=EngineSpec(name="own", command=(str(binary), "${PATH}")))
    assert build_of(made, entry("a", engine="bundled")).startswith("xllamacpp ")
    assert str(binary) in build_of(made, entry("a", engine="own"))
    assert build_of(made, entry("a", command=("no-such-program", "${PORT}"))) == ""
    assert build_of(planner(None), entry("a")).startswith("xllamacpp ")


def test_the_llama_server_of_the_config(binary: Path) -> None:
    """Its path, found; none if it isn't there."""
    table = EngineSpec(name="llama-server", command=(str(binary), "--foo"))
    assert llama_server(planner(binary, **{"llama-server": table})) == (str(binary),)
    assert llama_server(planner(None)) == ()
    assert llama_server(evolve(planner(binary), which=lambda _: None)) == ()
