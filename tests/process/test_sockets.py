"""The directory of the engines' sockets: private, short, and there when it is needed, whoever cleans up."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from serving import PATIENCE, Served, fake, recorded, serving

from llmsup.engines.address import UnixAddress
from llmsup.process.sockets import LONGEST, SocketDirectory, is_private


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made in this test: pytest's own is too deep for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        yield Path(folder)


async def nowhere(moved: Path) -> None:
    pytest.fail(f"it moved to {moved}")


async def test_it_is_made_anew_in_its_place(base: Path) -> None:
    sockets = SocketDirectory({})
    assert is_private(sockets.path)
    sockets.path.rmdir()
    assert await sockets.ready(nowhere) == sockets.path
    assert is_private(sockets.path)


@pytest.mark.parametrize("what", ["open", "link", "file"])
async def test_what_somebody_else_has_put_in_its_place_is_not_used(base: Path, what: str) -> None:
    """In /tmp anybody may: a directory that others can enter, or a link to one."""
    sockets, moved = SocketDirectory({}), list[Path]()
    before = sockets.path
    before.rmdir()
    if what == "open":
        before.mkdir()
        before.chmod(0o755)
    elif what == "link":
        (base / "real").mkdir(mode=0o700)
        before.symlink_to(base / "real")
    else:
        before.touch()

    async def took_note(path: Path) -> None:
        moved.append(path)

    assert await sockets.ready(took_note) == sockets.path != before
    assert is_private(sockets.path)
    assert moved == [sockets.path]
    assert before.exists()


def test_the_runtime_directory_is_the_first_choice(base: Path) -> None:
    """Nobody cleans that up; but only if it is ours and nobody else's."""
    runtime = base / "run"
    runtime.mkdir(mode=0o700)
    assert SocketDirectory({"XDG_RUNTIME_DIR": str(runtime)}).path.parent == runtime
    runtime.chmod(0o755)
    assert SocketDirectory({"XDG_RUNTIME_DIR": str(runtime)}).path.parent == base
    assert SocketDirectory({"XDG_RUNTIME_DIR": str(base / "nothing")}).path.parent == base


def test_a_long_path_is_no_place_for_sockets(base: Path) -> None:
    long = base / ("x" * LONGEST)
    long.mkdir(mode=0o700)
    directory = SocketDirectory({"XDG_RUNTIME_DIR": str(long)}).path
    try:
        assert directory.parent == Path("/tmp")
        assert not any(long.iterdir())
    finally:
        directory.rmdir()


def test_it_looks_used(base: Path) -> None:
    """Cleaners go by age."""
    sockets = SocketDirectory({})
    (sockets.path / "1.sock").touch()
    old = (sockets.path, sockets.path / "1.sock")
    for path in old:
        os.utime(path, (0, 0))
    sockets.touch()
    assert all(path.stat().st_atime > 1e9 and path.stat().st_mtime > 1e9 for path in old)
    shutil.rmtree(sockets.path)
    sockets.touch()  # nothing happens


# In a whole llmsup...


def directory(served: Served, model: str) -> Path:
    run = served.model(model).run
    assert run is not None
    assert run.engine is not None
    address = run.engine.launch.address
    assert isinstance(address, UnixAddress)
    return address.path.parent


async def test_models_load_after_a_cleaner_was_there(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No restart; and an engine whose socket is gone is replaced for whom it can't serve."""
    monkeypatch.setattr("llmsup.engines.pool.MAX_IDLE", 0)  # there is no connection that it could be asked on
    async with serving(fake("a"), fake("b")) as served:
        assert (await served.client.chat("a")).status == 200
        shutil.rmtree(directory(served, "a"))
        assert (await served.client.chat("b")).status == 200
        assert (await served.client.chat("a")).status == 200
        assert served.model("a").crashes == 0
    assert list(os.walk(base)) == [(str(base), [], [])]


@pytest.mark.slow
async def test_who_is_served_by_an_engine_without_a_socket_is_served_to_the_end(base: Path, tmp_path: Path) -> None:
    """The stream goes on; who comes meanwhile waits for the next engine, and is served by that."""
    record = tmp_path / "record"
    slow = fake("m", "--record", record, "--tokens", 40, "--tps", 40)
    async with serving(slow) as served, served.client.stream("m") as pieces:
        first = await anext(pieces)
        shutil.rmtree(directory(served, "m"))
        got: list[int] = []

        async def another() -> None:
            got.append((await served.client.chat("m")).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(another)
            rest = b"".join([piece async for piece in pieces])
        assert (first + rest).count(b"token") == 40
        assert rest.endswith(b"data: [DONE]\n\n")
        assert got == [200]
        assert len(recorded(record, "start")) == 2
        assert served.model("m").crashes == 0


async def test_an_idle_engine_without_a_socket_is_unloaded(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds memory and can serve nobody."""
    monkeypatch.setattr("llmsup.fleet.model.watchdogs.SOCKET_EVERY", 0.05)
    async with serving(fake("m")) as served:
        assert (await served.client.chat("m")).status == 200
        shutil.rmtree(directory(served, "m"))
        with trio.fail_after(PATIENCE):
            await served.until("m", lambda model: model.run is None)
        assert "removed its socket" in served.model("m").reason
        assert served.model("m").crashes == 0
