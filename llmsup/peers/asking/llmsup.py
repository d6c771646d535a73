"""Another llmsup: `/v1/models`, and for those who may, `/running` and `/memory`."""

from __future__ import annotations

from typing import Any

import attrs

from ...config.schema import Kind
from ...units import Bytes
from ..offer import Offer, Room
from ..question import Odd, Questions, Refused
from ..via import ID, MOST_HOPS, STAMP
from . import reading
from .kind import Asker, Listed, Report

NO_ADMIN = (
    "its key may not see what is loaded there, nor how much room there is: with `admin = true` there, requests go "
    "where they are served soonest"
)

MOST_ORIGINS = 100
"""Servers that may have one model."""

_KINDS: dict[str, Kind] = {"chat": "chat", "embedding": "embedding", "rerank": "rerank"}
_LOADED = {"loaded": True, "loading": False, "unloaded": False, "failed": False}


class Llmsup(Asker):
    """Such a peer."""

    kind = "llmsup"
    _version = ""
    _note = ""
    _seen: object = None
    _fresh = True

    def __init__(self, listed: Listed) -> None:
        super().__init__(listed)
        self._load_seconds: dict[str, float] = {}

    @staticmethod
    def recognises(listed: Listed) -> bool:
        return ID in listed.said.headers or listed.owned_by("llmsup")

    async def ask(self, questions: Questions) -> Report:
        if not self._version:
            self._version = await self._build(questions)
        running, room = await self._now(questions)
        found = await self.models(questions, always=running is None and not self._fresh)
        self._fresh = False
        offers = [offer for name, entry in reading.named(found, "id") if (offer := _listed(name, entry)) is not None]
        if running is not None:
            offers = [self._with(running, room, offer) for offer in offers]
        return Report(
            kind=self.kind,
            version=self._version,
            identity=reading.text(self.listed.said.headers.get(ID, b"").decode("latin-1")),
            offers=tuple(offers),
            room=room,
            notes=(self._note,) if self._note else (),
        )

    async def _build(self, questions: Questions) -> str:
        try:
            said = await questions.json("/props")
        except Odd:
            return ""
        return reading.text(reading.member(said, "build_info")).removeprefix("llmsup ")

    async def _now(self, questions: Questions) -> tuple[dict[str, dict[str, Any]] | None, Room | None]:
        """What is loaded there, by name, and its memory; None: we may not know."""
        try:
            said = (await questions.get("/running")).checked()
            found = reading.entries(said.json(), "running")
            memory = await questions.json("/memory")
        except Odd as error:
            self._note = NO_ADMIN if isinstance(error, Refused) else f"what is loaded is not known: {error}"
            return None, None
        self._note = ""
        running = dict(reading.named(found or (), "model"))
        ceiling = reading.size(reading.member(memory, "ceiling_bytes"))
        seen = said.headers.get(STAMP), ceiling, {name: entry.get("state") for name, entry in running.items()}
        self.changed = self.changed or seen != self._seen
        if self._fresh:
            self.changed = False  # the list was asked for a moment ago
        self._seen = seen
        for name, entry in running.items():
            if (took := reading.seconds(entry.get("load_seconds"))) is not None:
                self._load_seconds[name] = took
        return running, _room(memory)

    def _with(self, running: dict[str, dict[str, Any]], room: Room | None, offer: Offer) -> Offer:
        """What is so now, of a model there."""
        if offer.hops:
            return offer
        model = offer.name if offer.name in running else offer.name.rpartition(":")[0]  # a preset of it, perhaps
        entry = running.get(model, {})
        free = None if room is None else room.available
        return attrs.evolve(
            offer,
            loaded=entry.get("state") == "ready",
            loading=entry.get("state") == "starting",
            busy=(reading.number(entry.get("in_flight")) or 0) + (reading.number(entry.get("waiting")) or 0),
            fits=None if free is None or offer.needs_bytes is None else offer.needs_bytes <= free,
            load_seconds=self._load_seconds.get(model, offer.load_seconds),
        )


def _listed(name: str, entry: dict[str, Any]) -> Offer | None:
    """A model of the list; None if it is no offer: it can't be served there, or comes from too far."""
    status, peer = entry.get("status"), entry.get("peer")
    if reading.member(status, "servable") is False or reading.member(status, "no_engine"):
        return None
    hops = (reading.number(reading.member(peer, "hops")) or 1) if isinstance(peer, dict) else 0
    if hops >= MOST_HOPS or entry.get("fits") is False:
        return None
    value = reading.member(status, "value")
    loaded = reading.member(peer, "loaded") if hops else _LOADED.get(value) if isinstance(value, str) else None
    return Offer(
        name=name,
        kind=_KINDS.get(reading.text(entry.get("kind"))),
        loaded=loaded if isinstance(loaded, bool) else None,
        loading=value == "loading" and not hops,
        needs_bytes=reading.size(entry.get("needs_bytes")),
        context_length=reading.count(entry.get("context_length")),
        load_seconds=reading.seconds(entry.get("load_seconds")),
        slots=reading.count(entry.get("slots")),
        hops=hops,
        down=_all_down(peer),
        origins=_origins(peer),
    )


def _origins(peer: Any) -> frozenset[str]:
    found = reading.member(peer, "origins")
    ids = found if isinstance(found, list) and len(found) <= MOST_ORIGINS else []
    return frozenset(each for each in ids if each == "" or reading.text(each))


def _all_down(peer: Any) -> bool:
    peers, down = reading.member(peer, "peers"), reading.member(peer, "down")
    return isinstance(peers, list) and isinstance(down, list) and bool(peers) and len(down) >= len(peers)


def _room(memory: Any) -> Room | None:
    ceiling, used, available = (
        reading.number(reading.member(memory, f"{each}_bytes")) for each in ("ceiling", "committed", "available")
    )
    if ceiling is None:
        return None
    free = [ceiling - used] if used is not None else []
    free += [available] if available is not None else []
    return Room(
        ceiling=reading.size(ceiling),
        used=None if used is None else Bytes(used),
        available=Bytes(max(min(free), 0)) if free else None,
    )
