"""The config and the disk change under a running llmsup; engines are fakes, files and HTTP are real."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from changing import Setting, reload
from event_stream import following
from serving import PATIENCE, Served

from llmsup.catalog.found import Stamp, Unreadable
from llmsup.catalog.gguf.facts import Facts
from llmsup.catalog.gguf.header_cache import HeaderCache
from llmsup.cli.why import state_lines
from llmsup.fleet.model.states import State
from llmsup.units import Seconds

SLOW = "['--tokens', '200', '--tps', '100']"  # two seconds for an answer


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


async def pid(served: Served, model: str) -> int | None:
    return next((e["pid"] for e in (await served.client.get("/running")).json if e["model"] == model), None)


def hold(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[trio.Event, trio.Event]:
    """Have a file's header read only once the first event is set; the second tells that it is the file's turn."""
    read, gate, arrived = HeaderCache.read, trio.Event(), trio.Event()

    def slow(self: HeaderCache, stamp: Stamp) -> Facts | Unreadable:
        if stamp.path.name == name:
            trio.from_thread.run_sync(arrived.set)
            trio.from_thread.run(gate.wait)
        return read(self, stamp)

    monkeypatch.setattr(HeaderCache, "read", slow)
    return gate, arrived


async def test_files_come_and_go(setting: Setting) -> None:
    """A model is on the API once its file is there, and gone once it isn't."""
    setting.add("pub/a/a")
    async with setting.serving() as served:
        assert (await served.client.chat("pub/a")).status == 200
        first = await pid(served, "pub/a")
        setting.add("pub/b/b")
        done = await reload(served)
        assert done == {"added": ["pub/b"], "removed": [], "changed": [], "unchanged": ["pub/a"], "refused": {},
                        "settings": done["settings"], "restart_needed": []}  # fmt: skip
        assert (await served.client.chat("pub/b")).status == 200
        (setting.models / "pub/b/b.gguf").unlink()
        assert (await reload(served))["removed"] == ["pub/b"]
        gone = await served.client.chat("pub/b")
        assert (gone.status, gone.error["code"]) == (404, "model_not_found")
        assert await pid(served, "pub/a") == first, "the model that stayed the same was touched"


@pytest.mark.slow
async def test_a_file_that_was_replaced_under_a_running_model(setting: Setting) -> None:
    """Who is served by the old one stays served; who comes after gets the new one."""
    setting.write(args=SLOW)
    setting.add("pub/a/a")
    async with setting.serving() as served:
        async with served.client.stream("pub/a") as pieces:
            await anext(pieces)
            old = await pid(served, "pub/a")
            setting.add("pub/a/a", name="Another")
            assert (await reload(served))["changed"] == ["pub/a"]
            assert served.model("pub/a").state is State.DRAINING
            rest = b"".join([piece async for piece in pieces])
        assert rest.endswith(b"data: [DONE]\n\n")
        assert (await served.client.post("/tokenize", model="pub/a", content="x")).status == 200
        assert await pid(served, "pub/a") != old


async def test_a_file_that_was_moved_under_a_running_model(setting: Setting) -> None:
    """It has another name, and is the same model: its engine stays, idle or not."""
    setting.add("b")
    async with setting.serving() as served:
        assert (await served.client.chat("b")).status == 200
        old = await pid(served, "b")
        (setting.models / "b.gguf").rename(setting.models / "c.gguf")
        done = await reload(served)
        assert (done["added"], done["removed"]) == (["c"], ["b"])
        assert await pid(served, "c") == old
        assert (await served.client.chat("c")).status == 200
        assert await pid(served, "c") == old


async def test_why_tells_that_a_model_is_on_its_way_out(setting: Setting) -> None:
    """Its file is gone, and somebody is still served by it."""
    setting.write(args=SLOW)
    path = setting.add("b")
    async with setting.serving() as served, served.client.stream("b") as pieces:
        await anext(pieces)
        path.unlink()
        await reload(served)
        (running,) = (await served.client.get("/running")).json
        why = (await served.client.get("/memory/b")).json
        assert running["state"] == why["state"] == "draining"
        assert next(state_lines(why, 0)) == "b is draining: it is no longer in the config or on the disk."


@pytest.mark.slow
async def test_unchanged_models_keep_their_requests(setting: Setting) -> None:
    """A stream goes on through a reload that changes everything else."""
    a = f"[models.a]\npath = 'a.gguf'\nargs = {SLOW}\n"
    setting.write(f"{a}[models.b]\npath = 'b.gguf'\n")
    setting.add("a")
    setting.add("b")
    async with setting.serving() as served, served.client.stream("a") as pieces:
        await anext(pieces)
        assert (await served.client.chat("b")).status == 200
        old = await pid(served, "b")
        setting.write(
            f"{a}ttl = '5m'\n[models.b]\npath = 'b.gguf'\nargs = ['--tokens', '3']\n[models.c]\npath = 'a.gguf'\n"
        )
        done = await reload(served)
        assert (done["added"], done["changed"], done["removed"]) == (["c"], ["a", "b"], [])
        assert served.model("a").state is State.READY
        assert served.model("a").spec.ttl == Seconds(300)
        assert (await served.client.chat("b")).json["usage"]["completion_tokens"] == 3
        assert await pid(served, "b") != old
        assert b"".join([piece async for piece in pieces]).endswith(b"data: [DONE]\n\n")
        assert served.model("a").crashes == 0


@pytest.mark.slow
@pytest.mark.road("fast")
async def test_a_config_that_is_saved(setting: Setting) -> None:
    """Is applied if it can be; else that is told wherever somebody may look, until it is mended."""
    setting.add("a")
    async with setting.serving(watched=True) as served, following(served) as follower:
        setting.write("[models.b]\npath = 'a.gguf'\n")
        told = await follower.until("config")
        assert told[-1].data["applied"]
        assert "added: b" in told[-1].data["reason"]
        assert (await served.client.chat("b")).status == 200
        first = await pid(served, "b")
        good = setting.file.read_text()
        setting.file.write_text("[server]\nlisten = 'nowhere'\n[defaults]\nttl = 'long'\n")
        told = await follower.until("config")
        assert not told[-1].data["applied"]
        assert len(told[-1].data["mistakes"]) == 2
        state = (await served.client.get("/reload-config")).json
        assert (state["file"], state["watched"]) == (str(setting.file), True)
        assert state["mistakes"] == told[-1].data["mistakes"]
        assert any("config" in problem for problem in (await served.client.get("/health")).json["problems"])
        assert (await served.client.chat("b")).status == 200
        setting.file.write_text(good)
        assert (await follower.until("config"))[-1].data["applied"]
        assert (await served.client.get("/reload-config")).json["problem"] is None
        assert "problems" not in (await served.client.get("/health")).json
        assert await pid(served, "b") == first


async def test_a_look_at_the_disk_does_not_fail_for_a_bad_config(setting: Setting) -> None:
    """Though one scan answers both who asked for a look and who asked for a reload."""
    setting.add("a")
    async with setting.serving() as served:
        setting.file.write_text("[server]\nlisten = 'nowhere'\n")
        reconciler = served.tree.reconciler
        assert reconciler is not None
        setting.add("b")
        async with trio.open_nursery() as nursery:
            reconciler.reload_soon()
            nursery.start_soon(reconciler.rescan)  # raises if it fails
        assert (await served.client.chat("b")).status == 200


async def test_a_config_with_mistakes_changes_nothing(setting: Setting) -> None:
    """All of them are told, each with its place."""
    setting.add("a")
    async with setting.serving() as served:
        assert (await served.client.chat("a")).status == 200
        first = await pid(served, "a")
        setting.file.write_text("[server]\nlisten = 'nowhere'\n[defaults]\nttl = 'long'\n[models.a]\nkey = 1\n")
        answer = await served.client.post("/reload-config")
        assert answer.status == 422
        assert answer.error["code"] == "invalid_config"
        assert len(answer.error["mistakes"]) == 3
        assert answer.error["mistakes"][1].endswith(f"@ {setting.file}: defaults.ttl")
        setting.file.unlink()
        answer = await served.client.post("/reload-config")
        assert (answer.status, answer.error["code"]) == (500, "setup_error")
        assert str(setting.file) in answer.error["message"]
        assert (await served.client.chat("a")).status == 200
        assert await pid(served, "a") == first


async def test_server_settings(setting: Setting) -> None:
    """Keys, limits and the default model apply at once; the address is told to need a restart."""
    setting.add("a")
    async with setting.serving() as served:
        setting.write(server="default_model = 'a'\napi_keys = ['new-key']\nmax_body = 2000\nlisten = '127.0.0.1:1'")
        done = await reload(served)
        assert done["restart_needed"] == ["server.listen"]
        assert {"server.api_keys", "server.default_model", "server.max_body"} <= {*done["settings"]}
        assert "server.listen" not in done["settings"]
        assert (await served.client.chat("a")).status == 401
        key = [(b"authorization", b"Bearer new-key")]
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert (await served.client.ask("POST", "/v1/chat/completions", body, key)).status == 200
        large = {"messages": [], "x": "y" * 3000}
        assert (await served.client.ask("POST", "/v1/chat/completions", large, key)).status == 413
        assert (await served.client.ask("POST", "/models/load", large, key)).status == 413


async def test_files_are_looked_for_by_themselves(setting: Setting) -> None:
    """Every `rescan`, without anybody asking."""
    setting.write(rescan="50ms")
    async with setting.serving() as served:
        assert (await served.client.get("/v1/models")).json["data"] == []
        setting.add("a")
        with trio.fail_after(PATIENCE):
            await served.fleet.until(lambda: "a" in served.fleet.models)
        assert (await served.client.chat("a")).status == 200


async def test_what_was_kept_and_is_damaged(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each file, and for each that can't be written, however often the disk is looked at."""
    state = setting.models.parent / "state"
    state.mkdir()
    (state / "headers.json").write_text("{")
    (state / "ids.json").mkdir()
    setting.add("a")
    async with setting.serving() as served:
        await reload(served)
        await reload(served)
    said = [record.getMessage() for record in caplog.records if "json" in record.getMessage()]
    assert sum("headers.json is damaged; the models' files are read again" in line for line in said) == 1
    assert sum("ids.json can't be read (Is a directory); the models' ids are" in line for line in said) == 1
    assert sum("the models' ids can't be kept in" in line for line in said) == 1


async def test_what_a_model_is_stands_in_the_list(setting: Setting) -> None:
    """Kind, context, size and what it would take are read from the file."""
    path = setting.add("pub/m/m-Q4_K_M")
    setting.add("pub/lora/lora", **{"general.type": "adapter", "adapter.type": "lora"})
    async with setting.serving() as served:
        (entry,) = (await served.client.get("/v1/models")).json["data"]
        assert entry["id"] == "pub/m"
        assert entry["kind"] == "chat"
        assert entry["context_length"] == 4096
        assert entry["quantization"] == "Q4_K_M"
        assert entry["size_bytes"] == path.stat().st_size
        assert entry["memory"]["kv_bytes"] == 2 * 4096 * (64 + 64) * 2 * 2  # layers, cells, K and V, heads, F16
        assert entry["memory"]["total_bytes"] == sum(
            size for part, size in entry["memory"].items() if part != "total_bytes"
        )
        assert entry["fits"] is True
        catalog = (await served.client.get("/catalog")).json
        assert catalog["complete"] is True
        assert [left["reason"] for left in catalog["left_out"]] == ["a LoRA adapter"]


async def test_what_is_listed_but_cannot_be_served(setting: Setting) -> None:
    """A request for it gets the reason at once."""
    setting.add("pub/m/m-00001-of-00002", **{"split.no": 0, "split.count": 2})
    async with setting.serving() as served:
        (entry,) = (await served.client.get("/v1/models")).json["data"]
        assert entry["status"]["value"] == "failed"
        assert "part 2 of 2 is missing" in entry["status"]["error"]
        answer = await served.client.chat("pub/m")
        assert (answer.status, answer.error["code"]) == (503, "model_failed")
        assert "part 2 of 2 is missing" in answer.error["message"]


async def test_what_is_not_read_again_yet_is_not_gone(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a look goes on, models that it has not come to yet stay, with their engines."""
    setting.add("pub/a/a")
    async with setting.serving() as served, trio.open_nursery() as nursery:
        assert (await served.client.chat("pub/a")).status == 200
        before = await pid(served, "pub/a")
        gate, arrived = hold(monkeypatch, "b.gguf")
        setting.add("pub/a/b")  # in the same folder: seen together, both would have another name
        nursery.start_soon(reload, served)
        with trio.fail_after(PATIENCE):
            await arrived.wait()
        assert await pid(served, "pub/a") == before
        assert (await served.client.chat("pub/a")).status == 200
        gate.set()
        with trio.fail_after(PATIENCE):
            await served.fleet.until(lambda: len(served.fleet.models) == 2)
        assert set(served.fleet.models) == {"pub/a", "pub/a@b"}, "an id stays while it is one of the file's names"
        assert await pid(served, "pub/a") == before
        assert (await served.client.chat("pub/a@a")).status == 200
        assert await pid(served, "pub/a") == before


async def test_a_model_that_does_not_fit_is_told(setting: Setting) -> None:
    """It is listed, and marked."""
    setting.add("pub/a/a")
    setting.file.write_text(setting.file.read_text() + "\n[memory]\nlimit = '1MiB'\n")
    async with setting.serving() as served:
        (entry,) = (await served.client.get("/v1/models")).json["data"]
        assert entry["fits"] is False
        assert entry["memory"]["total_bytes"] > 2**20


@pytest.mark.slow
async def test_a_first_look_that_takes_long(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """While files are read, what is known is served, and who asks for what isn't waits for it."""
    gate, arrived = hold(monkeypatch, "late.gguf")
    setting.write("[models.mine]\npath = 'mine.gguf'\n")
    setting.add("mine")
    setting.add("pub/late/late")
    async with setting.serving() as served, trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            await arrived.wait()
        assert (await served.client.chat("mine")).status == 200
        assert not (await served.client.get("/catalog")).json["complete"]
        answers: list[int] = []

        async def ask(model: str) -> None:
            answers.append((await served.client.chat(model)).status)

        nursery.start_soon(ask, "pub/late")
        nursery.start_soon(ask, "nobody")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert answers == []
        gate.set()
        with trio.fail_after(PATIENCE):
            await served.fleet.until(lambda: served.fleet.complete)
    assert sorted(answers) == [200, 404]
