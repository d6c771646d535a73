"""What a table says of a loaded model: cells from an entry of `/running`, for `ps` and `top`."""

from __future__ import annotations

from typing import Any

from ..units import Bytes, Seconds, format_bytes, format_seconds
from .loads import load_rate

Entry = dict[str, Any]

NOTHING = "-"


def is_waiting(entry: Entry) -> bool:
    """Whether it can't be started yet, because its memory isn't there."""
    return entry["state"] == "starting" and bool(entry.get("waits_for"))  # older servers don't have it


def state(entry: Entry) -> str:
    """Its state, and how much of it is loaded."""
    if is_waiting(entry):
        return "waiting"
    progress = entry.get("progress")
    known = entry["state"] == "starting" and progress is not None
    return f"starting {progress:.0%}" if known else str(entry["state"])


def requests(entry: Entry) -> str:
    """Those in flight, and those that wait: "2 (+3)"."""
    return f"{entry['in_flight']} (+{entry['waiting']})" if entry["waiting"] else str(entry["in_flight"])


def pid(entry: Entry) -> str:
    """Its engine's."""
    return NOTHING if entry["pid"] is None else str(entry["pid"])


def idle(entry: Entry, now: float) -> str:
    """For how long it has had nothing to do; `now` is the wall clock, in Unix seconds."""
    if entry["in_flight"]:
        return "busy"
    since = max(entry["loaded_at"] or 0, entry["last_used"] or 0)
    return whole(now - since) if entry["loaded_at"] else NOTHING


def ttl_left(entry: Entry, now: float) -> str:
    """The time until it is unloaded, unless it is used."""
    if entry["expires_at"] is not None:
        return whole(entry["expires_at"] - now)
    return "never" if entry["pinned"] or entry["ttl"] is None else NOTHING  # it is in use, or not loaded yet


def memory(entry: Entry) -> str:
    """What it takes, and where that is known from unless it was measured."""
    size, source = entry["footprint_bytes"], entry["footprint_source"]
    if size is None:
        return NOTHING
    return format_bytes(Bytes(size)) + ("" if source == "measured" else f" {source}")


def load(entry: Entry) -> str:
    """How long its load took, and how fast that was."""
    if entry.get("load_seconds") is None or entry["loaded_at"] is None:
        return NOTHING
    took, load = format_seconds(entry["load_seconds"]), entry.get("load")  # older servers don't have it
    return f"{took}, {load_rate(load)}" if load else took


def priority(entry: Entry) -> str:
    """Its priority, and whether it is pinned."""
    parts = [entry["priority"]] if entry["priority"] != "normal" else []
    return ", ".join([*parts, *(["pinned"] if entry["pinned"] else [])]) or "normal"


def whole(seconds: float) -> str:
    """A duration without fractions; below zero, where the server's clock is ahead of ours, it is 0."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 120 else format_seconds(Seconds(whole))
