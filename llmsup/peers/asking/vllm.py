"""vLLM: `/v1/models` for its model and the adapters of that, `/metrics` for how busy it is, and whether it sleeps.

docs.vllm.ai, "Production Metrics" and "Sleep Mode".
"""

from __future__ import annotations

import re
from typing import Any, Final

from ..offer import Offer
from ..question import Odd, Questions
from . import reading
from .kind import Asker, Listed, Report

_LINE: Final = re.compile(
    rb"^vllm:(num_requests_running|num_requests_waiting|engine_sleep_state)(\{[^}\n]{0,1000}\})? ([0-9.eE+]{1,30})\r?$",
    re.MULTILINE,
)


class Vllm(Asker):
    """Such a peer."""

    kind = "vllm"
    _version = ""
    _fresh = True

    @staticmethod
    def recognises(listed: Listed) -> bool:
        return listed.owned_by("vllm")

    async def ask(self, questions: Questions) -> Report:
        if not self._version:
            try:
                self._version = reading.text(reading.member(await questions.json("/version"), "version"))
            except Odd:
                self._version = ""
        found = await self.models(questions, always=not self._fresh)
        self._fresh = False
        said = await questions.get("/metrics")
        busy, asleep = _work(said.body) if said.status == 200 else (None, False)
        return Report(
            kind=self.kind,
            version=self._version,
            offers=tuple(_offer(name, entry, busy, asleep) for name, entry in reading.named(found, "id")),
            notes=() if busy is not None else ("its /metrics don't tell how busy it is",),
        )


def _work(metrics: bytes) -> tuple[int | None, bool]:
    """How many requests it has, over all its engines, and whether it sleeps."""
    busy, told, asleep = 0.0, False, False
    for name, labels, value in _LINE.findall(metrics):
        try:
            amount = float(value)
        except ValueError:
            continue
        if name != b"engine_sleep_state":
            busy, told = busy + min(amount, 1e6), True
        elif amount and b'sleep_state="awake"' not in labels:
            asleep = True  # "weights_offloaded" or "discard_all"
    return int(busy) if told else None, asleep


def _offer(name: str, entry: dict[str, Any], busy: int | None, asleep: bool) -> Offer:
    return Offer(name=name, loaded=not asleep, busy=busy, context_length=reading.count(entry.get("max_model_len")))
