"""Two servers for all clients, started when the first test wants them: with fake engines, and with a real one."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest
from own_server import KEY, PATIENCE, OwnServer, fake, own_server
from real_engines import llama_server, smollm2

SOME = {"tokens": 16}
"""The most tokens of an answer whose client doesn't say how many it wants."""


@pytest.fixture(scope="session")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """Models that do as told, and fail as told."""
    models = {
        "m": fake("--tokens", 2),
        "late": fake("--load-time", 0.5, "--tokens", 1),
        "slow": fake("--tokens", 10_000, "--tps", 20, max_in_flight=1),
        "dies": fake("--die-after-chunks", 1),
        "bad": fake("--exit-after", 0, "--exit-code", 7, "--print", "error: the GPU is on fire"),
        "large": fake("--tokens", 10_000, "--tps", 20, memory="200MiB"),
        "larger": fake("--tokens", 1, memory="250MiB", queue_timeout="0.3s"),
        "huge": fake(memory="1GiB"),
    }
    server = {"max_queue": 1, "loading_comments": "0.1s", "max_body": "32MiB"}
    with own_server(
        tmp_path_factory.mktemp("fakes"), server=server, models=models, memory={"limit": "400MiB"}
    ) as served:
        yield served


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """SmolLM2, which chats and embeds."""
    few = ["--predict", str(SOME["tokens"])]
    common = {"path": str(smollm2()), "engine": "llama-server", "ctx_size": 2048, "parallel": 1, "threads": 1}
    models = {"chat": {**common, "args": few}, "embed": {**common, "kind": "embedding", "args": ["--pooling", "mean"]}}
    engines = {"llama-server": {"command": [str(llama_server())]}}
    with own_server(tmp_path_factory.mktemp("real"), models=models, engines=engines) as served:
        yield served


def of_openai(served: OwnServer, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, timeout=PATIENCE)


def of_anthropic(served: OwnServer, key: str = KEY) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=served.url, api_key=key, timeout=PATIENCE)


@pytest.fixture
def openai_fake(fakes: OwnServer) -> Iterator[openai.OpenAI]:
    with of_openai(fakes) as client:
        yield client


@pytest.fixture
def openai_real(real: OwnServer) -> Iterator[openai.OpenAI]:
    with of_openai(real) as client:
        yield client


@pytest.fixture
def anthropic_fake(fakes: OwnServer) -> Iterator[anthropic.Anthropic]:
    with of_anthropic(fakes) as client:
        yield client


@pytest.fixture
def anthropic_real(real: OwnServer) -> Iterator[anthropic.Anthropic]:
    with of_anthropic(real) as client:
        yield client


@pytest.fixture
def plain() -> Iterator[httpx.Client]:
    """A client that knows no API."""
    with httpx.Client(timeout=PATIENCE) as client:
        yield client
