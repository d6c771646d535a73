"""What `/prompts/MODEL` says, and the event `prompt`."""

from __future__ import annotations

from typing import TypedDict

from ...gateway.prompts.verdict import Kind


class ComputedAgain(TypedDict):
    """A prompt, or a part of one, that was computed again.

    Attributes:
        client: Whose it was: a key's name or an address.
        cause: Why, in one word.
        message: Which message differs, from 1; null where it isn't one message.
        byte: Where it differs from the one before, in its bytes.
        cached_tokens: How many of its tokens the engine didn't have to compute.
    """

    client: str
    cause: Kind
    reason: str
    message: int | None
    role: str | None
    byte: int | None
    prompt_tokens: int | None
    cached_tokens: int | None


class ComputedAgainThen(ComputedAgain):
    """... and when, in Unix seconds."""

    at: float


class Prompts(TypedDict):
    """A model's last prompts.

    Attributes:
        followed: Whether prompts are compared at all (`server.prompt_chains`).
        prompts: How many there were since llmsup started.
        conversations: How many are remembered.
        computed_again: How often each cause was found.
        last: The last of them, oldest first.
    """

    model: str
    followed: bool
    prompts: int
    conversations: int
    computed_again: dict[str, int]
    last: list[ComputedAgainThen]
