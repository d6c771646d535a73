"""Ollama: `/api/tags` for its models, `/api/ps` for what is loaded (docs/api.md). How busy it is it doesn't tell."""

from __future__ import annotations

from typing import Any

import trio

from ...units import Bytes
from ..offer import Offer, Room
from ..question import Odd, Questions, Said
from . import reading
from .kind import RARELY, Asker, Listed, Report

CLOUD = "models that it runs in Ollama's cloud are left out: {}"


class Ollama(Asker):
    """Such a peer."""

    kind = "ollama"
    probe = "/"
    _version = ""
    _tags: list[dict[str, Any]] | None = None
    _at = 0.0

    @staticmethod
    def recognises(listed: Listed) -> bool:  # noqa: ARG004 -- its list names whoever published a model as the owner
        return False

    @staticmethod
    def proved_by(said: Said) -> bool:
        return said.status == 200 and said.body.strip() == b"Ollama is running"

    async def ask(self, questions: Questions) -> Report:
        if not self._version:
            try:
                self._version = reading.text(reading.member(await questions.json("/api/version"), "version"))
            except Odd:
                self._version = ""
        loaded, note = await self._loaded(questions)
        tags = await self._models(questions, loaded)
        found = list(reading.named(tags, "name", "model"))
        far = [name for name, entry in found if entry.get("remote_host") or entry.get("remote_model")]
        used = [reading.size(entry.get("size")) or 0 for entry in (loaded or {}).values()]
        return Report(
            kind=self.kind,
            version=self._version,
            offers=tuple(_offer(name, entry, loaded) for name, entry in found if name not in far),
            room=None if loaded is None else Room(used=Bytes(sum(used))),
            notes=tuple(each for each in (note, CLOUD.format(len(far)) if far else "") if each),
        )

    async def _loaded(self, questions: Questions) -> tuple[dict[str, dict[str, Any]] | None, str]:
        """What is loaded, by name; None, and why, if that isn't known."""
        try:
            found = reading.entries(await questions.json("/api/ps"), "models")
        except Odd as error:
            return None, f"what is loaded is not known: {error}"
        return dict(reading.named(found or (), "name", "model")), ""

    async def _models(self, questions: Questions, loaded: dict[str, Any] | None) -> list[dict[str, Any]]:
        old = self._tags is None or trio.current_time() >= self._at + RARELY
        if old or not (loaded or {}).keys() <= {name for name, _ in reading.named(self._tags or (), "name", "model")}:
            self._tags = reading.entries(await questions.json("/api/tags"), "models")
            self._at = trio.current_time()
        if self._tags is None:
            raise Odd("its answer to /api/tags is not a list of models")
        return self._tags


def _offer(name: str, entry: dict[str, Any], loaded: dict[str, dict[str, Any]] | None) -> Offer:
    family = reading.text(reading.member(entry.get("details"), "family"))
    now = (loaded or {}).get(name, {})
    return Offer(
        name=name,
        kind="embedding" if "bert" in family else None,
        loaded=None if loaded is None else name in loaded,
        # Of one that isn't loaded it tells the file's size alone, which is less than it will take.
        needs_bytes=reading.size(now.get("size")) or reading.size(entry.get("size")),
        context_length=reading.count(now.get("context_length")),
    )
