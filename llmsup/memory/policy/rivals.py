"""Which models are wanted at the same time by different clients: those take turns, all others just make way.
One client that asks now this model, now that never wants both: while it waits for the one it can't ask the other, so
that to keep the other for a while only makes it wait. Two clients do. The difference can be seen: a request for one
model comes while another request waits for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import Factory, frozen

from .inputs import LoadedModel, Need

Pair = tuple[str, str]
"""Two names, in order."""


@frozen
class Rivals:
    """Who met whom, and when last; one value for all models.

    Only pairs of which one was waited for meet, so that there are few: what fits is never rivals.
    """

    met: Mapping[Pair, float] = Factory(dict)

    def seen(self, needs: Sequence[Need], loaded_models: Iterable[LoadedModel], now: float) -> Rivals:
        """Itself, with what can be seen now."""
        wanted = [need for need in needs if need.evicts]
        found = {pair(one.model, other.model) for one in wanted for other in wanted if one.model < other.model}
        for loaded in loaded_models:
            for need in wanted:
                if loaded.name != need.model and _at_once(need, loaded):
                    found.add(pair(need.model, loaded.name))
        return Rivals({**self.met, **dict.fromkeys(found, now)}) if found else self

    def since(self, one: str, other: str) -> float:
        """When two last met; minus infinity: never."""
        return self.met.get(pair(one, other), float("-inf"))

    def of(self, name: str) -> dict[str, float]:
        """Whom one has met, and when last."""
        return {(b if a == name else a): when for (a, b), when in self.met.items() if name in (a, b)}


def pair(one: str, other: str) -> Pair:
    """The two in order."""
    return (one, other) if one < other else (other, one)


def _at_once(need: Need, loaded: LoadedModel) -> bool:
    """Whether requests wait for both, or one came for one model while another waited for the other. (That one model is
    still answering proves nothing: its client may have finished reading a moment ago.)
    """
    return (loaded.loading and loaded.waiting > 0) or loaded.last_asked > need.since
