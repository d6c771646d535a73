"""llama-swap: `/v1/models`, and `/running` for what is loaded. It knows neither how busy its models are nor memory.

Its answers are those of internal/server/api.go.
"""

from __future__ import annotations

from typing import Any

from ..offer import Offer
from ..question import Odd, Questions
from . import reading
from .kind import Asker, Listed, Report


class LlamaSwap(Asker):
    """Such a peer."""

    kind = "llama-swap"
    _version: str | None = None
    _states: object = None
    _fresh = True

    @staticmethod
    def recognises(listed: Listed) -> bool:
        return listed.owned_by("llama-swap")

    async def ask(self, questions: Questions) -> Report:
        if self._version is None:
            self._version = await self._build(questions)
        states, note = await self._running(questions)
        self.changed = self.changed or (states != self._states and not self._fresh)
        self._states, self._fresh = states, False
        found = await self.models(questions)
        return Report(
            kind=self.kind,
            version=self._version,
            offers=tuple(_offer(name, entry, states) for name, entry in reading.named(found, "id")),
            notes=(note,) if note else (),
        )

    async def _running(self, questions: Questions) -> tuple[dict[str, str] | None, str]:
        """The states of those that have an engine, by name; None, and why, if that isn't known."""
        try:
            running = reading.entries(await questions.json("/running"), "running")
        except Odd as error:
            return None, f"what is loaded is not known: {error}"
        return {name: reading.text(entry.get("state")) for name, entry in reading.named(running or (), "model")}, ""

    async def _build(self, questions: Questions) -> str:
        try:
            return reading.text(reading.member(await questions.json("/api/version"), "version"))
        except Odd:
            return ""


def _offer(name: str, entry: dict[str, Any], states: dict[str, str] | None) -> Offer:
    own = reading.member(entry.get("meta"), "llamaswap")
    type_ = reading.member(own, "type")
    state = None if states is None else states.get(name)
    loaded: bool | None = None if states is None else state == "ready"
    if state is None and type_ in ("peer", "selector", "profile"):
        loaded = None  # what it stands for isn't in /running under this name
    elif state is None and (states is None or type_ == "alias"):
        # It says "loaded" of models that are being started, too, and so this may be early.
        value = reading.member(entry.get("status"), "value")
        loaded = value == "loaded" if value in ("loaded", "unloaded") else None
    return Offer(
        name=name,
        loaded=loaded,
        loading=state == "starting",
        context_length=reading.count(entry.get("context_length")),
        hops=1 if type_ == "peer" else 0,
    )
