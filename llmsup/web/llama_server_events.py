"""`GET /models/sse`: changes of models, as events of llama-server's router. All other events are in `events`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import trio

from ..fleet.fleet import Fleet
from ..process.ring import Event
from .events import HEARTBEAT
from .llama_server_list import tags_and_meta

_STATUS = {
    "waiting": "loading",
    "starting": "loading",
    "ready": "loaded",
    "sleeping": "sleeping",
    "unloaded": "unloaded",
    "failed": "unloaded",
}
"""The router's words for the states that it reports. A model being stopped counts as loaded until it is gone."""


async def follow(fleet: Fleet) -> AsyncGenerator[bytes, None]:
    """Yield every change from now on; ends when llmsup does."""
    seen, told = fleet.events.written, dict[str, str]()
    yield b": models of llmsup\n\n"
    more = True
    while more:
        with trio.move_on_after(HEARTBEAT) as silence:
            more = await fleet.events.news(seen)
        new, seen = fleet.events.since(seen), fleet.events.written
        if silence.cancelled_caught:
            yield b": still here\n\n"
        for event in new:
            name, status = str(event.data.get("model", "")), _STATUS.get(str(event.data.get("state", "")))
            if event.kind == "model" and status and told.get(name) != status:
                told[name] = status
                yield _told(fleet, name, status, event)


def _told(fleet: Fleet, name: str, status: str, event: Event) -> bytes:
    data: dict[str, Any] = {"status": status}
    if status == "loaded" and name in fleet.models:
        data["info"] = {"id": name, **tags_and_meta(fleet.models[name])}
    if event.data["state"] == "failed":
        data |= {"failed": True, "reason": event.data["reason"]}
    kind = "model_status" if status == "loading" else "status_change"
    return b"data: %s\n\n" % msgspec.json.encode({"model": name, "event": kind, "data": data})
