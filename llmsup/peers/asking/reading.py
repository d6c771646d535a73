"""Values in what peers say: taken if they are what they should be, and left out otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...config.checks import check_name
from ...units import Bytes

MOST = 5000
"""Models that a peer may have."""

LONGEST_NAME = 400
_ABSURD = 2**50


def entries(said: Any, *places: str) -> list[dict[str, Any]] | None:
    """Return the objects of a list in an answer: of the answer itself, or of the first member of it that is there.

    None: there is no list.
    """
    found = said if isinstance(said, list) else None
    if isinstance(said, dict):
        found = next((said[place] for place in places if isinstance(said.get(place), list)), None)
    return None if found is None else [each for each in found[:MOST] if isinstance(each, dict)]


def name(value: Any) -> str | None:
    """Return a model's name, if it can stand in a request, a path and a log line."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        return None
    try:
        check_name(value)
    except ValueError:
        return None
    return value


def named(found: Iterable[dict[str, Any]], *members: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return those that have a usable name, in the first of these members that is there, and each name once."""
    seen = set()
    for entry in found:
        value = name(next((entry[member] for member in members if member in entry), None))
        if value is not None and value not in seen:
            seen.add(value)
            yield value, entry


def member(value: Any, key: str) -> Any:
    """Return a member of what may be an object."""
    return value.get(key) if isinstance(value, dict) else None


def text(value: Any) -> str:
    """Return a short text of one line; "" if it is none."""
    return value if isinstance(value, str) and len(value) <= 100 and value.isprintable() else ""


def number(value: Any) -> int | None:
    """Return a whole number from 0 on that may be true."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _ABSURD else None


def count(value: Any) -> int | None:
    """Return a number of things; 0 of them is "it doesn't tell"."""
    return number(value) or None


def size(value: Any) -> Bytes | None:
    """Return a number of bytes; 0 is "it doesn't tell"."""
    return None if (found := number(value)) in (None, 0) else Bytes(found)


def seconds(value: Any) -> float | None:
    """Return a duration."""
    right = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 7 * 24 * 3600
    return float(value) if right else None
