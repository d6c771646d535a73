"""Memory with real engines and real limits: a control group that has less than all models together would take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from attrs import Factory, define
from cgroups import Bounded, bounded
from real_engines import llama_server, smollm2
from serving import Client

from llmsup.config.write import Table, document
from llmsup.engines.connection import Disconnected
from llmsup.engines.pool import Answer

ROOT = Path(__file__).parents[2]
MiB = 1024**2
LIMIT = 1200 * MiB
PATIENCE = 300
"""Seconds after which this counts as hung. Generous: it says nothing about speed."""

CONTEXTS = {"tiny": 2048, "small": 4096, "middle": 8192, "large": 12288, "larger": 16384, "huge": 20480}
"""SmolLM2's keys and values take 22.5 KiB a token: with the rest that makes 150 to 600 MiB each, 2 GiB together."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux'")


@define
class Seen:
    """What the events told."""

    loads: int = 0
    load_seconds: float = 0
    owed: set[str] = Factory(set)
    """For whom others went, and who has not been loaded since: at the end, whose evictions were futile."""
    unloads: Counter[str] = Factory(Counter)
    pressed: list[str] = Factory(list)
    """Whom pressure unloaded, in order."""
    levels: list[str] = Factory(list)

    def summary(self) -> str:
        """In numbers, for people."""
        unloads = ", ".join(f"{count} {cause}" for cause, count in self.unloads.items())
        return f"{self.loads} loads in {self.load_seconds:.0f} s; unloads: {unloads}; {len(self.owed)} futile"

    def take(self, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "load":
                self.loads += 1
                self.load_seconds += data["seconds"]
                self.owed.discard(data["model"])
            case "decision" if data["decision"] == "evict" and data["model"]:
                self.owed.add(data["model"])
            case "unload":
                self.unloads[data["cause"]] += 1
                if data["cause"] == "pressure":
                    self.pressed.append(data["model"])
            case "pressure":
                self.levels.append(data["level"])


@asynccontextmanager
async def serving_within(group: Bounded, folder: Path, **model: Any) -> AsyncIterator[tuple[Client, Seen, Path]]:
    """A llmsup that has the group's memory, with everything it starts; it has stopped when the block is left.

    Args:
        model: Settings of all models.
    """
    config, log = folder / "llmsup.toml", folder / "log"
    config.write_text(_config(folder, model))
    words = [sys.executable, "-m", "llmsup", "serve", "--listen", "127.0.0.1:0", "--config", str(config)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            group.command(words), stdin=subprocess.DEVNULL, stderr=stderr, env=env
        )
    try:
        with trio.fail_after(60):
            while not (found := re.search(r"listening on [^:\s]+:(\d+)", log.read_text())):
                assert process.poll() is None, log.read_text()
                await trio.sleep(0.02)
        client, seen = Client(int(found[1])), Seen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_follow, client, seen)
            try:
                yield client, seen, log
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await client.pool.close()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 60):
            if process.poll() is None:
                process.terminate()
            await process.wait()


def _config(folder: Path, model: Mapping[str, Any]) -> str:
    def table(*path: str, **values: Any) -> Table:
        made = Table(path)
        for key, value in values.items():
            made.put(key, value)
        return made

    path = str(smollm2())
    engines = table("engines", "llama-server", command=[str(llama_server())])
    defaults = table("defaults", parallel=1)
    server = table("server", state_dir=str(folder / "state"))
    catalog = table("catalog", roots=[], ollama="")
    models = [table("models", name, path=path, ctx_size=size, **model) for name, size in CONTEXTS.items()]
    return document((), [server, catalog, defaults, engines, *models])


async def _follow(client: Client, seen: Seen) -> None:
    answer, kind = await client.send("GET", "/events"), ""
    try:
        rest = b""
        while piece := await _more(answer):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"event: "):
                    kind = line.removeprefix(b"event: ").decode()
                elif line.startswith(b"data: "):
                    seen.take(kind, json.loads(line.removeprefix(b"data: ")))
    finally:
        await answer.close()


async def _more(answer: Answer) -> bytes:
    try:
        return await answer.body()
    except Disconnected:  # llmsup has ended, and this stream with it
        return b""


async def ask(client: Client, requests: int, liked: str, others: Sequence[str] = ()) -> None:
    """One client: requests in a row, two thirds of them to the model that it likes."""
    dice = Random(liked)  # noqa: S311 -- a test's
    for turn in range(requests):
        name = dice.choice(others or [liked]) if turn % 3 == 0 else liked
        messages = [{"role": "user", "content": f"Say {dice.randrange(1000)}."}]
        body = {"model": name, "messages": messages, "max_tokens": 2}
        answer = await client.send("POST", "/v1/chat/completions", body)
        try:
            text = b""
            while piece := await answer.body():
                text += piece
        finally:
            await answer.close()
        assert answer.status == 200, text
        assert json.loads(text)["choices"], text


NEIGHBOUR = r"""
import sys, time
had = []
for step in range(50):
    had.append(bytearray(b"x") * (8 * 2**20))
    time.sleep(0.1 if step < 25 else 0.5)
sys.stdout.write("grown\n")
sys.stdout.flush()
sys.stdin.read()
"""
"""Takes 400 MiB within 15 s, and has them until its standard input ends."""


@asynccontextmanager
async def neighbour(group: Bounded) -> AsyncIterator[trio.Process]:
    """Another program in the group; it is gone when the block is left."""
    words = group.command([sys.executable, "-c", NEIGHBOUR])
    process = await trio.lowlevel.open_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with process.stdin, process.stdout:
            yield process
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
            await process.wait()


async def test_models_make_way_for_each_other_and_for_a_neighbour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request is answered, nobody is killed, and nobody goes when the pressure is over."""
    with bounded(LIMIT) as group, trio.fail_after(PATIENCE):
        async with serving_within(group, tmp_path) as (client, seen, log):
            async with trio.open_nursery() as nursery:
                for liked in ("tiny", "small", "middle", "large"):
                    nursery.start_soon(ask, client, 50, liked, tuple(CONTEXTS))
            with trio.move_on_after(10):  # the events come on a connection of their own
                while seen.owed:  # noqa: ASYNC110 -- another process's doing
                    await trio.sleep(0.02)
            with capsys.disabled():
                print(f"\n200 requests: {seen.summary()}; {group.oom_kills} OOM kills; peak {group.peak // MiB} MiB")
            assert group.oom_kills == 0
            assert not seen.owed, "these evictions were futile"
            assert seen.unloads.total() < seen.loads
            assert not {"crashed", "failed"} & seen.unloads.keys()
            assert seen.loads > len(CONTEXTS), "there was room for all: nothing was tried"

            await client.post("/models/unload", all=True)
            for name in ("huge", "large"):  # which fit beside each other, but not beside the neighbour
                await ask(client, 1, name)
            async with neighbour(group) as process:
                assert process.stdout is not None
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, client, 100_000, "large")
                    assert await process.stdout.receive_some(), "it was killed"
                    nursery.cancel_scope.cancel()
            over = len(seen.pressed)
            assert seen.pressed == ["huge"], "the one that works stays"
            memory = (await client.get("/memory")).json
            while memory["level"] != "normal":
                await trio.sleep(0.2)
                memory = (await client.get("/memory")).json
            assert seen.pressed[over:] == []
            assert group.oom_kills == 0
            told = log.read_text()
            assert "under memory pressure" in told
            assert " bug " not in told


async def test_a_real_death_for_want_of_memory(tmp_path: Path) -> None:
    """A declared `memory` that is far too small: the system kills the engine. It is recognised, tried once more, and
    then left alone with the reason; llmsup and the other models live.
    """
    with bounded(400 * MiB) as group, trio.fail_after(PATIENCE):
        async with serving_within(group, tmp_path, memory="60MiB") as (client, seen, _):
            got = await client.chat("huge", max_tokens=1)
            assert (got.status, got.error["code"]) == (503, "model_failed")
            assert "the system ran out of memory" in got.error["message"]
            assert "second try" in got.error["message"]
            assert group.oom_kills == 2
            await ask(client, 1, "tiny")
            assert seen.unloads["failed"] == 2
            told = (await client.get("/memory/huge")).json
            assert told["state"] == "failed"
            assert [each["what"] for each in told["history"]] == ["unload", "unload", "fail"]
