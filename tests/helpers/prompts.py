"""Prompts read from bodies, and conversations that are remembered, as the gateway does it."""

from __future__ import annotations

import json
from typing import Any

from llmsup.gateway.body import JsonBody
from llmsup.gateway.prompts.chain import Chains
from llmsup.gateway.prompts.links import Prompt
from llmsup.gateway.prompts.pieces import Steps, T
from llmsup.gateway.prompts.reader import read_prompt
from llmsup.gateway.prompts.verdict import Break, find_break

Message = dict[str, Any]


def finished(steps: Steps[T]) -> T:
    """The result of work in steps, taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def steps_of(steps: Steps[T]) -> int:
    """How many steps a piece of work takes."""
    return sum(1 for _ in steps) + 1


def said(role: str, about: str, size: int = 600) -> Message:
    """A message of some length, another one for each thing that it is about."""
    words = " ".join(f"{about}{number}" for number in range(size))
    return {"role": role, "content": words[:size]}


class Memory:
    """What the gateway remembers of one model's prompts, without the gateway."""

    def __init__(self) -> None:
        self.chains = Chains()

    def prompt(self, body: dict[str, Any], client: str = "c", edits: bytes = b"") -> Prompt:
        read = read_prompt(JsonBody(json.dumps(body).encode()), edits, self.chains.guesses(client), self.chains.known)
        prompt = finished(read)
        assert prompt is not None
        return prompt

    def ask(self, client: str = "c", edits: bytes = b"", **body: Any) -> Break | None:
        """One request: says where it breaks, and remembers it."""
        prompt = self.prompt(body, client, edits)
        match = self.chains.match(prompt)
        found = None if match is None else find_break(match, prompt, client)
        before = match.conversation if match is not None and (match.related or match.goes_on or found) else None
        self.chains.went_on(prompt, client, before)
        return found
