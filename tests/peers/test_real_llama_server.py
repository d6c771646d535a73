"""llama.cpp's own server as a peer, alone and as a router of several models: the real one."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from real_engines import llama_server, smollm2
from watched_peers import spec, watched

from llmsup.peers.peer import PeerState

pytestmark = pytest.mark.real

LISTENS = re.compile(rb"listening on http://127\.0\.0\.1:(\d+)")


@contextmanager
def running(folder: Path, *flags: str) -> Iterator[int]:
    """One that is being started, and its port; ended when the block is left."""
    log = folder / "log"
    with log.open("wb") as out:
        argv = [str(llama_server()), "--host", "127.0.0.1", "--port", "0", "-c", "2048", *flags]
        process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (found := LISTENS.search(log.read_bytes())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)  # a log can only be looked at again and again
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(60)


async def test_alone(tmp_path: Path) -> None:
    flags = ("-m", str(smollm2()), "--alias", "smol", "-np", "2")
    with running(tmp_path, *flags) as port:
        async with watched(tmp_path, spec(port)) as found:
            peer = found["studio"]
            with trio.fail_after(120):  # it says that it is loading until it has loaded
                await found.peers.until(lambda: peer.state is PeerState.UP)
            assert peer.kind == "openai"
            assert list(peer.offers) == ["smol"]
            offer = peer.offers["smol"]
            assert (offer.loaded, offer.slots, offer.busy) == (True, 2, 0)


async def test_a_router(tmp_path: Path) -> None:
    (models := tmp_path / "models").mkdir()
    (models / "smol.gguf").symlink_to(smollm2())
    with running(tmp_path, "--models-dir", str(models)) as port:
        async with watched(tmp_path, spec(port)) as found:
            peer = found["studio"]
            with trio.fail_after(120):
                await found.peers.until(lambda: "smol" in peer.offers)
            assert peer.kind == "openai"
            assert peer.offers["smol"].loaded is False
            answer = await peer.pool.request("POST", b"/models/load", [], b'{"model": "smol"}')
            await answer.close()
            found.peers.look()
            with trio.fail_after(120):
                await found.peers.until(lambda: peer.offers["smol"].loaded)
