"""The history with a real engine: what it says of a request fits what the engine says, before and after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from described import as_described
from real_engines import smollm2
from serving import Served, serving

from llmsup.config.schema import Bridge, Config, ModelSpec, Server
from llmsup.units import NEVER, Seconds


async def test_requests_and_memory_are_told_as_they_were(tmp_path: Path) -> None:
    """One answer as a whole, one as a stream."""
    spec = ModelSpec(
        name="chat", path=str(smollm2()), engine="bundled", ctx_size=2048, parallel=1, threads=1, capture=True
    )
    server = Server(shutdown_grace=Seconds(1), state_dir=tmp_path)
    config = Config(models={"chat": spec}, server=server, bridge=Bridge(every=NEVER))
    async with serving(config=config) as served:
        talk = [{"role": "user", "content": "Say a word."}]
        got = await served.client.post("/v1/chat/completions", model="chat", messages=talk, max_tokens=4)
        assert got.status == 200, got.body
        said = got.json
        async with served.client.stream("chat", messages=talk, max_tokens=4) as parts:
            stream = b"".join([part async for part in parts])
        streamed, whole = await rows(served)
        assert (whole["tokens_in"], whole["tokens_out"]) == (
            said["usage"]["prompt_tokens"],
            said["usage"]["completion_tokens"],
        )
        assert whole["tokens_cached"] == said["timings"]["cache_n"]
        generating = said["timings"]["predicted_ms"] / 1000
        assert abs(whole["tokens_per_s"] - whole["tokens_out"] / generating) < 0.01
        assert 0 < whole["waited_s"] <= whole["first_token_s"] <= whole["took_s"]
        assert streamed["tokens_in"] == whole["tokens_in"]
        assert 0 <= streamed["waited_s"] <= streamed["first_token_s"] <= streamed["took_s"]
        captured = as_described("/requests/{id}", await served.client.get(f"/requests/{streamed['id']}"))
        assert captured["answer"].encode() == stream
        assert "Say a word." in captured["request"]
        told = (await served.client.get("/history")).json
        assert told["samples"][-1]["models"]["chat"] > 50e6
        assert 0 < told["samples"][-1]["free"] < told["samples"][-1]["total"]
    async with serving(config=config) as served:
        assert await rows(served) == [{**each, "captured": False} for each in (streamed, whole)]
        told = as_described("/history", await served.client.get("/history"))
        assert [each["event"] for each in told["happened"]] == ["load", "unload"]
        assert [each["count"] for each in told["requests"] if each["count"]] in ([2], [1, 1])


async def rows(served: Served) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = as_described("/requests", await served.client.get("/requests"))["requests"]
    return found
