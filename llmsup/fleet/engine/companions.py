"""What a model's engine needs besides itself: the RPC workers that hold a part of the model. `fleet.rpc` has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Companions(Protocol):
    """The workers that models have at the moment."""

    def addresses(self, model: str) -> Mapping[str, str]:
        """The pools of a model's workers, by the addresses where its engine finds them, in its config's order."""

    async def engine_ended(self, model: str) -> None:
        """Its engine has ended by itself: if that is because a worker is gone, say so before anybody else does."""


class NoCompanions:
    """There are none."""

    def addresses(self, _model: str) -> Mapping[str, str]:
        """None."""
        return {}

    async def engine_ended(self, _model: str) -> None:
        """Nothing can be gone."""
