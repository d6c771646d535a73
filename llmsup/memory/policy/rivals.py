"""Which models are wanted at the same time by different clients: those take turns, all others just make way.

A single client that alternates between two models never wants both at once: while it waits for one it can't use the
other, so keeping the other loaded would only make it wait longer. Two clients do want both. The difference shows when a
request for one model comes while another request waits for the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import Factory, frozen

from .inputs import LoadedModel, Need

Pair = tuple[str, str]
"""Two names, in order."""


@frozen
class Rivals:
    """Which pairs of models were wanted at the same time, and when that was last seen; one value for all models.

    There are few pairs, because one of the two must have had to wait: models that fit side by side are never rivals.
    """

    met: Mapping[Pair, float] = Factory(dict)

    def seen(self, needs: Sequence[Need], loaded_models: Iterable[LoadedModel], now: float) -> Rivals:
        """Include what can be seen now."""
        wanted = [need for need in needs if need.evicts]
        found = {pair(one.model, other.model) for one in wanted for other in wanted if one.model < other.model}
        for loaded in loaded_models:
            for need in wanted:
                if loaded.name != need.model and _at_once(need, loaded):
                    found.add(pair(need.model, loaded.name))
        return Rivals({**self.met, **dict.fromkeys(found, now)}) if found else self

    def of(self, name: str) -> dict[str, float]:
        """The rivals of a model, and when they were last wanted at the same time."""
        return {(b if a == name else a): when for (a, b), when in self.met.items() if name in (a, b)}


def pair(one: str, other: str) -> Pair:
    """The two in order."""
    return (one, other) if one < other else (other, one)


def _at_once(need: Need, loaded: LoadedModel) -> bool:
    """Whether requests wait for both, or one came for one model while another waited for the other. (That one model is
    still answering proves nothing: its client may have finished reading a moment ago.)
    """
    return (loaded.loading and loaded.waiting > 0) or loaded.last_asked > need.since
