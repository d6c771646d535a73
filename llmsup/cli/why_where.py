"""`llmsup why`: where the requests of a model go that peers have, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Answer = Mapping[str, Any]


def where_lines(answer: Answer) -> Iterator[str]:
    """Who has had its requests, and why; and who can't be asked."""
    backends = answer.get("backends") or []  # older servers don't have it
    asked = sorted((each for each in backends if each["requests"]), key=lambda each: -each["requests"])
    if asked:
        yield f"Where its requests go: {', '.join(map(_share, asked))}."
    elif backends:
        yield f"No request has come for it yet; it is {_and([_at(each) for each in backends])}."
    for each in backends:
        if each["now"] is None:
            who = each["peer"] or "this llmsup"
            reason = str(each["reason"] or "that is not known")
            yield f"It is not asked of {who} now: {reason.removeprefix(f'{who} has been ').rstrip('.')}."


def _share(backend: Answer) -> str:
    reasons = "; ".join(str(each["reason"]) for each in backend["reasons"][:2])
    return f"{backend['peer'] or 'here'} {backend['requests']} ({reasons})"


def _at(backend: Answer) -> str:
    return f"at {backend['peer']}" if backend["peer"] else "here"


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
