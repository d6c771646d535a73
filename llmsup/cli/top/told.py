"""What came of a load, an unload or a pin, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...units import format_bytes, format_seconds


def told(answer: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Put the server's answer into words; `asked` is the request's body."""
    name, state, pin = answer["model"], answer.get("state"), asked.get("pinned")
    if "freed_bytes" in answer:
        freed, took = answer["freed_bytes"], format_seconds(answer["seconds"])
        return f"{name} unloaded: {format_bytes(freed)} back in {took}" if freed else f"{name} is not loaded."
    if state in ("unloaded", "failed"):
        return f"{name} can't be loaded; w tells why."
    if pin is not None:
        return f"{name} is pinned: it stays." if pin else f"{name} is not pinned any more."
    return f"{name} is loaded already." if state == "ready" else f"{name} is being loaded."
