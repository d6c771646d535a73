"""Bad input, by API and path: each is told in its API's shape what is wrong, and nothing is loaded for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serving import Got, fake, serving

HI = [{"role": "user", "content": "hi"}]
MESSAGES = {"messages": HI}
PROMPT = {"prompt": "x"}

OLLAMA: dict[str, list[tuple[dict[str, Any], str]]] = {
    "/api/chat": [
        ({"messages": "hi"}, "`messages`"),
        ({"messages": {"role": "user"}}, "`messages`"),
        ({"messages": [{"content": "no role"}]}, "`messages`"),
        ({"messages": [{"role": "user", "content": 1}]}, "`messages`"),
        ({**MESSAGES, "tools": {"type": "function"}}, "`tools`"),
        ({**MESSAGES, "stream": "yes"}, "`stream`"),
        ({**MESSAGES, "think": 1}, "`think`"),
        ({**MESSAGES, "format": "yaml"}, "`format`"),
        ({**MESSAGES, "options": [1]}, "`options`"),
        ({**MESSAGES, "options": {"num_ctx": "8k"}}, "`options.num_ctx`"),
        ({**MESSAGES, "keep_alive": "soon"}, "`keep_alive`"),
        ({**MESSAGES, "template": "{{ .Prompt }}"}, "`template`"),
        ({"keep_alive": []}, "`keep_alive`"),
    ],
    "/api/generate": [
        ({"prompt": ["x"]}, "`prompt`"),
        ({"prompt": 5}, "`prompt`"),
        ({**PROMPT, "system": {}}, "`system`"),
        ({**PROMPT, "suffix": 5}, "`suffix`"),
        ({**PROMPT, "images": "x"}, "`images`"),
        ({**PROMPT, "images": [5]}, "`images`"),
        ({**PROMPT, "raw": "yes"}, "`raw`"),
        ({**PROMPT, "raw": True, "images": ["AAAA"]}, "`images`"),
        ({**PROMPT, "suffix": "y", "system": "z"}, "`system`"),
        ({**PROMPT, "context": [1, 2]}, "`context`"),
        ({**PROMPT, "top_logprobs": 50}, "`top_logprobs`"),
        ({**PROMPT, "options": {"temperature": "hot"}}, "`options.temperature`"),
    ],
    "/api/embed": [
        ({"input": 5}, "`input`"),
        ({"input": [1, 2]}, "`input`"),
        ({"input": [["x"]]}, "`input`"),
        ({"input": {"text": "x"}}, "`input`"),
        ({"input": "x", "dimensions": "few"}, "`dimensions`"),
        ({"input": "x", "dimensions": -1}, "`dimensions` must be a whole number from 0 on, not -1."),
        ({"input": "x", "truncate": "yes"}, "`truncate`"),
        ({"input": "x", "options": 5}, "`options`"),
        ({"input": "x", "keep_alive": {}}, "`keep_alive`"),
    ],
    "/api/embeddings": [({"prompt": 5}, "`prompt`"), ({"prompt": ["x"]}, "`prompt`")],
    "/api/show": [({"model": 5}, "model"), ({"model": ""}, "model"), ({"model": None}, "model")],
    "/api/pull": [({"model": 5}, "`model`"), ({"stream": "yes"}, "`stream`"), ({"insecure": 1}, "`insecure`")],
}

LMSTUDIO: dict[str, list[tuple[dict[str, Any], str]]] = {
    "/api/v0/chat/completions": [({**MESSAGES, "ttl": "soon"}, "ttl"), ({"model": 5}, "model")],
    "/api/v0/completions": [({**PROMPT, "ttl": []}, "ttl"), ({"model": {}}, "model")],
    "/api/v0/embeddings": [({"input": "x", "ttl": {}}, "ttl")],
    "/api/v1/models/load": [
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"context_length": "8k"}, "context_length"),
        ({"context_length": 0}, "context_length"),
        ({"eval_batch_size": True}, "eval_batch_size"),
        ({"num_experts": -1}, "num_experts"),
        ({"flash_attention": "on"}, "flash_attention"),
        ({"offload_kv_cache_to_gpu": 1}, "offload_kv_cache_to_gpu"),
        ({"echo_load_config": 1}, "echo_load_config"),
    ],
    "/api/v1/models/unload": [({}, "instance_id"), ({"instance_id": 5}, "instance_id")],
}

NO_JSON = (b"", b"{", b"[]", b'"x"', b"\xff{}", b'{"model": "m",}')


def cases(table: dict[str, list[tuple[dict[str, Any], str]]]) -> list[Any]:
    return [
        pytest.param(path, body, named, id=f"{path} {json.dumps(body)}"[:90])
        for path, bad in table.items()
        for body, named in bad
    ]


def ollamas(got: Got) -> str:
    """The message; the error has nothing else."""
    assert list(got.json) == ["error"]
    message = got.json["error"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize(("path", "body", "named"), cases(OLLAMA))
async def test_ollamas(path: str, body: dict[str, Any], named: str) -> None:
    async with serving(fake("m")) as served:
        got = await served.client.post(path, **{"model": "m", **body})
        assert (got.status, named in ollamas(got)) == (400, True), got.body
        assert served.fleet.running() == []


@pytest.mark.parametrize(("path", "body", "named"), cases(LMSTUDIO))
async def test_lmstudios(path: str, body: dict[str, Any], named: str) -> None:
    async with serving(fake("m")) as served:
        got = await served.client.post(path, **{"model": "m", **body})
        assert (got.status, got.error["type"], got.error["param"]) == (400, "invalid_request", named), got.body
        assert served.fleet.running() == []


async def test_what_is_no_json_object() -> None:
    """In both, at every path that wants one; and a model that nobody has."""
    async with serving(fake("m")) as served:
        for path in OLLAMA:
            for body in NO_JSON:
                got = await served.client.ask("POST", path, body)
                assert (got.status, bool(ollamas(got))) == (400, True), (path, body)
            if path != "/api/pull":
                assert (await served.client.post(path, model="x", input="x", prompt="x", **MESSAGES)).status == 404
        for path in (*LMSTUDIO, "/api/v1/chat"):
            for body in NO_JSON:
                got = await served.client.ask("POST", path, body)
                assert (got.status, got.error["type"]) == (400, "invalid_request"), (path, body)
        assert served.fleet.running() == []


async def test_ollamas_programs_find_it() -> None:
    """They ask for this before anything else, with HEAD."""
    async with serving(fake("m")) as served:
        got = await served.client.get("/")
        assert (got.status, got.body[:17]) == (200, b"Ollama is running")
        assert (await served.client.ask("HEAD", "/")).status == 200
