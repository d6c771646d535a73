"""How a mistake is worded: what was found, what was probably meant, and where."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

Place = tuple[str | int, ...]
"""The path to a value through the file's tables and lists."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_KINDS: tuple[tuple[type, str], ...] = (
    (str, "a string"),
    (int, "a whole number"),
    (float, "a number"),
    (list, "a list"),
)
_LONGEST = 60


def got(value: Any) -> str:
    """Say what the file has: "got a string '5m'"."""
    return f"got {told(value)}"


def told(value: Any, table: str = "a table") -> str:
    """Describe a value in the terms of TOML and JSON, not Python's: "true", "a string '5m'", "a list [null]".

    Args:
        table: What the format calls a table.
    """
    if isinstance(value, dict):
        return table
    if value is None or isinstance(value, bool):
        return _written(value)
    kind = next((name for type_, name in _KINDS if isinstance(value, type_)), f"a {type(value).__name__}")
    text = _written(value)
    return f"{kind} {text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}"


def _written(value: Any, *, inside: bool = False) -> str:
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    if isinstance(value, list):
        if inside and value:
            return "[...]"
        return f"[{', '.join(_written(item, inside=True) for item in value[:_LONGEST])}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'ttl'?)", or "" if no known word is close."""
    by_folded = {name.casefold().replace("-", "_"): name for name in known}
    near = difflib.get_close_matches(word.casefold().replace("-", "_"), by_folded, n=1)
    return f" (did you mean {by_folded[near[0]]!r}?)" if near else ""


def dotted(place: Place) -> str:
    """Write a place the way TOML does: `models."a.b".args[0]`."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _BARE_KEY.fullmatch(step) else f'"{step}"'
            text += f".{key}" if text else key
    return text


class Report:
    """Every mistake in one file, in the order they were found."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: list[str] = []

    def add(self, what: str, *place: str | int) -> None:
        """Record a mistake and its place; without a place it concerns the whole file."""
        where = f"{self.source}: {dotted(place)}" if place else self.source
        self.lines.append(f"{what} @ {where}")
