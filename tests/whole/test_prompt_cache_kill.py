"""llmsup killed while a real engine saves or restores a conversation: the next one answers as if nothing had been."""

from __future__ import annotations

import json
import signal
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest
from own_server import KEY, PATIENCE, OwnServer, own_server
from real_engines import smollm2

DIES = """
import os, signal, sys
import trio
import trio.testing
from llmsup.cli import main
from llmsup.prompt_cache.slots import Slots

action = sys.argv.pop(1)
ask = getattr(Slots, action)

async def dies(self, slot, name):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, self, slot, name)
        await trio.testing.wait_all_tasks_blocked()  # the engine was asked
        os.kill(os.getpid(), signal.SIGKILL)

setattr(Slots, action, dies)
main()
"""
"""A llmsup that is killed in the middle of the first save or restore."""

FIRST = [{"role": "user", "content": "Stone 1 is red. Stone 2 is blue. Stone 3 is grey. Which is red?"}]
MIN = 20


def post(server: OwnServer, path: str, **body: Any) -> Any:
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {KEY}"})
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        return json.loads(data)
    finally:
        connection.close()


def turn(server: OwnServer, messages: list[dict[str, str]]) -> tuple[str, int]:
    """One more answer: its text, and how many tokens of the prompt had not to be computed."""
    told = post(
        server, "/v1/chat/completions", model="chat", messages=messages, max_tokens=4, temperature=0, seed=1
    )  # fmt: skip
    return told["choices"][0]["message"]["content"], told["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_kill_9_while_restoring_and_while_saving(tmp_path: Path) -> None:
    """One state_dir, four llmsups: what the first saved outlives the two that are killed, and is right."""
    chat = {"path": str(smollm2()), "engine": "bundled", "ctx_size": 1024, "threads": 1}
    config: dict[str, Any] = {"models": {"chat": chat}, "prompt_cache": {"min_tokens": MIN}}
    cache = tmp_path / "state" / "prompt-cache"

    def dies(action: str) -> Any:
        return own_server(tmp_path, program=("-c", DIES, action), **config)

    def whole() -> int:
        """How many conversations are kept; no file is there without the others of its own."""
        names = sorted(path.name for path in (cache / "saved").iterdir())
        assert len(names) == 3 * len({name.partition(".")[0] for name in names}), names
        return len(names) // 3

    with own_server(tmp_path, **config) as server:
        answer, _ = turn(server, FIRST)
        more = {"role": "assistant", "content": answer}, {"role": "user", "content": "And which is blue?"}
        turn(server, [*FIRST, *more])
        right, _ = turn(server, [*FIRST, *more])
    assert whole() == 1
    with dies("restore") as server:
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            turn(server, [*FIRST, *more])
        assert server.process.wait(PATIENCE) == -signal.SIGKILL
    with dies("save") as server:
        text, cached = turn(server, [*FIRST, *more])
        assert text == right
        assert cached > MIN
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            post(server, "/models/unload", model="chat")
        assert server.process.wait(PATIENCE) == -signal.SIGKILL
    with own_server(tmp_path, **config) as server:
        text, cached = turn(server, [*FIRST, *more])
        assert text == right
        assert cached > MIN
        assert whole() == 1
        assert len(list((cache / "engines").iterdir())) == 1, "of the engine that runs"
    assert whole() == 1
    assert not list((cache / "engines").iterdir())
