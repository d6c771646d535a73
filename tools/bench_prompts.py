"""What it costs to follow prompts (`gateway/prompts`), in microseconds of CPU time: python tools/bench_prompts.py.

The best of many short rounds, so that other programs on the machine disturb it little. For large bodies: the longest
step, between which other tasks run.
"""

from __future__ import annotations

import json
import sys
import time
import timeit
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from prompts import finished, said

from llmsup.gateway.body import JsonBody
from llmsup.gateway.prompts.chain import Chains
from llmsup.gateway.prompts.links import Prompt
from llmsup.gateway.prompts.reader import read_prompt
from llmsup.gateway.prompts.verdict import find_break

CASES = ((3, 600, 0), (9, 600, 0), (41, 500, 0), (41, 500, 20), (101, 2000, 20))
"""Messages, bytes of each, and tools of 700 bytes."""


def body(messages: int, size: int, tools: int, *, marks: bool = False) -> bytes:
    """A conversation; `marks`: with Anthropic's mark on the last message, which moves on with each turn."""
    talk = [said("user" if n % 2 else "assistant", f"m{n}-", size) for n in range(messages)]
    if marks:
        part = {"type": "text", "text": talk[-1]["content"], "cache_control": {"type": "ephemeral"}}
        talk[-1] = {**talk[-1], "content": [part]}
    more: dict[str, Any] = {"tools": [{"name": f"t{n}", "description": "x" * 700} for n in range(tools)]}
    return json.dumps({"model": "m", "messages": talk, **(more if tools else {})}).encode()


def measure(messages: int, size: int, tools: int, *, marks: bool) -> None:
    """Print one line: a conversation's next turn, among 20 other conversations, and the same when nothing is known."""
    chains = Chains()
    for n in range(20):
        other = finished(read_prompt(JsonBody(body(4, 500 + n, 0)), b"", [], chains.known))
        assert other is not None
        chains.went_on(other, "another", None)
    before = finished(read_prompt(JsonBody(body(messages, size, tools, marks=marks)), b"", [], chains.known))
    assert before is not None
    chains.went_on(before, "client", None)
    data = body(messages + 2, size, tools, marks=marks)
    parsed = JsonBody(data)

    def next_turn() -> Prompt:
        prompt = finished(read_prompt(parsed, b"", chains.guesses("client"), chains.known))
        assert prompt is not None
        match = chains.match(prompt)
        assert match is not None
        find_break(match, prompt, "client")
        return prompt

    turn = best(next_turn)
    new = best(lambda: finished(read_prompt(parsed, b"", [], lambda _: None)))
    moving = "a mark that moves" if marks else ""
    print(
        f"{messages:4} messages {tools:3} tools {len(data):8,} bytes: {turn:7.1f} next turn {new:8.1f} first {moving}"
    )


def best(work: Any) -> float:
    """The best time of a call, in microseconds."""
    return min(timeit.repeat(work, timer=time.thread_time, number=10, repeat=150)) * 1e5


def longest_step() -> None:
    """Print how long the longest step of reading a large body takes."""
    data = body(400, 10_000, 20)
    view = memoryview(data)
    parsed = JsonBody(view, {name: memoryview(raw) for name, raw in JsonBody(data)._members.items()})
    rounds = []
    for _ in range(20):
        took, steps = [], read_prompt(parsed, b"", [], lambda _: None)
        while True:
            began = time.thread_time()
            over = next(steps, steps) is steps
            took.append(time.thread_time() - began)
            if over:
                break
        rounds.append((max(took), sum(took), len(took)))
    longest, _, _ = min(rounds)
    _, whole, count = min(rounds, key=lambda each: each[1])
    print(f"{len(data):,} bytes: {count} steps, {whole * 1e3:.1f} ms altogether, the longest {longest * 1e6:.0f} us")


if __name__ == "__main__":
    for case in CASES:
        for marks in (False, True):
            measure(*case, marks=marks)
    longest_step()
