"""`llmsup why --prompt`: why prompts were computed again, as the server remembers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..units import format_seconds
from .table import Column, Table

Answer = Mapping[str, Any]

KINDS = {
    "settings": "settings",
    "edits": "llmsup's config",
    "tools": "other tools",
    "system": "the system prompt",
    "message": "a changed message",
    "text": "a changed text",
    "reasoning": "reasoning left out",
    "dropped": "messages left out",
    "inserted": "messages put in",
    "no_cache": "cache not wanted",
    "moved": "another server",
    "reload": "a reload",
    "slot": "another took its place",
    "template": "the chat template",
    "engine": "the engine",
}
"""Why a prompt was computed again, in words."""


def sentences(answer: Answer) -> Iterator[str]:
    """What is known of a model's prompts."""
    name, count = answer["model"], answer["prompts"]
    if not answer["followed"]:
        yield f"The prompts of {name} are not followed: server.prompt_chains is false."
    elif not count:
        yield f"No prompt of {name} was long enough to be followed since llmsup started (1 KiB)."
    else:
        told = [f"{times} {KINDS.get(kind, kind)}" for kind, times in answer["computed_again"].items()]
        of = f"{name}: {count} {'prompt' if count == 1 else 'prompts'} since llmsup started"
        yield (
            f"{of}, {sum(answer['computed_again'].values())} computed again ({', '.join(told)})."
            if told
            else (f"{of}, none of which was computed again without need.")
        )


def table(answer: Answer, lines: int, now: float) -> Table:
    """The last that were computed again, oldest first."""
    columns = (
        Column("WHEN"),
        Column("CLIENT"),
        Column("TOKENS", right=True),
        Column("CACHED", right=True),
        Column("WHY", prose=True),
    )
    rows = []
    for entry in answer["last"][max(0, len(answer["last"]) - lines) :]:
        tokens, cached = (
            "?" if entry[name] is None else f"{entry[name]:,}" for name in ("prompt_tokens", "cached_tokens")
        )
        ago = f"{format_seconds(max(round(now - entry['at']), 0))} ago" if now - entry["at"] >= 1 else "just now"
        rows.append([ago, entry["client"], tokens, cached, entry["reason"]])
    return Table(columns, rows)
