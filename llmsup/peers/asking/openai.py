"""Any server that lists its models at `/v1/models`; llama-server, alone or as a router, tells a little more.

llama-server: tools/server/README.md, "GET /v1/models", "GET /slots", and "Using multiple models" for the router's
`status`.
"""

from __future__ import annotations

from typing import Any

from ..offer import Offer
from ..question import Odd, Questions
from . import reading
from .kind import Asker, Listed, Report

LLAMA_SERVER = "llamacpp"
"""What llama-server writes as the owner of its models."""

_LOADED = {"loaded": True, "unloaded": False, "loading": False, "sleeping": False}


class OpenAi(Asker):
    """Such a server."""

    kind = "openai"
    _fresh = True
    _slots = True  # until it turns out that it doesn't tell

    @staticmethod
    def recognises(listed: Listed) -> bool:
        return listed.owned_by(LLAMA_SERVER)

    async def ask(self, questions: Questions) -> Report:
        found = await self.models(questions, always=not self._fresh)
        self._fresh = False
        alone = self.listed.owned_by(LLAMA_SERVER) and not any("status" in entry for entry in found)
        slots, busy = await self._work(questions) if alone and self._slots else (None, None)
        return Report(
            kind=self.kind,
            offers=tuple(
                _offer(name, entry, alone=alone, slots=slots, busy=busy)
                for name, entry in reading.named(found, "id", "name")
            ),
        )

    async def _work(self, questions: Questions) -> tuple[int | None, int | None]:
        said = await questions.get("/slots")
        try:
            slots = reading.entries(said.checked().json())
        except Odd:
            slots = None
        if not slots:
            self._slots = False  # --no-slots
            return None, None
        return len(slots), sum(slot.get("is_processing") is True for slot in slots)


def _offer(name: str, entry: dict[str, Any], *, alone: bool, slots: int | None, busy: int | None) -> Offer:
    value = reading.member(entry.get("status"), "value")
    meta = entry.get("meta")
    context = (reading.member(meta, "n_ctx"), entry.get("max_model_len"), entry.get("context_length"))
    return Offer(
        name=name,
        loaded=True if alone else _LOADED.get(value) if isinstance(value, str) else None,
        loading=value == "loading",
        slots=slots,
        busy=busy,
        context_length=next(filter(None, map(reading.count, context)), None),
    )
