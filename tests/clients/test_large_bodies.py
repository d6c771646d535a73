"""Forms of audio, lists of tools and images: whole, and with no more memory than they take once."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any

import anthropic
import httpx
import openai
import pytest
from own_server import KEY, OwnServer

MB = 2**20
AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.mark.client("openai (Python)", "POST /v1/audio/transcriptions")
def test_audio(openai_fake: openai.OpenAI) -> None:
    """The engine gets every byte of the form."""
    sound = os.urandom(3 * MB)
    raw = openai_fake.audio.transcriptions.with_raw_response.create(
        model="m", file=("speech.wav", sound, "audio/wav"), language="en", temperature=0.5
    )
    assert raw.parse().text == f"{raw.http_request.headers['content-length']} bytes"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_model_may_stand_anywhere_in_a_form(fakes: OwnServer, plain: httpx.Client, place: int) -> None:
    parts: list[tuple[str, tuple[str | None, bytes]]] = [
        ("file", ("a.wav", os.urandom(MB))),
        ("language", (None, b"en")),
    ]
    parts.insert(place, ("model", (None, b"m")))
    got = plain.post(f"{fakes.url}/v1/audio/transcriptions", files=parts, headers=AUTH)
    assert got.json() == {"text": f"{got.request.headers['content-length']} bytes"}


@pytest.mark.client("anthropic (Python)", "POST /v1/messages, 200 tools")
def test_a_long_list_of_tools(anthropic_fake: anthropic.Anthropic) -> None:
    """As agents have them; nothing of it is changed."""
    schema: dict[str, Any] = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(40)}}
    tools: Any = [{"name": f"tool{n}", "description": "é" * 500, "input_schema": schema} for n in range(200)]
    raw = anthropic_fake.beta.messages.with_raw_response.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}], tools=tools, betas=["a", "b"]
    )
    sent = raw.http_request.read()
    assert len(sent) > MB / 4
    assert json.loads(raw.text())["request_body"] == json.loads(sent)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process's peak be read and forgotten")
@pytest.mark.client("openai (Python)", "POST /v1/chat/completions, 20 MB of images", streamed=True)
def test_images_take_their_own_memory_once(fakes: OwnServer, openai_fake: openai.OpenAI) -> None:
    """Twenty megabytes of them, again and again: the peak is one body, whatever came before."""
    url = "data:image/png;base64," + base64.b64encode(os.urandom(3 * MB)).decode()
    images: Any = [{"type": "image_url", "image_url": {"url": url}} for _ in range(5)]
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *images]}]

    def peak() -> int:
        fakes.forget_peak()
        assert list(openai_fake.chat.completions.create(model="m", messages=messages, stream=True))
        return fakes.peak()

    list(openai_fake.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True))
    fakes.forget_peak()
    before = fakes.peak()
    peaks = [peak() for _ in range(4)]
    print(f"peak: {before / MB:.1f} MiB before, then {[round(each / MB, 1) for each in peaks]}")
    assert max(peaks) < before + 1.5 * 20 * MB
    assert peaks[-1] < peaks[0] + 4 * MB
