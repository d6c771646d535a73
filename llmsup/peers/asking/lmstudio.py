"""LM Studio: `/api/v0/models` has what is loaded, and with how much context (lmstudio.ai/docs, "REST API v0")."""

from __future__ import annotations

from typing import Any

from ...config.schema import Kind
from ..offer import Offer
from ..question import Odd, Questions, Said
from . import reading
from .kind import Asker, Listed, Report

_KINDS: dict[str, Kind] = {"llm": "chat", "vlm": "chat", "embeddings": "embedding"}


class LmStudio(Asker):
    """Such a peer."""

    kind = "lmstudio"
    probe = "/api/v0/models"

    @staticmethod
    def recognises(listed: Listed) -> bool:  # noqa: ARG004 -- its list says nothing that others don't
        return False

    @staticmethod
    def proved_by(said: Said) -> bool:
        try:
            return _entries(said) is not None
        except Odd:
            return False

    async def ask(self, questions: Questions) -> Report:
        found = _entries(await questions.get(self.probe))
        if found is None:
            raise Odd(f"its answer to {self.probe} is not a list of models")
        return Report(kind=self.kind, offers=tuple(_offer(name, entry) for name, entry in reading.named(found, "id")))


def _entries(said: Said) -> list[dict[str, Any]] | None:
    # It answers what it doesn't know with 200, and an error in the body.
    told = said.checked().json()
    found = reading.entries(told, "data") if isinstance(told, dict) else None
    return found if found is not None and all("state" in entry for entry in found) else None


def _offer(name: str, entry: dict[str, Any]) -> Offer:
    state = reading.text(entry.get("state"))
    return Offer(
        name=name,
        kind=_KINDS.get(reading.text(entry.get("type"))),
        loaded=state == "loaded",
        loading=state == "loading",
        context_length=reading.count(entry.get("loaded_context_length"))
        or reading.count(entry.get("max_context_length")),
    )
