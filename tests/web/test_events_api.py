"""GET /events: what happens, as it happens, over HTTP; engines are fakes."""

from __future__ import annotations

from contextlib import aclosing

import pytest
import trio
import trio.testing
from event_stream import Told, following
from serving import fake, serving

from llmsup.config.schema import Server
from llmsup.process.ring import Events
from llmsup.web.events import HEARTBEAT, _live


def states(told: list[Told], model: str) -> list[str]:
    return [event.data["state"] for event in told if event.kind == "model" and event.data["model"] == model]


async def test_a_models_life_is_told_in_order() -> None:
    """Every transition with its reason, the load with its seconds, the unload with its cause."""
    async with serving(fake("m")) as served, following(served) as follower:
        assert (await served.client.chat("m")).status == 200
        assert (await served.client.post("/models/unload", model="m")).status == 200
        told = await follower.until("model", state="unloaded")
        assert [event.id for event in told] == list(range(told[0].id, told[0].id + len(told)))
        assert states(told, "m") == ["waiting", "starting", "ready", "stopping", "unloaded"]
        kinds = [event.kind for event in told]
        assert kinds.index("load") > kinds.index("decision") > 0
        [load], [unload] = ([event for event in told if event.kind == kind] for kind in ("load", "unload"))
        assert load.data["model"] == "m"
        assert load.data["seconds"] > 0
        assert (unload.data["model"], unload.data["cause"]) == ("m", "asked")
        assert unload.data["reason"].startswith("m was unloaded: ")
        for event in told:
            assert event.data["at"] > 1.7e9
            if event.kind == "model":
                assert event.data["reason"]
                assert event.data["before"] != event.data["state"]


async def test_a_crash_is_told() -> None:
    """As an unload whose cause it is."""
    model = fake("m", "--exit-after-requests", 1, "--exit-code", 7)
    async with serving(model) as served, following(served) as follower:
        await served.client.chat("m")
        told = await follower.until("unload")
        assert told[-1].data["cause"] == "crashed"
        assert "exited with code 7" in told[-1].data["reason"]


async def test_who_comes_back_gets_what_it_missed() -> None:
    """By the number of the last event that it saw."""
    async with serving(fake("m")) as served:
        async with following(served) as follower:
            await served.client.chat("m")
            seen = (await follower.until("model", state="starting"))[-1]
        await served.until("m", lambda model: model.state == "ready")
        async with following(served, str(seen.id)) as follower:
            told = await follower.until("load")
            assert told[0].id == seen.id + 1
            assert states(told, "m") == ["ready"]


async def test_a_number_of_another_server() -> None:
    """llmsup was started again since: all that it has told since then is new to who comes back."""
    async with serving(fake("m")) as served:
        await served.client.chat("m")
        async with following(served, "123456") as follower:
            told = await follower.until("load")
            assert told[0].id == 1
            assert states(told, "m") == ["waiting", "starting", "ready"]


@pytest.mark.slow
@pytest.mark.parametrize("last", [None, "", "-1", "1e3", "x", "9" * 5000, "\u00b2", "0x1"])
async def test_no_number_is_from_now_on(last: str | None) -> None:
    """Nothing of before is told, and nothing fails."""
    async with serving(fake("m"), fake("n")) as served:
        await served.client.chat("m")
        async with following(served, last) as follower:
            await served.client.chat("n")
            told = await follower.until("load")
            assert {event.data["model"] for event in told} == {"n"}


async def test_it_ends_when_llmsup_does() -> None:
    """In order, after its last event; a follower keeps nobody waiting."""
    async with serving(fake("m")) as served, following(served) as follower:
        await served.client.chat("m")
        await follower.until("load")
        served.tree.stop()
        await follower.rest()
        assert follower.ended


async def test_followers_do_not_hinder_each_other() -> None:
    """One reads nothing at all; another gets everything, and so do requests."""
    async with serving(fake("m")) as served, following(served), following(served) as follower:
        for _ in range(3):
            await served.client.chat("m")
            await served.client.post("/models/unload", model="m")
        told = [event for _ in range(3) for event in await follower.until("unload")]
        assert states(told, "m").count("ready") == 3


async def test_what_a_model_is_called_stays_in_its_line() -> None:
    """JSON leaves no line end that could begin another event."""
    async with serving(fake("a\nevent: x\n\nb")) as served, following(served) as follower:
        served.fleet.load(served.model("a\nevent: x\n\nb"))
        told = await follower.until("load")
        assert {event.data["model"] for event in told} == {"a\nevent: x\n\nb"}


async def test_a_silence_is_filled(autojump_clock: trio.testing.MockClock) -> None:
    """With a comment now and then, so that nobody in between takes the connection for dead; it is no event."""
    events, parts = Events(), list[bytes]()
    async with aclosing(_live(events, 0)) as stream:
        parts.append(await anext(stream))
        with trio.fail_after(2.5 * HEARTBEAT):
            parts += [await anext(stream), await anext(stream)]
        events.write("load", model="m")
        parts.append(await anext(stream))
        events.close()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert parts[:3] == [b": events of llmsup\n\n", b": still here\n\n", b": still here\n\n"]
    assert parts[3].startswith(b"id: 1\nevent: load\ndata: {")


async def test_what_is_still_to_be_told_is_told_at_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """A stream doesn't end before its last event."""
    events = Events()
    events.write("load", model="m")
    events.close()
    async with aclosing(_live(events, 0)) as stream:
        parts = [part async for part in stream]
    assert [part.split(b"\n")[0] for part in parts] == [b": events of llmsup", b"id: 1"]


async def test_a_key_is_wanted() -> None:
    """Where there are keys: what happens is not everybody's business."""
    async with serving(fake("m"), server=Server(api_keys=("secret",))) as served:
        assert (await served.client.get("/events")).status == 401
