"""Ollama's own client for JavaScript, in Node, against llmsup with a real engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from real_engines import llama_server, smollm2
from serving import PATIENCE, serving

from llmsup.config.schema import Config, EngineSpec, ModelSpec, Server
from llmsup.fleet.model.states import State
from llmsup.units import Seconds

CLIENT = Path(__file__).parents[2] / ".venv/js/node_modules/ollama"
TALK = Path(__file__).parents[1] / "helpers/ollama_talk.cjs"

pytestmark = [pytest.mark.slow, pytest.mark.real]


async def talked(port: int) -> Any:
    """What the client made of it."""
    node = shutil.which("node")
    if node is None or not CLIENT.is_dir():
        pytest.fail("this test needs Node and Ollama's client for it: run tools/js_client")
    words = [node, str(TALK), str(CLIENT), f"http://127.0.0.1:{port}", "chat", "embed"]
    with trio.fail_after(4 * PATIENCE):
        ran = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)


@pytest.mark.client("ollama (JavaScript)", "GET /api/version")
@pytest.mark.client("ollama (JavaScript)", "GET /api/tags")
@pytest.mark.client("ollama (JavaScript)", "POST /api/chat")
@pytest.mark.client("ollama (JavaScript)", "POST /api/chat", streamed=True)
@pytest.mark.client("ollama (JavaScript)", "POST /api/generate", streamed=True)
@pytest.mark.client("ollama (JavaScript)", "POST /api/generate, format")
@pytest.mark.client("ollama (JavaScript)", "POST /api/embed")
@pytest.mark.client("ollama (JavaScript)", "POST /api/embeddings")
@pytest.mark.client("ollama (JavaScript)", "POST /api/show")
@pytest.mark.client("ollama (JavaScript)", "GET /api/ps")
@pytest.mark.client("ollama (JavaScript)", "cancelled", streamed=True)
@pytest.mark.client("ollama (JavaScript)", "errors")
@pytest.mark.client("ollama (JavaScript)", "POST /api/generate, keep_alive 0")
async def test_its_client_gets_all_that_it_asks_for() -> None:
    """Whole answers and streams, vectors, lists, errors as its own class; and what it aborts ends."""
    chat = ModelSpec(name="chat", path=str(smollm2()), engine="llama-server", ctx_size=1024, parallel=1, threads=1)
    embed = evolve(chat, name="embed", kind="embedding", args=("--pooling", "mean"))
    engines = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    server = Server(shutdown_grace=Seconds(1))
    async with serving(config=Config(models={"chat": chat, "embed": embed}, engines=engines, server=server)) as served:
        said = await talked(served.client.port)
        assert said["version"]["version"]
        assert said["tags"] == ["chat", "embed"]
        text = said["chat"]["message"]["content"]
        assert (said["chat"]["done_reason"], said["chat"]["eval_count"], bool(text)) == ("length", 4, True)
        assert "".join(piece["message"]["content"] for piece in said["pieces"]) == text
        last = said["pieces"][-1]
        assert (last["done"], last["eval_count"]) == (True, 4)
        assert min(last["total_duration"], last["prompt_eval_duration"], last["eval_duration"]) > 0
        assert len([piece for piece in said["generated"] if piece["response"]]) > 1
        assert said["format"]["response"].startswith('"seven')
        assert [len(vector) for vector in said["embed"]["embeddings"]] == [576, 576]
        assert said["embeddings"]["embedding"] == pytest.approx(said["embed"]["embeddings"][0], abs=1e-3)
        assert "completion" in said["show"]["capabilities"]
        assert {each["name"] for each in said["ps"]} == {"chat", "embed"}
        assert said["aborted"]["name"] == "AbortError"
        errors = {name: (said[name]["name"], said[name]["status"]) for name in ("unknown", "bad", "refused")}
        wrong = "ResponseError"
        assert errors == {"unknown": (wrong, 404), "bad": (wrong, 400), "refused": (wrong, 501)}
        assert said["unload"]["done_reason"] == "unload"
        await served.until("chat", lambda model: model.state is State.UNLOADED)
