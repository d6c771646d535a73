"""llama-swap: `/v1/models`, and `/running` for what is loaded. It knows neither how busy its models are nor memory.

Its answers are those of internal/server/api.go.
"""

from __future__ import annotations

from typing import Any

from ..offer import Offer
from ..question import NoAnswer, Questions
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
        running = reading.entries(await questions.json("/running"), "running") or []
        states = {name: reading.text(entry.get("state")) for name, entry in reading.named(running, "model")}
        self.changed = self.changed or (states != self._states and not self._fresh)
        self._states, self._fresh = states, False
        found = await self.models(questions)
        return Report(
            kind=self.kind,
            version=self._version,
            offers=tuple(_offer(name, entry, states) for name, entry in reading.named(found, "id")),
        )

    async def _build(self, questions: Questions) -> str:
        try:
            return reading.text(reading.member(await questions.json("/api/version"), "version"))
        except NoAnswer:
            return ""


def _offer(name: str, entry: dict[str, Any], states: dict[str, str]) -> Offer:
    own = reading.member(entry.get("meta"), "llamaswap")
    type_ = reading.member(own, "type")
    loaded: bool | None = states.get(name) == "ready"
    if not loaded and type_ in ("peer", "selector", "profile"):
        loaded = None  # what it stands for isn't in /running under this name
    elif not loaded and name not in states and type_ == "alias":
        # It says "loaded" of models that are being started, too, and so this may be early.
        loaded = reading.member(entry.get("status"), "value") == "loaded"
    return Offer(
        name=name,
        loaded=loaded,
        loading=states.get(name) == "starting",
        context_length=reading.count(entry.get("context_length")),
        hops=1 if type_ == "peer" else 0,
    )
