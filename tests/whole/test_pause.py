"""llmsup gets out of the way and comes back; engines are fakes, HTTP is real."""

from __future__ import annotations

import json

import click
import pytest
import trio
from click.testing import CliRunner
from described import as_described
from event_stream import following
from serving import PATIENCE, Served, fake, serving

from llmsup.cli import main
from llmsup.cli.ps import command as ps
from llmsup.fleet.pause import Pause
from llmsup.fleet.pausing import Pausing


def paused(served: Served) -> Pause:
    assert served.fleet.paused is not None
    return served.fleet.paused


async def command(served: Served, name: click.Command, *words: str) -> str:
    """What a command prints that talks to this server."""
    url = f"http://127.0.0.1:{served.client.port}"
    result = await trio.to_thread.run_sync(lambda: CliRunner().invoke(name, [*words, "--url", url]))
    assert result.exit_code == 0, result.output
    return result.output


async def test_all_are_unloaded_and_requests_are_told_why() -> None:
    """Until it is resumed: then the next request loads its model again."""
    async with serving(fake("m"), fake("n")) as served, following(served) as follower:
        client = served.client
        assert (await client.chat("m")).status == 200
        done = as_described("/pause", await client.post("/pause"), "post")
        assert (done["models"], done["paused"]["until"]) == (["m"], None)
        assert not served.fleet.running()
        for path in ("/v1/chat/completions", "/models/load", "/api/chat"):
            refused = await client.post(path, model="n", messages=[])
            assert (refused.status, refused.headers["retry-after"]) == (503, "60"), path
            assert b"llmsup is paused" in refused.body
            assert b"`llmsup resume` ends that" in refused.body
        assert refused.headers["x-should-retry"] == "true"
        for at in ("/pause", "/memory", "/running?format=llama-swap"):
            told = as_described(at.partition("?")[0], await client.get(at))
            assert told["paused"]["reason"] == "llmsup is paused (llmsup pause)", at
        assert "llmsup_paused 1.0" in (await client.get("/metrics")).body.decode()
        assert any("paused" in each for each in as_described("/health", await client.get("/health"))["problems"])
        assert as_described("/resume", await client.post("/resume"), "post")["ended"]["program"] is None
        assert as_described("/resume", await client.post("/resume"), "post")["ended"] is None
        assert as_described("/pause", await client.get("/pause"))["paused"] is None
        assert "llmsup_paused 0.0" in (await client.get("/metrics")).body.decode()
        assert (await client.chat("n")).status == 200
        told = await follower.until("pause", paused=False)
        assert [event.data["paused"] for event in told if event.kind == "pause"] == [True, False]
        [unload] = [event.data["reason"] for event in told if event.kind == "unload"]
        assert unload == "m was unloaded: for a pause (llmsup pause)."


@pytest.mark.slow
async def test_requests_in_flight_finish_and_those_that_wait_do_not() -> None:
    """And `force` doesn't wait for the former."""
    model = fake("m", "--tokens", 100, "--tps", 100, max_in_flight=1)
    async with serving(model) as served, trio.open_nursery() as nursery:
        async with served.client.stream("m") as pieces:
            await anext(pieces)
            waiting: list[int] = []

            async def wait() -> None:
                answer = await served.client.chat("m")
                assert b"llmsup is paused" in answer.body
                waiting.append(answer.status)

            nursery.start_soon(wait)
            await served.until("m", lambda m: m.queue.waiting)
            nursery.start_soon(served.client.post, "/pause")
            assert b"".join([piece async for piece in pieces]).endswith(b"data: [DONE]\n\n")
        await served.until("m", lambda m: m.run is None)
        assert waiting == [503]
        await served.client.post("/resume")
        async with served.client.stream("m") as pieces:
            await anext(pieces)
            with trio.fail_after(PATIENCE):
                assert (await served.client.post("/pause", force=True)).status == 200
            assert b"unloading" in b"".join([piece async for piece in pieces])


async def test_it_ends_by_itself() -> None:
    """After the time that was asked for; a request that comes meanwhile is told how long that is."""
    async with serving(fake("m")) as served:
        assert (await served.client.post("/pause", **{"for": 3600})).json["paused"]["until"] is not None
        assert 3590 < int((await served.client.chat("m")).headers["retry-after"]) <= 3600
        assert "for 60 m" in paused(served).reason or "for 1 h" in paused(served).reason
        await served.client.post("/pause", **{"for": "100ms"})
        with trio.fail_after(PATIENCE):
            await served.fleet.until(lambda: served.fleet.paused is None)
        assert (await served.client.chat("m")).status == 200


@pytest.mark.parametrize("value", [0, -1, True, "soon", [], "", "0s", {}, "99999999d", 10**40])
async def test_no_time(value: object) -> None:
    """It is refused, and nothing is paused."""
    async with serving(fake("m")) as served:
        answer = as_described("/pause", await served.client.post("/pause", **{"for": value}), "post")
        assert answer["error"]["param"] == "for"
        assert served.fleet.paused is None


async def test_what_was_to_stay_loaded_comes_back() -> None:
    """What is pinned or preloaded, if it was there; not while the pause lasts."""
    models = (fake("kept", pinned=True), fake("first", preload=True), fake("away", pinned=True), fake("m"))
    async with serving(*models) as served:
        await served.until("first", lambda m: m.state == "ready")
        assert (await served.client.chat("kept")).status == 200
        assert (await served.client.chat("m")).status == 200
        await served.client.post("/pause")
        assert not served.fleet.running()
        await served.client.post("/pause", **{"for": "1h"})  # said once more: nothing is forgotten
        await served.client.post("/resume")
        for name in ("kept", "first"):
            await served.until(name, lambda m: m.state == "ready")
        assert {model.spec.name for model in served.fleet.running()} == {"kept", "first"}


async def test_a_program_that_llmsup_makes_way_for() -> None:
    """It says which; a pause that somebody asks for meanwhile lasts longer; `resume` is for that run of the program."""
    async with serving(fake("m")) as served, trio.open_nursery() as nursery:
        pausing = Pausing(served.fleet)
        await nursery.start(pausing.run)
        assert (await served.client.chat("m")).status == 200
        pausing.runs("Final Cut Pro")
        await served.until("m", lambda m: m.run is None)
        assert "llmsup is paused while Final Cut Pro runs" in (await served.client.chat("m")).error["message"]
        assert (await served.client.get("/pause")).json["paused"]["program"] == "Final Cut Pro"
        await pausing.pause()
        pausing.runs("")
        assert not paused(served).program
        pausing.resume()
        pausing.runs("Final Cut Pro")
        assert served.fleet.paused is not None
        pausing.resume()
        pausing.runs("Final Cut Pro")
        assert served.fleet.paused is None
        pausing.runs("")
        pausing.runs("Final Cut Pro")
        assert served.fleet.paused is not None
        pausing.runs("")
        assert (await served.client.chat("m")).status == 200
        nursery.cancel_scope.cancel()


async def test_the_commands() -> None:
    """What they print, and what `ps` says meanwhile."""
    async with serving(fake("m")) as served:
        assert (await served.client.chat("m")).status == 200
        said = await command(served, main, "pause", "--for", "1h")
        assert "llmsup is paused for " in said
        assert "1 model unloaded: " in said
        shown = await command(served, ps)
        assert "llmsup is paused for " in shown
        assert "No model is loaded" not in shown
        assert (await command(served, main, "resume")).startswith("Resumed after ")
        assert await command(served, main, "resume") == "The server is not paused.\n"
        assert json.loads(await command(served, main, "pause", "--json"))["success"]


@pytest.mark.parametrize("time", ["0", "soon", "-1h"])
def test_a_time_that_is_none(time: str) -> None:
    assert CliRunner().invoke(main, ["pause", f"--for={time}", "--url", "127.0.0.1:1"]).exit_code == 2
