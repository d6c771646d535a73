"""Each kind of peer is known by what it answers, and what it has is read from that: shapes from its documentation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
from fake_peer import PATIENCE, Answer, FakePeer, said
from trio.testing import MockClock

from llmsup.engines.address import TcpAddress
from llmsup.engines.pool import ConnectionPool
from llmsup.peers.asking.kind import RARELY, Asker, Report
from llmsup.peers.asking.recognise import recognise
from llmsup.peers.offer import Offer, Room
from llmsup.peers.question import NoAnswer, Questions
from llmsup.units import Bytes


class Asked:
    """A fake peer that is asked.

    Attributes:
        fake: It.
        questions: What it is asked on.
        asker: What asks it.
    """

    def __init__(self, fake: FakePeer, questions: Questions) -> None:
        self.fake = fake
        self.questions = questions
        self.asker: Asker

    async def report(self) -> Report:
        """What it says now."""
        with trio.fail_after(PATIENCE):
            return await self.asker.ask(self.questions)


@asynccontextmanager
async def asked(answers: Mapping[str, Answer]) -> AsyncIterator[Asked]:
    """Ask what answers so, as what it is recognised as."""
    async with FakePeer(answers).listening() as fake, asking(fake) as found:
        yield found


@asynccontextmanager
async def asking(fake: FakePeer) -> AsyncIterator[Asked]:
    """Ask it, as what it is recognised as."""
    pool = ConnectionPool.to(TcpAddress("127.0.0.1", fake.port))
    found = Asked(fake, Questions(pool, None, "0123456789abcdef"))
    try:
        with trio.fail_after(PATIENCE):
            found.asker = await recognise(found.questions)
        yield found
    finally:
        await pool.close()


async def offers(answers: Mapping[str, Answer]) -> tuple[Report, dict[str, Offer]]:
    """What one says, and what it offers, by name."""
    error: NoAnswer | None = None
    async with FakePeer(answers).listening() as fake:
        try:
            async with asking(fake) as found:
                report = await found.report()
        except NoAnswer as no_answer:  # not within the fake's nursery, which would wrap it
            error = no_answer
    if error is not None:
        raise error
    return report, {offer.name: offer for offer in report.offers}


def listed(*entries: object, identity: str = "") -> Answer:
    """A list of models; a llmsup's own has its identity."""
    answer = {"object": "list", "data": entries}
    return said(answer, x_llmsup_id=identity) if identity else said(answer)


# Ollama: docs/api.md of its repository, "List Local Models", "List Running Models", "Version"; its front page says
# "Ollama is running" (server/routes.go).

LLAMA = {
    "name": "llama3.2:latest",
    "model": "llama3.2:latest",
    "modified_at": "2025-05-04T17:37:44.706015396-07:00",
    "size": 2019393189,
    "digest": "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
    "details": {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]},
}
NOMIC = {"name": "nomic-embed-text:latest", "size": 274302450, "details": {"family": "nomic-bert"}}
CLOUD = {"name": "gpt-oss:120b-cloud", "size": 384, "remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com"}
OLLAMA = {
    "/": (200, {"content-type": "text/plain"}, b"Ollama is running"),
    "/v1/models": listed({"id": "llama3.2:latest", "object": "model", "created": 1746405464, "owned_by": "library"}),
    "/api/version": said({"version": "0.12.6"}),
    "/api/tags": said({"models": [LLAMA, NOMIC, CLOUD]}),
    "/api/ps": said(
        {"models": [{**LLAMA, "expires_at": "2025-06-04T14:38:31-07:00", "size": 5137025024, "context_length": 8192}]}
    ),
}


async def test_ollama() -> None:
    report, found = await offers(OLLAMA)
    assert (report.kind, report.version, report.room) == ("ollama", "0.12.6", Room(used=Bytes(5137025024)))
    assert list(found) == ["llama3.2:latest", "nomic-embed-text:latest"]
    assert found["llama3.2:latest"].loaded
    assert found["llama3.2:latest"].needs_bytes == 5137025024
    assert found["llama3.2:latest"].context_length == 8192
    assert found["nomic-embed-text:latest"].loaded is False
    assert found["nomic-embed-text:latest"].kind == "embedding"
    assert report.notes == ("models that it runs in Ollama's cloud are left out: 1",)


async def test_an_ollama_without_models_is_one() -> None:
    empty = {"/v1/models": said({"object": "list", "data": None}), "/api/tags": said({"models": []})}
    report, found = await offers({**OLLAMA, **empty, "/api/ps": said({"models": []})})
    assert (report.kind, found) == ("ollama", {})


# LM Studio: lmstudio.ai/docs/developer/rest/endpoints, "GET /api/v0/models". It answers 200 to what it doesn't know.

LMSTUDIO = {
    "/v1/models": listed({"id": "qwen2-vl-7b-instruct", "object": "model", "owned_by": "organization_owner"}),
    "/": said({"error": "Unexpected endpoint or method. (GET /)"}),
    "/api/v0/models": listed(
        {
            "id": "qwen2-vl-7b-instruct",
            "object": "model",
            "type": "vlm",
            "publisher": "mlx-community",
            "arch": "qwen2_vl",
            "compatibility_type": "mlx",
            "quantization": "4bit",
            "state": "not-loaded",
            "max_context_length": 32768,
        },
        {
            "id": "meta-llama-3.1-8b-instruct",
            "type": "llm",
            "state": "loaded",
            "max_context_length": 131072,
            "loaded_context_length": 4096,
        },
        {"id": "text-embedding-nomic-embed-text-v1.5", "type": "embeddings", "state": "not-loaded"},
    ),
}


async def test_lm_studio() -> None:
    report, found = await offers(LMSTUDIO)
    assert report.kind == "lmstudio"
    assert found["qwen2-vl-7b-instruct"] == Offer(
        name="qwen2-vl-7b-instruct", kind="chat", loaded=False, context_length=32768
    )
    assert found["meta-llama-3.1-8b-instruct"].loaded
    assert found["meta-llama-3.1-8b-instruct"].context_length == 4096
    assert found["text-embedding-nomic-embed-text-v1.5"].kind == "embedding"


# vLLM: docs.vllm.ai, "OpenAI-Compatible Server" and "Production Metrics".

METRICS = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-0.6B"} 2.0
vllm:num_requests_running{engine="1",model_name="Qwen/Qwen3-0.6B"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-0.6B"} 4.0
vllm:engine_sleep_state{engine="0",model_name="Qwen/Qwen3-0.6B",sleep_state="awake"} 1.0
vllm:engine_sleep_state{engine="0",model_name="Qwen/Qwen3-0.6B",sleep_state="weights_offloaded"} 0.0
"""
VLLM = {
    "/v1/models": listed(
        {"id": "Qwen/Qwen3-0.6B", "object": "model", "owned_by": "vllm", "parent": None, "max_model_len": 40960},
        {"id": "sql-lora", "object": "model", "owned_by": "vllm", "parent": "Qwen/Qwen3-0.6B"},
    ),
    "/version": said({"version": "0.11.0"}),
    "/metrics": (200, {}, METRICS),
}


async def test_vllm() -> None:
    report, found = await offers(VLLM)
    assert (report.kind, report.version, report.notes) == ("vllm", "0.11.0", ())
    assert found["Qwen/Qwen3-0.6B"] == Offer(name="Qwen/Qwen3-0.6B", loaded=True, busy=7, context_length=40960)
    assert found["sql-lora"].busy == 7


async def test_a_vllm_that_sleeps() -> None:
    sleeping = METRICS.replace(b'"awake"} 1.0', b'"awake"} 0.0').replace(b'offloaded"} 0.0', b'offloaded"} 1.0')
    _, found = await offers({**VLLM, "/metrics": (200, {}, sleeping)})
    assert found["Qwen/Qwen3-0.6B"].loaded is False


async def test_a_vllm_without_metrics() -> None:
    report, found = await offers({path: answer for path, answer in VLLM.items() if path != "/metrics"})
    assert (found["sql-lora"].busy, found["sql-lora"].loaded) == (None, True)
    assert report.notes


# llama-swap: internal/server/api.go.

SWAP = {
    "/v1/models": listed(
        {"id": "m1", "owned_by": "llama-swap", "context_length": 8192, "status": {"value": "loaded"}},
        {"id": "m2", "owned_by": "llama-swap", "status": {"value": "loaded"}},
        {"id": "m3", "owned_by": "llama-swap", "status": {"value": "unloaded"}},
        {"id": "far/m4", "owned_by": "llama-swap", "meta": {"llamaswap": {"type": "peer"}}},
        {
            "id": "short",
            "owned_by": "llama-swap",
            "meta": {"llamaswap": {"type": "alias"}},
            "status": {"value": "loaded"},
        },
    ),
    "/running": said({"running": [{"model": "m1", "state": "ready"}, {"model": "m2", "state": "starting"}]}),
    "/api/version": said({"version": "v251", "commit": "abc", "build_date": "x"}),
}


async def test_llama_swap() -> None:
    report, found = await offers(SWAP)
    assert (report.kind, report.version) == ("llama-swap", "v251")
    assert found["m1"] == Offer(name="m1", loaded=True, context_length=8192)
    assert found["m2"] == Offer(name="m2", loaded=False, loading=True)
    assert found["m3"].loaded is False
    assert found["far/m4"] == Offer(name="far/m4", hops=1)
    assert found["short"].loaded


# llama-server, alone and as a router: what build 10068 answers.

META = {"n_ctx": 2048, "n_ctx_train": 8192, "n_params": 134515008}


async def test_a_llama_server() -> None:
    slots = [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}]
    report, found = await offers(
        {"/v1/models": listed({"id": "smol", "owned_by": "llamacpp", "meta": META}), "/slots": said(slots)}
    )
    assert report.kind == "openai"
    assert found == {"smol": Offer(name="smol", loaded=True, slots=2, busy=1, context_length=2048)}


async def test_a_llama_server_that_shows_no_slots_is_asked_once() -> None:
    async with asked({"/v1/models": listed({"id": "smol", "owned_by": "llamacpp"})}) as found:
        for _ in range(3):
            report = await found.report()
            assert report.offers == (Offer(name="smol", loaded=True),)
        assert found.fake.paths.count("/slots") == 1


async def test_llama_servers_router() -> None:
    def entry(name: str, value: str) -> dict[str, object]:
        return {"id": name, "owned_by": "llamacpp", "status": {"value": value, "args": []}}

    answer = listed(*(entry(value, value) for value in ("loaded", "unloaded", "loading", "sleeping")))
    _, found = await offers({"/v1/models": answer})
    assert {name: (each.loaded, each.loading) for name, each in found.items()} == {
        "loaded": (True, False),
        "unloaded": (False, False),
        "loading": (False, True),
        "sleeping": (False, False),
    }


# llmsup: what ours answers is in test_two_llmsups; here, what it answers of models elsewhere, and rarely.

THERE = {"running": [{"model": "a", "state": "ready", "in_flight": 2, "waiting": 3, "load_seconds": 4.5}]}
LLMSUP: dict[str, Answer] = {
    "/v1/models": listed(
        {"id": "a", "kind": "chat", "owned_by": "llmsup", "needs_bytes": 100, "status": {"value": "loaded"}},
        {
            "id": "b",
            "kind": "embedding",
            "needs_bytes": 200,
            "status": {"value": "unloaded"},
            "slots": 4,
            "load_seconds": 2.5,
        },
        {"id": "broken", "status": {"value": "failed", "servable": False}},
        {"id": "no-engine", "status": {"value": "unloaded", "no_engine": "there is none"}},
        {"id": "huge", "fits": False, "status": {"value": "unloaded"}},
        {
            "id": "far",
            "peer": {"hops": 1, "loaded": True, "peers": ["x", "y"], "down": ["y"], "origins": ["", "f0", 3]},
        },
        {"id": "further", "peer": {"hops": 3}},
        {"id": "lost", "peer": {"hops": 1, "loaded": None, "peers": ["y"], "down": ["y"]}},
        identity="fedcba9876543210",
    ),
    "/props": said({"build_info": "llmsup 0.1.0"}),
    "/running": said(THERE["running"]),
    "/memory": said({"ceiling_bytes": 1000, "committed_bytes": 700, "available_bytes": 150}),
}


async def test_llmsup() -> None:
    report, found = await offers(LLMSUP)
    assert (report.kind, report.version, report.identity) == ("llmsup", "0.1.0", "fedcba9876543210")
    assert report.room == Room(ceiling=Bytes(1000), used=Bytes(700), available=Bytes(150))
    assert list(found) == ["a", "b", "far", "lost"]
    assert [offer.name for offer in found.values() if offer.down] == ["lost"]
    assert found["a"] == Offer(
        name="a", kind="chat", loaded=True, busy=5, fits=True, load_seconds=4.5, needs_bytes=Bytes(100)
    )
    assert (found["b"].loaded, found["b"].busy, found["b"].fits) == (False, 0, False)
    assert (found["b"].slots, found["b"].load_seconds) == (4, 2.5)
    assert found["far"] == Offer(name="far", loaded=True, hops=1, origins=frozenset(("", "f0")))


async def test_its_list_is_asked_for_rarely(autojump_clock: MockClock) -> None:
    """And at once when what is running says that something has changed."""
    async with asked(LLMSUP) as found:
        for _ in range(3):
            await found.report()
        assert found.fake.paths.count("/v1/models") == 1
        found.fake.answers["/running"] = said([])
        report = await found.report()
        assert found.fake.paths.count("/v1/models") == 2
        assert not report.offers[0].loaded
        autojump_clock.jump(RARELY)
        await found.report()
        assert found.fake.paths.count("/v1/models") == 3
        assert found.fake.paths.count("/props") == 1


# What nobody should answer...

ODD = [
    said([1, "two", None]),
    said({"data": {"id": "x"}}),
    said({"data": "x"}),
    said("models"),
    said(None),
    (200, {}, b"<html>"),
    (200, {}, b""),
    (200, {}, b'{"data": [' + b"[" * 100_000),
    (200, {}, b"\xff\xfe"),
]


@pytest.mark.parametrize("answer", ODD)
async def test_a_list_that_is_none_is_no_answer(answer: Answer) -> None:
    with pytest.raises(NoAnswer, match="its answer to /v1/models"):
        await offers({"/v1/models": answer})


@pytest.mark.parametrize(
    "answer", [*ODD, said([]), said({}), said({"models": [{"name": 3}, {"name": "x", "size": "y"}]})]
)
@pytest.mark.parametrize(
    ("answers", "path"),
    [
        (OLLAMA, "/api/ps"),
        (OLLAMA, "/api/version"),
        (SWAP, "/running"),
        (SWAP, "/api/version"),
        (VLLM, "/metrics"),
        (VLLM, "/version"),
        (LLMSUP, "/running"),
        (LLMSUP, "/memory"),
        (LLMSUP, "/props"),
    ],
)
async def test_other_odd_answers_break_nothing(answers: Mapping[str, Answer], path: str, answer: Answer) -> None:
    """It is what it was, with less that is known."""
    report, _ = await offers({**answers, path: answer})
    assert report.offers


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "a\nb"},
        {"id": "\x1b[31m"},
        {"id": ""},
        {"id": " a"},
        {"id": 7},
        {"id": None},
        {"id": ["a"]},
        {"id": "x" * 1000},
        {"name": "\u202eabc"},
        {},
        "a",
        None,
        3,
    ],
)
async def test_names_that_are_none_are_left_out(entry: object) -> None:
    ours = {**LLMSUP, "/v1/models": listed(entry, {"id": "good"}, identity="x")}
    for answers in ({"/v1/models": listed(entry, {"id": "good"})}, ours):
        _, found = await offers(answers)
        assert list(found) == ["good"]


@pytest.mark.parametrize("value", [-1, 2**70, True, "1", 1.5, None, [], {}])
async def test_numbers_that_are_none_are_not_known(value: object) -> None:
    entry = {"id": "a", "owned_by": "llmsup", "needs_bytes": value, "context_length": value, "peer": {"hops": value}}
    memory = said(dict.fromkeys(("ceiling_bytes", "committed_bytes", "available_bytes"), value))
    running = said([{"model": "a", "state": value, "in_flight": value, "waiting": value, "load_seconds": value}])
    report, found = await offers({**LLMSUP, "/v1/models": listed(entry), "/memory": memory, "/running": running})
    assert (found["a"].needs_bytes, found["a"].context_length, found["a"].hops) == (None, None, 1)
    assert report.room is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said({"error": {"message": "Loading model"}}, 503), "it answers /v1/models with status 503: Loading model"),
        (said({"error": "bad\n\x1b[2J"}, 500), r"status 500: bad%0A%1B\[2J"),
        (said({}, 401), "it wants a key"),
        (said({}, 403), "it wants a key"),
        ((302, {"location": "https://x.local/v1/models"}, b""), r"it sends elsewhere \(https://x.local/v1/models\)"),
        ((200, {}, b"x" * (9 * 1024**2)), "larger than 8 MiB"),
    ],
)
async def test_why_there_is_no_answer(answer: Answer, reason: str) -> None:
    with pytest.raises(NoAnswer, match=reason):
        await offers({"/v1/models": answer})


async def test_what_it_says_of_an_error_is_a_clause() -> None:
    async with FakePeer({}).listening() as fake:
        fake.others = said({"error": {"message": "There is no /x. Did you mean /y?"}}, 404)
        pool = ConnectionPool.to(TcpAddress("127.0.0.1", fake.port))
        with trio.fail_after(PATIENCE), pytest.raises(NoAnswer, match=r"404: There is no /x\. Did you mean /y$"):
            await recognise(Questions(pool, None, "0123456789abcdef"))
        await pool.close()
