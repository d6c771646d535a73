"""What clients of llama-server and of its router look for in the list of models."""

from __future__ import annotations

import json
from pathlib import Path

import trio
from attrs import evolve
from gguf_files import tiny_llama
from serving import PATIENCE, fake, serving

from llmsup.config.schema import Bridge, Catalog, Config, ModelSpec
from llmsup.engines.command.kind import Command
from llmsup.engines.kind import Machine, Wanted
from llmsup.engines.kinds import KINDS
from llmsup.engines.launch import Launch
from llmsup.units import NEVER


class InTheProtocol(Command):
    """The fake engine, listened to as a llama-server is."""

    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        return evolve(await super().launch(wanted, program, socket, machine), tells_progress=True)


async def test_what_an_engine_tells_of_itself_is_told_while_it_is_loaded() -> None:
    """In llama-server's child protocol; nothing is asked for it."""
    async with serving(fake("m", "--progress"), kinds=evolve(KINDS, command=InTheProtocol())) as served:
        (entry,) = (await served.client.get("/models")).json["data"]
        assert (entry["tags"], entry["meta"]) == ([], {})
        await served.client.chat("m")
        (entry,) = (await served.client.get("/models")).json["data"]
        assert (entry["tags"], entry["meta"]) == (["fake"], {"n_ctx": 4096, "n_vocab": 8})
        await served.client.post("/models/unload", model="m")
        (entry,) = (await served.client.get("/models")).json["data"]
        assert (entry["tags"], entry["meta"]) == ([], {})


async def test_what_a_header_tells_is_told_before(tmp_path: Path) -> None:
    """As llama-server would tell it: `size` is that of the tensors."""
    model = ModelSpec(name="m", path=str(tiny_llama(tmp_path / "m.gguf")), ctx_size=64)
    config = Config(models={"m": model}, catalog=Catalog(roots=(), ollama=None))
    async with serving(config=config) as served:
        (entry,) = (await served.client.get("/models")).json["data"]
        facts = served.model("m").entry.found
        assert facts
        assert entry["meta"]["n_params"] == facts.facts.parameters
        assert entry["meta"]["size"] == facts.facts.weights
        assert entry["meta"]["n_ctx"] == entry["context_length"]
        assert {"n_vocab", "n_ctx_train", "n_embd"} <= entry["meta"].keys()
        assert served.fleet.running() == []


async def test_the_id_is_one_of_the_aliases() -> None:
    """As in llama-server's list; a preset's entry has the presets of the aliases."""
    spec = evolve(fake("m", aliases=("n",)), presets={"warm": {"temperature": 1.0}})
    async with serving(spec) as served:
        entries = {entry["id"]: entry for entry in (await served.client.get("/v1/models")).json["data"]}
        assert entries["m"]["aliases"] == ["m", "n"]
        assert entries["m:warm"]["aliases"] == ["m:warm", "n:warm"]
        assert (await served.client.chat("n:warm")).status == 200


async def test_the_routers_events() -> None:
    """A model that is loaded and unloaded, and one that can't be."""
    kinds = evolve(KINDS, command=InTheProtocol())
    async with serving(fake("m", "--progress"), fake("broken", "--exit-after", 0), kinds=kinds) as served:
        answer = await served.client.send("GET", "/models/sse")
        heard, wanted = b"", 5
        await served.client.chat("m")
        await served.client.post("/models/unload", model="m")
        await served.client.chat("broken")
        with trio.fail_after(PATIENCE):
            while heard.count(b"data: ") < wanted:
                heard += await answer.body()
        await answer.close()
    said = [
        json.loads(line.removeprefix("data: ")) for line in heard.decode().splitlines() if line.startswith("data: ")
    ]
    assert [(each["model"], each["event"], each["data"]["status"]) for each in said[:3]] == [
        ("m", "model_status", "loading"),
        ("m", "status_change", "loaded"),
        ("m", "status_change", "unloaded"),
    ]
    assert said[1]["data"]["info"]["meta"] == {"n_ctx": 4096, "n_vocab": 8}
    assert (said[3]["model"], said[3]["data"]) == ("broken", {"status": "loading"})
    assert (said[4]["data"]["status"], said[4]["data"]["failed"]) == ("unloaded", True)


async def test_a_list_may_be_read_anew(tmp_path: Path) -> None:
    """With the router's word for it."""
    config = Config(catalog=Catalog(roots=(tmp_path,), ollama=None), bridge=Bridge(every=NEVER))
    async with serving(config=config) as served:
        assert (await served.client.get("/models")).json["data"] == []
        tiny_llama(tmp_path / "pub/new/new.gguf")
        assert (await served.client.get("/models")).json["data"] == []
        assert len((await served.client.get("/models?reload=1")).json["data"]) == 1


async def test_the_second_list_has_the_same_models() -> None:
    async with serving(fake("b"), fake("A", description="the first")) as served:
        got = (await served.client.get("/models")).json
        assert [entry["name"] for entry in got["models"]] == [entry["id"] for entry in got["data"]] == ["A", "b"]
        assert got["models"][0]["description"] == "the first"
