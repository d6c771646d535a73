"""`/history` and `/requests` of a whole llmsup with fake engines."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from described import as_described
from serving import Served, fake, serving

from llmsup.config.keys import hash_of
from llmsup.config.schema import Bridge, Config, History, KeySpec, ModelSpec, Server
from llmsup.units import NEVER, Seconds

FIELDS = {"id", "at", "model", "client", "path", "status", "waited_s", "first_token_s", "took_s", "tokens_in"}
FIELDS |= {"tokens_cached", "tokens_out", "tokens_per_s", "error", "captured"}


def config(state: Path, *models: ModelSpec, keep: float = 7 * 86400) -> Config:
    server = Server(state_dir=state, shutdown_grace=Seconds(1))
    return Config(
        models={each.name: each for each in models},
        server=server,
        bridge=Bridge(every=NEVER),
        history=History(keep=Seconds(keep)),
    )


def written(state: Path) -> list[bytes]:
    """What the history's files hold."""
    return [path.read_bytes() for path in state.glob("history*")]


async def past(served: Served, query: str = "") -> Any:
    return as_described("/history", await served.client.get(f"/history{query}"))


async def requests(served: Served, query: str = "") -> Any:
    return as_described("/requests", await served.client.get(f"/requests{query}"))["requests"]


async def test_what_was_is_there_after_a_restart(tmp_path: Path) -> None:
    """Loads and unloads, memory, requests by the minute and one by one; of the second run, too."""
    models = (fake("m"), fake("n", "--tokens", 5))
    async with serving(config=config(tmp_path, *models)) as served:
        got = await served.client.chat("m")
        assert got.status == 200, got.body
        async with served.client.stream("n") as parts:
            assert b"".join([part async for part in parts]).endswith(b"[DONE]\n\n")
        await served.client.post("/models/unload", model="m")
        told = await past(served)
        assert [(each["event"], each["model"]) for each in told["happened"]] == [
            ("load", "m"),
            ("load", "n"),
            ("unload", "m"),
        ]
        assert told["happened"][0]["decision"]["decision"] == "admit"
        assert told["happened"][2]["reason"].startswith("m was unloaded: asked for over the API")
        assert any({"m", "n"} <= each["models"].keys() for each in told["samples"])
        assert told["samples"][-1]["models"].keys() == {"n"}
        assert told["samples"][-1]["pressure"] == "normal"
        assert sum(each["count"] for each in told["requests"]) == 2
        rows = await requests(served)
        assert [row["model"] for row in rows] == ["n", "m"]
        assert rows[0].keys() == FIELDS
        assert (rows[0]["status"], rows[0]["path"], rows[0]["client"]) == (200, "/v1/chat/completions", "127.0.0.1")
        assert 0 < rows[0]["waited_s"] <= rows[0]["first_token_s"] <= rows[0]["took_s"]
        assert [row["model"] for row in await requests(served, "?model=m")] == ["m"]
        assert [row["model"] for row in await requests(served, "?n=1")] == ["n"]
    async with serving(config=config(tmp_path, *models)) as served:
        assert await requests(served) == rows
        assert (await served.client.chat("m")).status == 200
        both = await requests(served)
        assert both[1:] == rows
        assert both[0]["id"] not in {row["id"] for row in rows}
        told = await past(served, "?hours=1")
        events = [(each["event"], each["model"]) for each in told["happened"]]
        assert events[-2:] == [("unload", "n"), ("load", "m")], "the stop of the first run is told, too"
        assert sum(each["count"] for each in told["requests"]) == 3
        assert told["to"] - told["from"] == pytest.approx(3600)


async def test_errors_are_told(tmp_path: Path) -> None:
    """A request that gets none of its answer counts as an error, with why in a word."""
    dies = fake("dies", "--exit-after", 0, "--exit-code", 3)
    async with serving(config=config(tmp_path, dies)) as served:
        assert (await served.client.chat("dies")).status == 503
        (row,) = await requests(served)
        assert (row["status"], row["error"]) == (503, "model_failed")
        told = await past(served)
        assert [(each["count"], each["errors"]) for each in told["requests"] if each["count"]] == [(1, 1)]
        assert told["happened"][-1]["event"] == "fail"


async def test_it_can_be_off(tmp_path: Path) -> None:
    """Then nothing is written; the requests of this run are there."""
    async with serving(config=config(tmp_path, fake("m"), keep=0)) as served:
        await served.client.chat("m")
        told = await past(served)
        assert (told["keep_s"], told["happened"], told["requests"]) == (0, [], [])
        assert told["samples"][-1]["models"].keys() == {"m"}
        assert len(await requests(served)) == 1
    assert written(tmp_path) == []


async def test_what_was_asked_and_answered(tmp_path: Path) -> None:
    """Of the model that says so only, in memory only."""
    models = (fake("open", capture=True), fake("closed"))
    async with serving(config=config(tmp_path, *models)) as served:
        for name in ("open", "closed"):
            await served.client.chat(name, marker="XYZZY")
        closed, opened = await requests(served)
        assert (opened["captured"], closed["captured"]) == (True, False)
        whole = as_described("/requests/{id}", await served.client.get(f"/requests/{opened['id']}"))
        assert "XYZZY" in whole["request"]
        assert '"choices"' in whole["answer"]
        assert {**whole, **opened} == whole
        for id_ in (closed["id"], "1", "nothing-1"):
            got = await served.client.get(f"/requests/{id_}")
            assert (got.status, got.error["code"]) == (404, "not_found")
            assert "capture = true" in got.error["message"]
    (data,) = written(tmp_path)
    assert b"XYZZY" not in data
    async with serving(config=config(tmp_path, *models)) as served:
        assert not any(row["captured"] for row in await requests(served))


async def test_two_servers_with_one_state_dir(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each tells of its own; the second one says that it remembers in memory only."""
    async with serving(config=config(tmp_path, fake("m"))) as first:
        await first.client.chat("m")
        assert len(await requests(first)) == 1
        async with serving(config=config(tmp_path, fake("n"))) as second:
            await second.client.chat("n")
            assert [row["model"] for row in await requests(second)] == ["n"]
            assert [each["model"] for each in (await past(second))["happened"]] == ["n"]
        assert [row["model"] for row in await requests(first)] == ["m"]
    assert caplog.text.count("this one remembers in memory") == 1


async def test_keys_without_admin_see_none_of_it(tmp_path: Path) -> None:
    """It names clients and models."""
    keys = {"k": KeySpec(name="k", hash=hash_of("sk-k"))}
    async with serving(config=evolve(config(tmp_path, fake("m")), keys=keys)) as served:
        for path in ("/history", "/requests", "/requests/1-1"):
            got = await served.client.ask("GET", path, headers=[(b"x-api-key", b"sk-k")])
            assert got.status == 403, path


async def test_it_follows_the_config(tmp_path: Path) -> None:
    """Switched off and on again by a reload; what was before is there."""
    on = config(tmp_path, fake("m"))
    off = evolve(on, history=History(keep=Seconds(0)))
    said = [off, on]
    async with serving(config=on, reread=lambda: said.pop(0)) as served:
        await served.client.chat("m")
        assert (await past(served))["happened"]
        assert (await served.client.post("/reload-config")).json["settings"] == ["history.keep"]
        assert (await past(served))["happened"] == []
        await served.client.post("/models/unload", model="m")
        await served.client.post("/reload-config")
        await served.client.chat("m")
        assert [each["event"] for each in (await past(served))["happened"]] == ["load", "load"]
        assert len(await requests(served)) == 2


@pytest.mark.parametrize("query", ["history?hours=x", "history?hours=-1", "history?hours=nan", "requests?n=0"])
async def test_bad_queries(query: str, tmp_path: Path) -> None:
    async with serving(config=config(tmp_path)) as served:
        got = await served.client.get(f"/{query}")
        assert (got.status, got.error["code"]) == (400, "invalid_request")


async def test_a_damaged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is renamed, and history begins anew; models are served."""
    (tmp_path / "history.sqlite").write_bytes(b"this is no database" * 300)
    async with serving(config=config(tmp_path, fake("m"))) as served:
        assert (await served.client.chat("m")).status == 200
        assert len(await requests(served)) == 1
    assert (tmp_path / "history.sqlite.damaged").read_bytes().startswith(b"this is no database")
    assert caplog.text.count("begins anew") == 1
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM requests").fetchone() == (1,)
