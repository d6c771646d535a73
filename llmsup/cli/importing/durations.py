"""Writes llama-swap's numbers of seconds as people write durations."""

from __future__ import annotations


def duration(seconds: float) -> str | float:
    """1800 as "30m", 5400 as "1h30m", 90 as "90s"; a fraction stays a number."""
    whole = int(seconds)
    if whole != seconds:
        return seconds
    if whole < 120 and whole != 60:
        return f"{whole}s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (left, "s")) if number)


def seconds_in(value: object) -> float | None:
    """A number of seconds, or None if it isn't one."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
