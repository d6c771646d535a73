"""llmsup's reading of the values in llama-swap's file, whatever type YAML has given them."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    """A scalar as llama-swap would insert it into a string."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def items(value: Any) -> list[Any]:
    """A list's items; none for anything else."""
    return value if isinstance(value, list) else []


def inside(value: Any, *path: str) -> Any:
    """A value in nested tables, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def seconds_in(value: object) -> float | None:
    """A number of seconds, or None if it isn't one."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def duration(seconds: float) -> str | float:
    """Seconds as people write them: 1800 as "30m", 5400 as "1h30m", 90 as "90s"; a fraction stays a number."""
    whole = int(seconds)
    if whole != seconds:
        return seconds
    if whole < 120 and whole != 60:
        return f"{whole}s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (left, "s")) if number)
