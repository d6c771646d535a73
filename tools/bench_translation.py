"""What it costs to put an engine's stream into the words of another API: python -m tools.bench_translation.

CPU time in one process, without any network: the parsing of the events, and their translation, a chunk at a time as
they come. The best of several rounds, as anything else that runs only makes it slower. The target is 25 µs a chunk; it
is not checked here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import trio

from llmsup.gateway import sse
from llmsup.gateway.api.dialect import Translation
from llmsup.gateway.api.lmstudio_answers import Generated as WithStats
from llmsup.gateway.api.lmstudio_chat_answers import Chatted as NativeChat
from llmsup.gateway.api.ollama.answers import Chatted, Generated
from llmsup.gateway.body import JsonBody

CHUNKS, ROUNDS = 5000, 9
TARGET = 25


def chunk(delta: dict[str, object]) -> bytes:
    """One event as llama-server writes it."""
    event = {
        "choices": [{"finish_reason": None, "index": 0, "delta": delta}],
        "created": 1795701169,
        "id": "chatcmpl-7Ye6vUfrDW0CkJbD9QZsce2ZejgpBqzs",
        "model": "chat",
        "system_fingerprint": "b1-571d0d5",
        "object": "chat.completion.chunk",
    }
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def cost(make: Callable[[JsonBody], Translation], body: bytes, event: bytes) -> float:
    """Microseconds of CPU for one chunk."""
    best = float("inf")
    for _ in range(ROUNDS):
        translation, events, out = make(JsonBody(body)), sse.Events(), 0
        translation.model = None
        began = time.process_time()
        for _ in range(CHUNKS):
            out += len(b"".join([translation.event(data) for data in events.feed(event)]))
        best = min(best, time.process_time() - began)
        assert out
    return 1e6 * best / CHUNKS


async def main() -> None:
    """Each translation, with texts and with thoughts."""
    ollama, native = b'{"model":"m"}', b'{"model":"m","input":"x","stream":true}'
    text, thought = chunk({"content": " some"}), chunk({"reasoning_content": " some"})
    print(f"µs of CPU a chunk (target {TARGET})")
    for name, make, body, event in (
        ("Ollama, chat", Chatted, ollama, text),
        ("Ollama, chat, thoughts", Chatted, ollama, thought),
        ("Ollama, generate", Generated, ollama, text),
        ("LM Studio, /api/v0", WithStats, ollama, text),
        ("LM Studio, /api/v1/chat", NativeChat, native, text),
    ):
        print(f"{name:26} {cost(make, body, event):6.1f}", flush=True)


if __name__ == "__main__":
    trio.run(main)
