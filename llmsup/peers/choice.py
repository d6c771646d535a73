"""Which backend gets a request, of several that have its model: frozen values in, a decision out."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..config.schema import Priority

HERE = ""
"""What stands for this llmsup where a peer's name could."""


@frozen(kw_only=True)
class Candidate:
    """One backend that has the model, at this moment. None is "not known".

    Attributes:
        where: The peer's name, or `HERE`.
        loaded: Whether it is in memory, so that a request is served at once.
        loading: Whether it is being loaded.
        busy: Requests that it has, in flight and waiting: as it says itself, or as many as we have sent, if that is
            more.
        slots: How many it works on at once.
        fits: Whether it could be loaded without another model being unloaded for it.
        load_seconds: How long loading it takes, in seconds.
        priority: Of the peer, from the config.
        latency: Seconds of a round trip; 0 here.
        remembers: Tokens of this prompt that its prompt cache should still have.
        asleep: Whether its machine has to be woken first.
    """

    where: str = HERE
    loaded: bool = False
    loading: bool = False
    busy: int = 0
    slots: int | None = None
    fits: bool | None = None
    load_seconds: float | None = None
    priority: Priority = "normal"
    latency: float = 0.0
    remembers: int = 0
    asleep: bool = False


@frozen(kw_only=True)
class Choice:
    """A decision.

    Attributes:
        where: Who gets the request.
        reason: Why, in words for a person.
        order: All candidates, the best first: where the request goes if that one fails.
    """

    where: str
    reason: str
    order: tuple[Candidate, ...] = ()


def choose(candidates: Sequence[Candidate]) -> Choice:
    """Return who gets a request. There must be a candidate."""
    best = candidates[0]
    return Choice(where=best.where, reason="it is the only one that has it", order=tuple(candidates))
