"""Which build of which engine a model gets: a text that differs when the build does, and when nothing else does not."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

import pytest
from engine_kinds import kinds

from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, EngineSpec, ModelSpec
from llmsup.engines.llama_server.flag_probe import FlagProbe
from llmsup.engines.llama_server.kind import installed
from llmsup.engines.selector import EngineSelector


@pytest.fixture
def bin_(tmp_path: Path) -> Path:
    """A directory on PATH with some programs."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("llama-server", "other-server", "nice", "ollama-llama-server"):
        (directory / name).write_text(f"#!/bin/sh\necho {name}\n")
    return directory


def selector(bin_: Path, *, ollama: bool = False, **engines: tuple[str, ...]) -> EngineSelector:
    def which(program: str) -> str | None:
        path = bin_ / program
        return str(path) if path.exists() else None

    tables = {name.replace("_", "-"): command for name, command in engines.items()}
    config = Config(engines={name: EngineSpec(name=name, command=command) for name, command in tables.items()})
    server = bin_ / "ollama-llama-server" if ollama else None
    return EngineSelector(
        config=LiveConfig(config), probe=FlagProbe(), which=which, kinds=kinds(bundled=True, ollama=server)
    )


def entry(*, found: Found | None = None, table: EngineSpec | None = None, **spec: Any) -> Entry:
    return Entry(spec=ModelSpec(**{"name": "m", "path": "/m.gguf", **spec}), found=found, engine=table)


def stamp(program: Path) -> str:
    state = program.resolve().stat()
    return f"{program.resolve()} {state.st_size} {state.st_mtime_ns}"


def test_a_model_gets_llama_server(bin_: Path) -> None:
    """The one on PATH, unless an [engines.llama-server] table names another."""
    assert selector(bin_).build_id(entry()) == stamp(bin_ / "llama-server")
    assert selector(bin_).build_id(entry(engine="llama-server")) == stamp(bin_ / "llama-server")
    named = selector(bin_, llama_server=("other-server", "--log-disable"))
    assert named.build_id(entry()) == stamp(bin_ / "other-server")
    assert named.build_id(entry(engine="llama-server")) == stamp(bin_ / "other-server")


def test_a_command_is_its_program(bin_: Path) -> None:
    """Of the model itself, or of the table that it names; also where the table is gone from the config since."""
    assert selector(bin_).build_id(entry(command=("other-server", "--port", "1"))) == stamp(bin_ / "other-server")
    assert selector(bin_, mine=("nice", "x")).build_id(entry(engine="mine")) == stamp(bin_ / "nice")
    gone = entry(engine="mine", table=EngineSpec(name="mine", command=("nice", "x")))
    assert selector(bin_).build_id(gone) == stamp(bin_ / "nice")


def test_another_build_is_another_text(bin_: Path) -> None:
    """In its place, with its size or its time; and a link is what it leads to."""
    program, link = bin_ / "llama-server", bin_ / "linked"
    before = selector(bin_).build_id(entry())
    assert selector(bin_).build_id(entry()) == before
    link.symlink_to(program)
    assert selector(bin_).build_id(entry(command=("linked",))) == before
    os.utime(program, ns=(1, 1))
    touched = selector(bin_).build_id(entry())
    program.write_text("#!/bin/sh\necho another\n")
    os.utime(program, ns=(1, 1))
    assert len({before, touched, selector(bin_).build_id(entry())}) == 3


def test_the_bundled_engine_has_a_version(bin_: Path) -> None:
    """Where it is asked for, and where there is no other."""
    version = "xllamacpp 1.2.3"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: {"xllamacpp": "1.2.3"}[name])
        assert selector(bin_).build_id(entry(engine="bundled")) == version
        (bin_ / "llama-server").unlink()
        assert selector(bin_).build_id(entry()) == version


def test_there_is_nothing(bin_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an engine, nor the program of a command: nothing is known, and nothing fails."""

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    (bin_ / "llama-server").unlink()
    assert selector(bin_).build_id(entry()) == ""
    assert selector(bin_).build_id(entry(command=("nowhere",))) == ""
    assert selector(bin_).build_id(entry(command=("${PATH}", "--port", "${PORT}"))) == ""


def test_what_only_ollama_can_run(bin_: Path) -> None:
    """The llama-server that comes with it."""
    facts = Facts(architecture="x", kind="chat")
    found = Found(id="m", path=Path("/m.gguf"), files=(), facts=facts, ollama_only="it says so")
    assert selector(bin_, ollama=True).build_id(entry(found=found)) == stamp(bin_ / "ollama-llama-server")
    assert selector(bin_).build_id(entry(found=found)) == ""


def test_the_server_to_ask_for_devices(bin_: Path) -> None:
    """With all the words that it is always started with: behind `nice` it is a word itself."""
    assert installed(selector(bin_)) == (str(bin_ / "llama-server"),)
    wrapped = selector(bin_, llama_server=("nice", "llama-server"))
    assert installed(wrapped) == (str(bin_ / "nice"), "llama-server")
    assert installed(selector(bin_, llama_server=("nowhere",))) == ()


def test_a_table_that_starts_servers_in_a_way_of_its_own(bin_: Path) -> None:
    """It is for those that name it: others get the plain one, as they are started."""
    own = selector(bin_, llama_server=("other-server", "--port", "${PORT}"))
    assert installed(own) == (str(bin_ / "llama-server"),)
    assert own.build_id(entry()) == stamp(bin_ / "llama-server")
    assert own.build_id(entry(engine="llama-server")) == stamp(bin_ / "other-server")
