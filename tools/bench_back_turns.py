"""How long the next turn of a conversation waits after an unload: begun anew, restored, and never unloaded, of SmolLM2.

Two servers: one with nothing set but where engine and model are, the other with `[prompt_cache] disk = 0` as well.
The weights and what was saved are in the page cache: a slow disk's part is to be seen in the load rates.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tools.bench_back_table import Measured, Turn
from tools.bench_cold import unload
from tools.bench_drive import Client, Failed, Request
from tools.bench_ways import MODEL, Way

ASKED = {"stream": True, "stream_options": {"include_usage": True}, "temperature": 0, "seed": 1, "max_tokens": 16}

WORDS = (("big", "small", "old", "new"), ("red", "blue", "grey"), ("house", "tree", "boat", "bridge", "stone"))

Messages = list[dict[str, str]]


def config(engine: Path, model: Path, threads: int) -> dict[str, Any]:
    """Nothing but where the engine and the model are, and threads if they are not 0."""
    found = {"engine": "llama-server", "path": str(model)}
    more = {"defaults": {"threads": threads}} if threads else {}
    return {"engines": {"llama-server": {"command": [str(engine)]}}, "models": {MODEL: found}, **more}


async def measure(kept: Way, anew: Way, sizes: Sequence[int], rounds: int) -> list[Measured]:
    """A conversation of each size. Raises Failed."""
    for way in (kept, anew):
        await get(way, "/models/load", {"model": MODEL})  # the first load of a server asks the engine for its flags
        await unload(way)
    return [await conversation(kept, anew, size, rounds) for size in sizes]


async def conversation(kept: Way, anew: Way, size: int, rounds: int) -> Measured:
    """A first turn; then the next one, in all three ways.

    Asking the first again takes the next one back at little cost. That is done before each, so that all go on from the
    same state: one that was computed in other pieces rounds differently, which may change a word.
    """
    measured = Measured(size)
    first = [{"role": "user", "content": await text(kept, size)}]
    answer = await ask(kept, first)
    following = [*first, said("assistant", answer.text), said("user", "Which of them is the oldest?")]
    for _ in range(rounds):
        await ask(kept, first)
        measured.never.append(await ask(kept, following))
    for _ in range(rounds):
        await ask(kept, first)
        await saved(kept, measured)
        for way, turns, loads in (
            (kept, measured.restored, measured.loads),
            (anew, measured.cold, measured.cold_loads),
        ):
            turns.append(await ask(way, following))
            loads.append((await get(way, "/running"))[0]["load_seconds"])
            say(f"{turns[-1].prompt} tokens: first word after {turns[-1].first:.2f} s")
        await unload(anew)
    await unload(kept)
    await get(kept, "/prompt-cache/clear", {})
    return measured


async def saved(kept: Way, measured: Measured) -> None:
    """Unload, which saves."""
    before, began = await get(kept, "/prompt-cache"), time.perf_counter()
    await unload(kept)
    measured.unloads.append(time.perf_counter() - began)
    after = await get(kept, "/prompt-cache")
    measured.written.append(after["written_today_bytes"] - before["written_today_bytes"])


def say(line: str) -> None:
    """Print progress."""
    print(f"... {line}", file=sys.stderr, flush=True)


def said(role: str, content: str) -> dict[str, str]:
    """One message."""
    return {"role": role, "content": content}


async def text(way: Way, tokens: int) -> str:
    """About so many tokens, always the same."""
    dice, sentences = Random(tokens), list[str]()  # noqa: S311 -- repeatable, not secret
    for _ in range(tokens):  # more than enough
        size, colour, thing = map(dice.choice, WORDS)
        sentences.append(f"The {size} {colour} {thing} was there in {dice.randrange(1500, 2000)}.")
    sample = await get(way, "/tokenize", {"model": MODEL, "content": " ".join(sentences[:100])})
    return " ".join(sentences[: round(tokens * 100 / len(sample["tokens"]))])


async def get(way: Way, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask once, and read the JSON. Raises Failed."""
    client = Client(way.address)
    try:
        return json.loads(await client.ask(Request(path, body)))
    finally:
        await client.close()


async def ask(way: Way, messages: Messages) -> Turn:
    """One turn. Raises Failed."""
    client, began = Client(way.address), time.perf_counter()
    first, words, usage, rest = 0.0, "", None, b""
    try:
        answer = await client.start(Request("/v1/chat/completions", {"model": MODEL, "messages": messages, **ASKED}))
        while piece := await answer.body():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    words += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
                    usage = event.get("usage") or usage
            if words and not first:
                first = time.perf_counter() - began
    finally:
        await client.close()
    if not words or usage is None:
        raise Failed(f"{way.name}: an answer without words or usage")
    return Turn(first, words, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])
