"""How a mistake is worded: what was found, what was probably meant, and where it stands.

It does not know which mistakes there are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

Place = tuple[str | int, ...]
"""The way to a value through the file's tables and lists."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_KINDS: tuple[tuple[type, str], ...] = (
    (str, "a string"),
    (int, "a whole number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "a table"),
)


def got(value: Any) -> str:
    """Say what stands in the file: "got a string '5m'"."""
    if isinstance(value, bool):
        return f"got {str(value).lower()}"
    kind = next((name for type_, name in _KINDS if isinstance(value, type_)), f"a {type(value).__name__}")
    text = repr(value) if isinstance(value, str | list | dict) else str(value)
    return f"got {kind} {text if len(text) <= 60 else text[:57] + '...'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'ttl'?)", or "" where nothing known is near."""
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
    """Every mistake of one file, in the order they were found."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: list[str] = []

    def add(self, what: str, *place: str | int) -> None:
        """Note a mistake and where it stands; no place means the file as a whole."""
        where = f"{self.source}: {dotted(place)}" if place else self.source
        self.lines.append(f"{what} @ {where}")
