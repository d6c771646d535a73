"""Engines that misbehave, seen by a client of a whole llmsup."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
import trio
from attrs import evolve
from serving import FAKE, PATIENCE, fake, recorded, serving, until_recorded

from llmsup.config.schema import ModelSpec, Server
from llmsup.engines import ports
from llmsup.engines.command import launch as command
from llmsup.engines.ports import free_port
from llmsup.fleet.engine import process_engine as engine
from llmsup.fleet.model import hanging
from llmsup.fleet.model.states import State
from llmsup.units import NEVER, Seconds


async def test_one_start_however_many_ask_and_all_are_answered(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(fake("m", "--load-time", 0.2, "--record", record)) as served:
        codes: list[int] = []

        async def ask() -> None:
            codes.append((await served.client.chat("m")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert codes == [200] * 20
        assert len(recorded(record, "start")) == 1


async def test_exits_at_once() -> None:
    """The model fails with the engine's words, at once; the rest serve."""
    bad = fake("bad", "--print", "error: the GPU is on fire", "--exit-code", 7, "--exit-after", 0)
    async with serving(bad, fake("good")) as served:
        got = await served.client.chat("bad")
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert "exited with code 7 before it was ready. It said: error: the GPU is on fire" in got.error["message"]
        assert "error: the GPU is on fire" in got.error["log_tail"]
        assert (got.headers["x-should-retry"], got.headers.get("retry-after")) == ("false", None)
        again = await served.client.chat("bad")
        assert again.error["code"] == "model_failed"
        assert (await served.client.chat("good")).status == 200
        entry = (await served.client.get("/v1/models/bad")).json
        assert entry["status"]["value"] == "failed"
        assert "on fire" in entry["status"]["error"]


async def test_waiting_does_not_cure_it(tmp_path: Path) -> None:
    """OpenAI's client, as it comes, doesn't wait and ask again: the engine would only exit once more."""
    record = tmp_path / "record"
    bad = fake("bad", "--exit-after", 0, "--exit-code", 7, "--record", record)
    async with serving(bad, server=Server(loading_comments=NEVER)) as served:

        def ask(stream: bool) -> None:
            url = f"http://127.0.0.1:{served.client.port}/v1"
            with openai.OpenAI(base_url=url, api_key="none", timeout=PATIENCE) as client:
                hello: Any = [{"role": "user", "content": "hi"}]
                with pytest.raises(openai.InternalServerError, match="exited with code 7") as caught:
                    client.chat.completions.create(model="bad", messages=hello, stream=stream)
                assert "retry-after" not in caught.value.response.headers

        await trio.to_thread.run_sync(ask, False)
        await trio.to_thread.run_sync(ask, True)
        assert len(recorded(record, "start")) == 1


async def test_what_the_one_before_said_is_not_quoted(tmp_path: Path) -> None:
    """A complaint of an earlier engine, whose end is told already, is none of this one's."""
    script = 'if [ ! -e "$0" ]; then touch "$0"; echo error: out of memory; exit 5; fi; echo bye; exit 6'
    spec = ModelSpec(name="m", command=("sh", "-c", script, str(tmp_path / "twice"), "${SOCKET}"))
    async with serving(spec) as served:
        got = await served.client.chat("m")
    assert got.status == 503
    assert "exited with code 6" in got.error["message"]
    assert got.error["message"].endswith("It said: bye")
    assert got.error["log_tail"][1:] == ["bye"]


async def test_its_port_is_taken_before_it_can_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It gets another one, at once, and nobody sees anything of it."""
    record = tmp_path / "record"
    spec = fake("m", "--record", record)
    spec = evolve(spec, command=(sys.executable, str(FAKE), "--port", "${PORT}", *spec.command[4:]))
    with socket.create_server(("127.0.0.1", 0)) as other:
        chosen = [other.getsockname()[1], other.getsockname()[1]]
        monkeypatch.setattr(command, "free_port", lambda: chosen.pop() if chosen else free_port())
        async with serving(spec) as served:
            assert (await served.client.chat("m")).status == 200
            assert served.model("m").crashes == 0
    assert len(recorded(record, "start")) == 3


async def test_all_its_ports_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That is a failure, which says so; another moment may be better."""
    record = tmp_path / "record"
    spec = fake("m", "--record", record)
    spec = evolve(spec, command=(sys.executable, str(FAKE), "--port", "${PORT}", *spec.command[4:]))
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(command, "free_port", lambda: other.getsockname()[1])
        async with serving(spec) as served:
            got = await served.client.chat("m")
    assert (got.status, got.error["code"]) == (503, "model_failed")
    assert "another program took its port. It said: OSError: " in got.error["message"]
    assert got.headers["x-should-retry"] == "true"
    assert "retry-after" in got.headers
    assert len(recorded(record, "start")) == ports.TRIED


async def test_exits_with_0_before_it_is_ready() -> None:
    """An exit code of 0 is no success if nothing ever answered."""
    async with serving(fake("m", "--load-time", 60, "--exit-after", 0.1)) as served:
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert "exited with code 0 before it was ready" in got.error["message"]


async def test_there_is_no_such_program() -> None:
    spec = ModelSpec(name="m", command=("no-such-engine-anywhere", "--port", "${PORT}"))
    async with serving(spec) as served:
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (503, "model_failed")
        assert "no-such-engine-anywhere" in got.error["message"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--never-ready", "--hang-health"])
async def test_never_gets_ready(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A load has an end, whether the engine says "not yet" for ever or hangs when asked."""
    monkeypatch.setattr(engine, "PATIENCE", 0.2)
    async with serving(fake("m", how, start_timeout=Seconds(1))) as served:
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (504, "load_timeout")
        assert "not ready after 1.0 s" in got.error["message"]
        assert ("answered 503" if how == "--never-ready" else "GET /health got no answer for 0.20 s") in got.error[
            "message"
        ]
        assert served.model("m").state is State.FAILED


async def test_shows_no_progress() -> None:
    async with serving(fake("m", "--never-ready", stall_timeout=Seconds(0.5))) as served:
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (504, "load_timeout")
        assert "no sign of progress" in got.error["message"]


@pytest.mark.slow
async def test_hangs_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A ready engine that stops answering is ended and, when wanted again, replaced."""
    monkeypatch.setattr(hanging, "PATIENCE", 0.1)
    monkeypatch.setattr(hanging, "HEALTH_EVERY", 0.05)
    record = tmp_path / "record"
    async with serving(fake("m", "--hang-health-after", 2, "--record", record)) as served:
        assert (await served.client.chat("m")).status == 200
        await served.until("m", lambda m: m.crashes)
        assert "hangs" in served.model("m").reason
        assert (await served.client.chat("m")).status == 200
        assert len(recorded(record, "start")) == 2


async def test_ignores_sigterm(tmp_path: Path) -> None:
    """TERM, TERM, KILL: it is gone within stop_grace."""
    record = tmp_path / "record"
    async with serving(fake("m", "--ignore-sigterm", "--record", record, stop_grace=Seconds(0.4))) as served:
        await served.client.chat("m")
        pid = recorded(record, "start")[0]["pid"]
        assert (await served.client.post("/models/unload", model="m")).json["success"] is True
        assert not psutil.pid_exists(pid)
        assert len(recorded(record, "sigterm")) >= 1


@pytest.mark.slow
async def test_has_a_grandchild_that_ignores_sigterm(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(fake("m", "--grandchild", "--record", record)) as served:
        await served.client.chat("m")
        grandchild = (await until_recorded(record, "grandchild"))[0]["pid"]
        assert psutil.pid_exists(grandchild)
        await served.client.post("/models/unload", model="m")
        assert not _alive(grandchild)


async def test_dies_before_the_first_byte_once(tmp_path: Path) -> None:
    """The request is sent to a fresh engine; the client sees nothing of it."""
    record = tmp_path / "record"
    spec = fake("m", "--die-before-first-byte", 1, "--once-file", tmp_path / "once", "--record", record)
    async with serving(spec) as served:
        assert (await served.client.chat("m")).status == 200
        assert len(recorded(record, "start")) == 2
        assert served.model("m").crashes == 1


async def test_dies_before_the_first_byte_always() -> None:
    """One retry, then the client is told, with the exit code."""
    async with serving(fake("m", "--die-before-first-byte", 1, "--print", "last words")) as served:
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (502, "engine_died")
        assert "exited with code 3" in got.error["message"]
        assert "last words" in got.error["log_tail"]
        await served.until("m", lambda m: m.crashes == 2)


async def test_dies_mid_stream() -> None:
    """Never a silent end: the stream ends with an error event."""
    async with serving(fake("m", "--die-after-chunks", 3, "--tokens", 10)) as served:
        async with served.client.stream("m") as pieces:
            text = b"".join([piece async for piece in pieces])
        assert text.count(b"data: ") == 4
        assert b'"code":"engine_died"' in text.split(b"data: ")[-1]
        assert b"exited with code 4" in text
        assert b"[DONE]" not in text


async def test_a_broken_anthropic_stream_ends_with_an_event_named_error() -> None:
    async with serving(fake("m", "--die-after-chunks", 1, "--tokens", 10)) as served:
        got = await served.client.post("/v1/messages", model="m", stream=True, messages=[])
        assert b'event: error\ndata: {"type":"error"' in got.body


async def test_floods_its_log(tmp_path: Path) -> None:
    """2 MB of log a request: answered all the same, nothing grows, and others are served meanwhile."""
    async with serving(fake("loud", "--flood", 1000), fake("m")) as served:
        for _ in range(3):
            assert (await served.client.chat("loud")).status == 200
            assert (await served.client.chat("m")).status == 200
        assert len(served.model("loud").book.tail()) <= 1000


async def test_closes_kept_alive_connections(tmp_path: Path) -> None:
    """An idle connection that the engine closed is replaced, and nobody notices."""
    record = tmp_path / "record"
    async with serving(fake("m", "--close-idle", "--record", record)) as served:
        for _ in range(10):
            assert (await served.client.chat("m")).status == 200
        assert len(recorded(record, "start")) == 1


async def test_answers_garbage() -> None:
    async with serving(fake("m", "--garbage"), fake("good")) as served:
        got = await served.client.chat("m")
        assert (got.status, got.error["code"]) == (502, "engine_bad_answer")
        assert (await served.client.chat("good")).status == 200


async def test_an_engines_own_errors_pass_through() -> None:
    """Status, headers and body are the engine's."""
    async with serving(fake("m")) as served:
        got = await served.client.get("/upstream/m/nothing-here")
        assert got.status == 404
        assert got.json["error"]["type"] == "not_found_error"


async def test_a_load_that_goes_on_tells_its_time_and_its_last_line() -> None:
    async with serving(fake("m", "--load-time", 60, "--print", "reading tensors")) as served:
        assert (await served.client.post("/models/load", model="m", wait=False)).json["success"] is True
        book = served.model("m").book
        with trio.fail_after(PATIENCE):
            await book.until(lambda: "reading tensors" in book.tail())
        status = (await served.client.get("/v1/models/m")).json["status"]
        assert status["value"] == "loading"
        assert status["seconds"] > 0
        assert status["last_line"]


async def test_crashes_while_idle_and_comes_back_when_asked(tmp_path: Path) -> None:
    record = tmp_path / "record"
    async with serving(fake("m", "--record", record)) as served:
        await served.client.chat("m")
        os.kill(recorded(record, "start")[0]["pid"], 9)
        await served.until("m", lambda m: m.crashes == 1)
        assert (await served.client.get("/running")).json == []
        assert (await served.client.chat("m")).status == 200
        running = (await served.client.get("/running")).json
        assert running[0]["restarts"] == 1


async def test_the_environment_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's env reaches it; a key for llama-server that happens to be set here does not."""
    monkeypatch.setenv("LLAMA_API_KEY", "secret")
    program = "import os,sys; print('KEY', os.environ.get('LLAMA_API_KEY'), os.environ.get('MINE')); sys.exit(1)"
    spec = ModelSpec(name="m", command=(sys.executable, "-c", program, "${PORT}"), env={"MINE": "yes"})
    async with serving(spec) as served:
        got = await served.client.chat("m")
        assert "KEY None yes" in got.error["log_tail"]


def _alive(pid: int) -> bool:
    """A zombie that its init hasn't reaped yet is dead enough."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
