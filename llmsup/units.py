"""Durations and sizes: parsed once at the edge, formatted for people."""

from __future__ import annotations

import math
import re
from typing import NewType

Seconds = NewType("Seconds", float)
"""A duration in seconds; `inf` is "never"."""

Bytes = NewType("Bytes", int)
"""A size in bytes."""

NEVER = Seconds(math.inf)

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_DURATION_FACTORS = (86400, 3600, 60, 1)
_MILLISECONDS = re.compile(r"(\d+(?:\.\d+)?)ms")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B|B|)", re.ASCII | re.IGNORECASE)
_SIZE_FACTORS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}


def parse_seconds(text: str) -> Seconds:
    """Parse "90s", "30m", "1h30m", "250ms", "never" or a plain number of seconds.

    Raises:
        ValueError: It is none of these; the message is fit for a person.
    """
    text = text.strip().lower()
    if text == "never":
        return NEVER
    try:
        match = _MILLISECONDS.fullmatch(text)
        seconds = float(match[1]) / 1000 if match else float(text)
    except ValueError:
        match = _DURATION.fullmatch(text)
        if not match or not any(match.groups()):
            raise ValueError(f'{text!r} is not a duration: write "90s", "30m", "1h30m" or "never"') from None
        seconds = sum(float(n or 0) * f for n, f in zip(match.groups(), _DURATION_FACTORS, strict=True))
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{text!r} is not a duration: it must be finite and not negative")
    return Seconds(seconds)


def parse_bytes(text: str) -> Bytes:
    """Parse "8GiB", "512MiB", "1.5GB" or a plain number of bytes.

    Raises:
        ValueError: It is none of these; the message is fit for a person.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f'{text!r} is not a size: write "8GiB", "512MiB", "1.5GB" or a number of bytes')
    size = float(match[1]) * _SIZE_FACTORS[match[2].lower()]
    if size >= 2**63:
        raise ValueError(f"{text[:40]!r} is larger than any machine")
    return Bytes(round(size))


def format_seconds(seconds: float) -> str:
    """Format a duration for people: "0.42 s", "90 s", "3 m 12 s", "30 m", "1 h 30 m", "never"."""
    if math.isinf(seconds):
        return "never"
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} m {rest} s" if rest else f"{minutes} m"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} m"
    if hours < 48:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    return f"{hours // 24} d"


def format_bytes(size: float) -> str:
    """Format a size in binary units: "512 MiB", "8.3 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1023.5:
            return f"{size:.0f} {unit}" if unit in ("B", "KiB") or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
