"""Which build of which engine a model gets, told without starting anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve
from fleets import entry

from llmsup.config.schema import Config, EngineSpec
from llmsup.engines.builds import build_of, llama_server
from llmsup.engines.plan import Planner
from llmsup.engines.probe import Probe


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
