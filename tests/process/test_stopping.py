"""llmsup is stopped or told to reload at an awkward moment, or with awkward paths."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from changing import Setting, reload
from configs import load
from gguf_files import tiny_llama
from serving import PATIENCE

from llmsup import tree
from llmsup.catalog.library import Library
from llmsup.cli import running
from llmsup.cli.logsetup import BookHandler, Handlers, StderrHandler
from llmsup.config import Config
from llmsup.process.logbook import LogBook
from llmsup.process.notify import Notifier
from llmsup.tree import Tree
from llmsup.units import Seconds
from llmsup.web.server import listen


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


class Held:
    """Looks at the disk that take until they are let go."""

    def __init__(self) -> None:
        self.looks = 0
        self.begun = trio.Event()
        self.go = threading.Event()

    def hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        survey = Library.survey

        def held(library: Library, config: Config) -> tuple[str, ...]:
            self.looks += 1
            trio.from_thread.run_sync(self.begun.set)
            self.go.wait(PATIENCE)
            return survey(library, config)

        monkeypatch.setattr(Library, "survey", held)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    held = Held()
    yield held
    held.go.set()  # the thread may end


async def test_a_stop_during_the_first_look(setting: Setting, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, whatever the disk does and whatever is drawn meanwhile."""
    monkeypatch.setattr(tree, "FIRST_LOOK", Seconds(0.05))
    held.hold(monkeypatch)
    whole = Tree(load(setting.file), listen("127.0.0.1:0"))
    logs = Handlers(StderrHandler(), BookHandler(LogBook()))
    with trio.fail_after(PATIENCE / 2):  # less than the look would take
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running._main, whole, logs, lambda _: whole.stop(), Notifier())
    assert held.looks == 1


async def test_a_reload_that_meets_the_end_is_told(
    setting: Setting, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a 503; and a look that hangs doesn't hold up the end. A second one at the very end is no bug."""
    statuses: list[int] = []
    answered = trio.Event()
    async with trio.open_nursery() as nursery, setting.serving() as served:
        held.hold(monkeypatch)

        async def ask() -> None:
            statuses.append((await served.client.post("/reload-config")).status)
            answered.set()

        nursery.start_soon(ask)
        with trio.fail_after(PATIENCE):
            await held.begun.wait()
        served.tree.stop()
        served.tree.stop()
        with trio.fail_after(PATIENCE / 2):
            await answered.wait()
    assert statuses == [503]
    served.tree.reload()


async def test_many_reloads_are_few_looks(setting: Setting, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look answers everybody who asked before it began."""
    async with setting.serving() as served:
        held.hold(monkeypatch)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(reload, served)
            with trio.fail_after(PATIENCE):
                await held.begun.wait()
            held.go.set()
    assert held.looks <= 4


@pytest.fixture
def no_text(setting: Setting) -> None:
    """A model and a broken file of which the paths are not UTF-8."""
    folder = Path(os.fsdecode(os.fsencode(setting.models) + b"/pub/m\xff"))
    folder.mkdir(parents=True)
    tiny_llama(folder / "a-00001-of-00002.gguf")
    Path(os.fsdecode(os.fsencode(setting.models) + b"/x\xff.gguf")).write_bytes(b"junk")


@pytest.mark.usefixtures("no_text")
async def test_paths_that_are_no_text(setting: Setting) -> None:
    """A file system may hold any bytes; lists and errors are JSON all the same."""
    async with setting.serving() as served:
        listed = await served.client.get("/v1/models")
        assert "part 2 of 2 is missing" in listed.json["data"][0]["status"]["error"]
        assert (await served.client.get("/catalog")).json["left_out"]
        refused = await served.client.chat(listed.json["data"][0]["id"])
        assert (refused.status, refused.error["code"]) == (503, "model_failed")


@pytest.mark.parametrize("path", ["a" * 300 + ".gguf", "loop.gguf/x.gguf", "loop.gguf"])
async def test_paths_that_cannot_be_looked_at(setting: Setting, path: str) -> None:
    """A name that is too long, a link that leads to itself: the model says so, and the server lives."""
    setting.add("pub/a/a")
    (setting.models / "loop.gguf").symlink_to("loop.gguf")
    (setting.models / "junk.gguf").write_bytes(b"junk")
    async with setting.serving() as served:
        setting.write(
            f"[models.x]\nengine = 'bundled'\npath = '{path}'\n[models.y]\nengine = 'bundled'\npath = 'junk.gguf'\n"
        )
        done = await reload(served)
        assert "matches no file" in done["refused"]["x"]
        assert "it is not a GGUF" in done["refused"]["y"]
        assert (await served.client.chat("pub/a")).status == 200


async def test_an_engine_that_is_renamed_while_requests_come(
    setting: Setting, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the look is over a model is started as it was defined, though the config's table is gone."""
    setting.add("pub/a/a")
    async with setting.serving() as served, trio.open_nursery() as nursery:
        held.hold(monkeypatch)
        text = setting.file.read_text()
        setting.file.write_text(text.replace("'fake'", "'other'").replace("engines.fake", "engines.other"))
        nursery.start_soon(reload, served)
        with trio.fail_after(PATIENCE):
            await held.begun.wait()
        got: Any = await served.client.chat("pub/a")
        assert got.status == 200, got.body
        held.go.set()
