"""What a kind of peer has to bring: how to know it, and how to ask it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import trio
from attrs import frozen

from ..offer import Offer, PeerKind, Room
from ..question import Odd, Questions, Said
from . import reading

LIST = "/v1/models"

RARELY = 30.0
"""Seconds for which a list of models is believed while nothing suggests that it has changed: no question is dearer."""


@frozen(kw_only=True)
class Report:
    """What a peer has said.

    Attributes:
        kind, version, identity, offers, room: See `Peer`.
        notes: What is missing, and why: clauses for people.
    """

    kind: PeerKind
    offers: tuple[Offer, ...]
    version: str = ""
    identity: str = ""
    room: Room | None = None
    notes: tuple[str, ...] = ()


@frozen
class Listed:
    """A peer's answer to `/v1/models`.

    Attributes:
        said: The answer, whatever it is.
        entries: The models in it; None if it isn't a list of models.
    """

    said: Said
    entries: list[dict[str, Any]] | None

    @classmethod
    def of(cls, said: Said) -> Listed:
        """Read it."""
        try:
            found = said.checked().json()
            return cls(said, reading.entries(found, "data") if isinstance(found, dict) else None)
        except Odd:
            return cls(said, None)

    def owned_by(self, *owners: str) -> bool:
        """Whether a model in it has one of these owners, which is what servers write there of themselves."""
        return any(entry.get("owned_by") in owners for entry in self.entries or ())

    def models(self) -> list[dict[str, Any]]:
        """Return the models. Raises Odd if there is no list."""
        if self.entries is None:
            self.said.checked().json()
            raise Odd(f"its answer to {self.said.path} is not a list of models")
        return self.entries


class Asker(ABC):
    """One peer of a kind, and what it has said that is asked only rarely."""

    kind: ClassVar[PeerKind]

    def __init__(self, listed: Listed) -> None:
        self.listed = listed
        self.listed_at = trio.current_time()
        self.changed = False

    @staticmethod
    @abstractmethod
    def recognises(listed: Listed) -> bool:
        """Whether the answer to `/v1/models` is one of this kind's."""

    probe: ClassVar[str] = ""
    """A path that tells, if that answer doesn't; "" if there is none."""

    @staticmethod
    def proved_by(said: Said) -> bool:  # noqa: ARG004 -- by the answer to `probe`
        """Whether the answer to `probe` is one of this kind's."""
        return False

    @abstractmethod
    async def ask(self, questions: Questions) -> Report:
        """Ask what there is now.

        Raises:
            NoAnswer: It didn't tell.
        """

    async def models(self, questions: Questions, *, always: bool = False) -> list[dict[str, Any]]:
        """Return the models that it lists, from memory unless that is old, or `changed` is set.

        Raises:
            NoAnswer: It lists none.
        """
        if always or self.changed or trio.current_time() >= self.listed_at + RARELY or self.listed.entries is None:
            self.listed = Listed.of(await questions.get(LIST))
            self.listed_at, self.changed = trio.current_time(), False
        return self.listed.models()
