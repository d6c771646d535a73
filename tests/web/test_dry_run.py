"""What a load would come to, before it is done: `POST /models/load?dry_run=1` and `llmsup load --dry-run`."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from click.testing import CliRunner
from described import as_described
from serving import Served, fake, serving

from llmsup.cli import main
from llmsup.config.schema import Bridge, Config, GiB, Memory, Server
from llmsup.units import NEVER, Bytes, Seconds

ROOM = Memory(limit=Bytes(2 * GiB), reserve=Bytes(0))


def config(**memory: float) -> Config:
    """Models that declare so many GiB, where all together may have two."""
    models = {name: fake(name, memory=Bytes(round(size * GiB))) for name, size in memory.items()}
    server = Server(shutdown_grace=Seconds(1))
    return Config(models=models, memory=ROOM, server=server, bridge=Bridge(every=NEVER))


async def would(served: Served, name: str) -> Any:
    got = await served.client.post("/models/load?dry_run=1", model=name)
    return as_described("/models/load", got, "post")


async def test_it_says_what_the_load_then_does() -> None:
    """Victims and all, by the same policy; and it changes nothing."""
    async with serving(config=config(a=1.5, b=1, huge=3)) as served:
        first = await would(served, "a")
        assert (first["would"], first["needs"], first["victims"]) == ("load", GiB * 3 // 2, [])
        assert first["free"] == 2 * GiB
        assert (await served.client.post("/models/load", model="a")).status == 200
        assert (await would(served, "a"))["would"] == "already_loaded"

        told = await would(served, "b")
        (victim,) = told["victims"]
        assert (told["would"], victim["model"], victim["frees"] > 0) == ("load", "a", True)
        assert told["free"] == GiB // 2
        assert told["sentence"].startswith("b would be loaded, and a unloaded for it: it needs 1.0 GiB, and 512 MiB is")
        assert "loading it again would take" in victim["reason"]
        assert served.model("a").state == "ready"
        assert served.model("b").state == "unloaded"
        memory = (await served.client.get("/memory")).json
        assert {each["model"] for each in memory["decisions"]} == {"a"}, "a rehearsal is no decision"

        lines = (await llmsup(served, "load", "--dry-run", "b")).splitlines()
        assert lines[0] == told["sentence"]
        assert lines[1].startswith("  a would give back ")
        assert '"victims"' in await llmsup(served, "load", "--dry-run", "--json", "b")

        never = await would(served, "huge")
        assert (never["would"], never["victims"]) == ("never_fits", [])
        assert "all models together may use 2.0 GiB" in await llmsup(served, "load", "--dry-run", "huge", code=1)

        assert (await served.client.post("/models/load", model="b")).status == 200
        decisions = (await served.client.get("/memory")).json["decisions"]
        done = next(each for each in decisions if each["model"] == "b" and each["decision"] == "evict")
        assert done["victims"] == told["decision"]["victims"]
        assert done["reason"].split(";")[0] == told["decision"]["reason"].split(";")[0]


async def test_where_nobody_may_go() -> None:
    """It would wait, and the sentence says why."""
    async with serving(config=config(a=1.5, b=1)) as served:
        await served.client.post("/models/load", model="a")
        served.model("a").queue.enter()  # a request that isn't over
        told = await would(served, "b")
        assert (told["would"], told["victims"]) == ("wait", [])
        assert told["sentence"].startswith("b would have to wait: it needs 1.0 GiB")


@pytest.mark.parametrize(("name", "code"), [("nosuch", "model_not_found"), ("gone", "model_failed")])
async def test_what_can_not_be_loaded(name: str, code: str) -> None:
    """The same error as the load itself would get."""
    gone = fake("gone", path="/nowhere/x.gguf", command=())
    async with serving(gone) as served:
        told = [await served.client.post(f"/models/load{query}", model=name) for query in ("", "?dry_run=1")]
        assert {each.error["code"] for each in told} == {code}


async def test_in_a_pause_it_gets_what_the_load_gets() -> None:
    async with serving(config=config(a=1)) as served:
        await served.client.post("/pause")
        told = [await served.client.post(f"/models/load{query}", model="a") for query in ("", "?dry_run=1")]
        assert [each.status for each in told] == [503, 503]
        assert told[0].error == told[1].error
        assert "llmsup is paused" in told[1].error["message"]
        await served.client.post("/resume")
        assert (await would(served, "a"))["would"] == "load"


async def llmsup(served: Served, *words: str, code: int = 0) -> str:
    """What a command prints, and the exit code that it has to have."""
    url = f"http://127.0.0.1:{served.client.port}"
    done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, [*words, "--url", url]))
    assert done.exit_code == code, done.output
    return done.output
