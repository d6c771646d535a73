"""`GET /api/events`: everything that llama-swap's dashboard shows, as it happens, in its envelope.

Each event is `{"type": ..., "data": "<JSON>"}`: first all that there is, then what changes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio

from ..catalog.described import capabilities, stated_context
from ..fleet.fleet import Fleet
from ..fleet.model.model import Model
from ..fleet.model.states import State
from ..gateway.activity import Activity, Record
from ..gateway.keyring import ANYBODY
from ..gateway.places import Placed, Places
from ..process.logbook import passed_on

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, to keep proxies from closing the connection."""

PACE = 0.1
"""Seconds between two looks: a page that is redrawn for every line of a log would be of no use."""

SHOWN = 100_000
"""Characters of a log that the page keeps, so that older lines needn't be sent."""

_STATES = {
    State.WAITING: "starting",
    State.STARTING: "starting",
    State.READY: "ready",
    State.DRAINING: "stopping",
    State.STOPPING: "stopping",
}


async def follow(fleet: Fleet, activity: Activity, places: Callable[[], Places]) -> AsyncGenerator[bytes, None]:
    """Yield the events; ends when llmsup does."""
    page = _Page(fleet, activity, places)
    yield b"".join([_event(type_, data) for type_, data in page.first()])
    while not fleet.book.closed:
        wake = trio.Event()
        for watched in (fleet, fleet.events, fleet.book, activity):
            watched.wakes(wake)
        if news := b"".join([_event(type_, data) for type_, data in page.news()]):
            yield news
            await trio.sleep(PACE)
            continue
        with trio.move_on_after(HEARTBEAT) as silence:
            await wake.wait()
        if silence.cancelled_caught:
            yield b": still here\n\n"


class _Page:
    """What one dashboard has been sent."""

    def __init__(self, fleet: Fleet, activity: Activity, places: Callable[[], Places]) -> None:
        self._fleet = fleet
        self._places = places
        self._activity = activity
        self._read = fleet.book.written
        self._done = activity.finished
        self._shown = activity.in_flight()
        self._models = fleet.models
        self._happened = fleet.events.written
        self._elsewhere = self._of_peers()

    def first(self) -> Iterable[tuple[str, Any]]:
        """All that there is."""
        yield from _logs(self._fleet.book.tail())
        yield "modelStatus", [*map(_model, self._fleet.models.values()), *self._elsewhere]
        yield "uiConfig", {"activity": {"session_id": []}}
        yield "profileChanged", {"active": None}
        yield "inflight", {"operation": "snapshot", "requests": [_request(each) for each in self._shown.values()]}

    def news(self) -> Iterable[tuple[str, Any]]:
        """What has changed since the last time."""
        fleet, activity = self._fleet, self._activity
        of_peers = self._of_peers()
        if self._happened != fleet.events.written or self._models is not fleet.models or self._elsewhere != of_peers:
            self._happened, self._models, self._elsewhere = fleet.events.written, fleet.models, of_peers
            yield "modelStatus", [*map(_model, fleet.models.values()), *of_peers]
        _, lines = fleet.book.after(self._read)
        self._read = fleet.book.written
        yield from _logs(lines)
        before, self._shown = self._shown, activity.in_flight()
        for number in before.keys() - self._shown.keys():
            yield "inflight", {"operation": "remove", "id": str(number)}
        for number in sorted(self._shown.keys() - before.keys()):
            yield "inflight", {"operation": "upsert", "request": _request(self._shown[number])}
        done, self._done = activity.done(self._done), activity.finished
        for record in done:
            yield "activity", {"id": record.number}

    def _of_peers(self) -> list[dict[str, Any]]:
        return [_elsewhere(placed) for placed in self._places().listed(ANYBODY)]


def _event(type_: str, data: Any) -> bytes:
    inner = msgspec.json.encode(data).decode()
    return b"event:message\ndata:%s\n\n" % msgspec.json.encode({"type": type_, "data": inner})


def _logs(lines: Iterable[str]) -> Iterable[tuple[str, Any]]:
    """llmsup's own lines, and those of engines."""
    for source, theirs in (("proxy", False), ("upstream", True)):
        if text := "".join(f"{line}\n" for line in lines if passed_on(line) is theirs):
            # Bytes of a file's name that are not UTF-8 can't be said in JSON.
            yield "logData", {"source": source, "data": text[-SHOWN:].encode("utf-8", "replace").decode()}


def _model(model: Model) -> dict[str, Any]:
    spec, has = model.spec, capabilities(model.served)
    context = model.estimate.context.n_ctx_seq if model.estimate else stated_context(spec)
    can = {"vision": "vision" in has, "function_calling": "tools" in has, "reranker": spec.kind == "rerank"}
    return {
        "id": spec.name,
        "name": "",
        "description": spec.description,
        "state": _STATES.get(model.state, "stopped"),
        "unlisted": spec.unlisted,
        "peerID": "",
        "aliases": list(spec.aliases),
        "capabilities": {name: True for name, there in can.items() if there},
        **({"context_length": context} if context else {}),
    }


def _elsewhere(placed: Placed) -> dict[str, Any]:
    """A model of peers; one of them is named, as llama-swap has each from one only."""
    state = "ready" if placed.loaded else "starting" if placed.loading_at else "stopped"
    context = placed.context_length
    return {
        "id": placed.name,
        "name": "",
        "description": placed.spec.description,
        "state": state,
        "unlisted": False,
        "peerID": next((name for name in placed.peers if name not in placed.down), placed.peers[0]),
        "aliases": placed.aliases[1:],
        "capabilities": {},
        **({"context_length": context} if context else {}),
    }


def _request(record: Record) -> dict[str, Any]:
    """A request in flight; headers, which may have keys in them, are not shown."""
    return {
        "id": str(record.number),
        "timestamp": stamp(record.at),
        "model": record.model,
        "req_path": record.path,
        "method": record.method,
        "req_headers": {},
        "remote_ip": record.client,
        "resp_headers": {},
        "resp_bytes": 0,
        "elapsed_ms": max(0, round(1000 * (time.time() - record.at))),
    }


def stamp(seconds: float) -> str:
    """A moment (Unix seconds) as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
