"""The page in a real Chromium, against a llmsup with fake engines and with a real one.

What it looks like is kept in `.pictures/`, which git ignores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_answers
import pytest
from attrs import evolve
from chromium import chromium, driven
from page_answers import MARKUP
from real_engines import smollm2
from serving import fake, serving

from llmsup.config.keys import hash_of
from llmsup.config.schema import Bridge, Config, KeySpec, Memory, ModelSpec, Server
from llmsup.fleet.model.states import State
from llmsup.units import NEVER, Bytes, Seconds

PICTURES = Path(__file__).parents[2] / ".pictures"
MIB = 1024**2

pytestmark = [pytest.mark.slow, pytest.mark.road("fast")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One for all tests."""
    PICTURES.mkdir(exist_ok=True)
    with chromium(tmp_path_factory.mktemp("chromium")) as at:
        yield at


def config(*models: ModelSpec, **server: Any) -> Config:
    return Config(
        models={model.name: model for model in models},
        server=Server(shutdown_grace=Seconds(1), **server),
        memory=Memory(limit=Bytes(4096 * MIB), reserve=Bytes(512 * MIB)),
        bridge=Bridge(every=NEVER),
    )


def several() -> tuple[ModelSpec, ...]:
    """Models in all states, with names that are long, short, or look like markup."""
    return (
        fake("writer", memory=Bytes(1500 * MIB), priority="high", presets={"creative": {"temperature": 1.3}}),
        fake("org/coder-with-a-rather-long-name-30B-A3B-Instruct@Q4_K_M", memory=Bytes(2048 * MIB)),
        fake("embedder", memory=Bytes(300 * MIB), kind="embedding", pinned=True),
        fake(MARKUP, memory=Bytes(1024 * MIB)),
        fake("broken", "--exit-after", "0", "--exit-code", "3", "--print", "error: no such file"),
        fake("huge", memory=Bytes(900 * 1024 * MIB)),
    )


def fine(seen: dict[str, Any]) -> None:
    """Nothing on the console, nobody else asked, nothing serious for axe, no name that became markup, nothing kept."""
    assert (seen["trouble"], seen["foreign"], seen["axe"]) == ([], [], [])
    assert seen.get("left", {"markup": 0, "kept": 0}) == {"markup": 0, "kept": 0}


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
async def test_every_view(browser: str, width: int, dark: bool) -> None:
    answers = {"/history": {"json": page_answers.history()}, "/requests": {"json": page_answers.requests()}}
    async with serving(config=config(*several())) as served:
        for model in (
            "writer",
            "embedder",
            MARKUP,
            "broken",
            "org/coder-with-a-rather-long-name-30B-A3B-Instruct@Q4_K_M",
        ):
            await served.client.post("/models/load", model=model)
        seen = await driven(
            browser, served.client.port, "views", width=width, dark=dark, answers=answers, pictures=str(PICTURES)
        )
        fine(seen)
        assert seen["wide"] == []


async def test_models_are_loaded_explained_and_unloaded(browser: str) -> None:
    """By keyboard, and with what would have to go told first."""
    would = page_answers.would("load", "writer")
    async with serving(config=config(fake(MARKUP), fake("writer"))) as served:
        port = served.client.port
        seen = await driven(browser, port, "acts", model=MARKUP, would=would, pictures=str(PICTURES))
        fine(seen)
        assert seen["title"] == "Now – llmsup"
        assert seen["offered"][0] == "It needs 3.0 GiB, and 1.2 GiB is free: these would be unloaded."
        assert seen["offered"][1:2] == ["writer frees 2.0 GiB: idle for 4 m"]
        assert seen["focused"] == "Load it, and unload these"
        assert seen["loaded"][0] == MARKUP
        assert any(each.startswith("Loaded in ") for each in seen["loaded"])
        assert seen["why"][0].startswith("Unloading it would free ")
        assert "fake_engine.py" in seen["why"][-1]
        assert seen["unloaded"] == ["Asked for over the API."]
        load = {"model": MARKUP, "wait": False}
        assert seen["sent"] == [
            ["?dry_run=1", {"model": MARKUP}],
            ["", load],
            ["", {**load, "pinned": True}],
            ["", {"model": MARKUP, "force": False}],
        ]
        assert served.model(MARKUP).state is State.UNLOADED


async def test_requests_are_cut_off_only_if_that_is_chosen(browser: str) -> None:
    async with serving(config=config(fake("m", "--tokens", 1_000_000, "--tps", 20))) as served:
        seen = await driven(browser, served.client.port, "force")
        fine(seen)
        assert (seen["focused"], seen["asked"]) == ("Now", ["1 request is in flight or waiting."])
        assert len(seen["told"]) == 1
        assert served.model("m").state is State.UNLOADED


async def test_a_chat_two_texts_and_the_log(browser: str) -> None:
    """Nothing of it is kept, and a hidden tab asks nothing."""
    models = (fake("m", "--timings"), fake("e", kind="embedding"))
    async with serving(config=config(*models)) as served:
        seen = await driven(
            browser,
            served.client.port,
            "talk",
            model="m",
            embedder="e",
            tokens=5,
            name="talk",
            pictures=str(PICTURES),
        )
        fine(seen)
        assert seen["said"][0] == "Why is the sky blue?"
        assert seen["said"][1]
        assert "55.5 tokens/s" in seen["facts"][0]
        assert seen["turns"] == 4
        assert seen["alike"] == "Cosine 1.0000, of 2 dimensions"
        assert all("llmsup: starting" in line for line in seen["log"])
        assert len(seen["log"]) == 2
        assert seen["again"] == 1


async def test_a_key_is_asked_for(browser: str) -> None:
    keys = {"laptop": KeySpec(name="laptop", hash=hash_of("little"), models=("m",))}
    open_ = evolve(config(fake("m"), fake("other"), api_keys=("right",)), keys=keys)
    async with serving(config=open_) as served:
        port = served.client.port
        seen = await driven(browser, port, "keys", key="right", limited="little", pictures=str(PICTURES))
        fine(seen)
        assert seen["bare"] == 0
        assert seen["told"][0] == "a key for models only"
        assert "The key laptop may not use the control API." in seen["told"][1]
        assert seen["catalog"] == ["m"]


async def test_without_javascript_without_a_history_and_from_elsewhere(browser: str) -> None:
    async with serving(config=config(fake(MARKUP), fake("m"))) as served:
        await served.client.post("/models/load", model="m")
        port = served.client.port
        seen = await driven(browser, port, "bare", model="m", answers=page_answers.PROBLEMS, pictures=str(PICTURES))
        fine(seen)
        assert seen["notices"] == [
            "1 of 2 models can't be started.",
            f"The config has changed, and is not applied: there are 2 mistakes. {MARKUP} @ a b @ c",
        ]
        assert seen["at"].endswith("/ui")
        assert seen["rows"] == [MARKUP, "m"]
        assert seen["calm"] == ["This server keeps no history.", "This server keeps no record of requests."]
        assert seen["evil"] == [[False, False, False], None]
        assert served.model("m").state is State.READY


async def test_with_a_real_engine(browser: str) -> None:
    """A chat, and what it takes of the memory."""
    spec = ModelSpec(name="smollm2", path=str(smollm2()), engine="bundled", ctx_size=512, parallel=1, threads=1)
    async with serving(config=config(spec)) as served:
        seen = await driven(
            browser, served.client.port, "talk", model="smollm2", tokens=12, name="real", pictures=str(PICTURES)
        )
        fine(seen)
        assert len(seen["said"]) == 2
        assert seen["said"][1]
        assert "tokens/s" in seen["facts"][0]
        assert "smollm2" in seen["bar"]
