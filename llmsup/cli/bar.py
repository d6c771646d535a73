"""Memory in one line with a bar: what the models take, what is available, and the pressure; one more for each device
with its own memory.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from ..units import format_bytes

WIDTH = 30


def bar(memory: Mapping[str, Any], width: int | None = None) -> str:
    """The answer of `/memory` as one line, or as several if it is wider than `width` columns, and for each device as
    many.
    """
    whole = _folded(_whole(memory), width)
    return "\n".join((whole, *(_folded(_device(each), width) for each in memory.get("devices") or ())))


def _whole(memory: Mapping[str, Any]) -> list[str]:
    ceiling, committed, available = (memory[f"{name}_bytes"] for name in ("ceiling", "committed", "available"))
    parts = [
        _drawn(committed, ceiling),
        "available memory unknown" if available is None else f"{format_bytes(available)} available",
    ]
    if memory["waiting"]:
        count = len(memory["waiting"])
        parts.append(f"{count} model{'' if count == 1 else 's'} waiting for memory")
    if memory["level"] != "normal":
        parts.append(f"pressure {memory['level']}: {memory['reason']}".rstrip(": "))
    if memory["problem"]:
        parts.append(str(memory["problem"]))
    return parts


def _device(device: Mapping[str, Any]) -> list[str]:
    free = device["free_bytes"]
    parts = [
        f"{_drawn(device['committed_bytes'], device['total_bytes'])} of {device['pool']}",
        str(device["name"]),
        "free memory unknown" if free is None else f"{format_bytes(free)} free",
    ]
    if free is None and str(device["pool"]).startswith("rpc:"):  # what else is there is its machine's business
        parts.pop()
    if device["level"] != "normal":
        parts.append(f"short: {device['reason']}".rstrip(": "))
    return parts


def _drawn(committed: int, most: int) -> str:
    share = committed / most if most else 0.0
    full = min(round(share * WIDTH), WIDTH)
    if committed and not full:
        full = 1
    return f"{'█' * full}{'░' * (WIDTH - full)} {format_bytes(committed)} of {format_bytes(most)} ({share:.0%})"


def _folded(parts: list[str], width: int | None) -> str:
    lines = parts[:1]
    for part in parts[1:]:
        if width is None or len(f"{lines[-1]} · {part}") <= width:
            lines[-1] += f" · {part}"
        else:
            lines += textwrap.wrap(part, width, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
    return "\n".join(lines)
