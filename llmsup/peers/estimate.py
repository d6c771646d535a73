"""How long a backend lets a request wait for its first token, by what is known of it."""

from __future__ import annotations

from attrs import frozen

from ..config.schema import Priority

HERE = ""
"""What stands for this llmsup where a peer's name could."""

SLOTS = 1
"""How many requests one works on at once that doesn't tell. llama-server has 4 by itself, vLLM hundreds; but if it is
one and we believed 4, requests would wait for whole answers with idle peers beside. The other way round they only
spread sooner."""

ANSWER = 10.0
"""Seconds that a request keeps its slot: 300 tokens at 30 a second."""

COMPANY = 4.0
"""Seconds that a request is later, at most, as the others in the other slots are computed together with it."""

NEIGHBOUR = 0.5
"""Seconds that it is later for each request that the same machine's other models have: they share its processor."""

LOAD, WAKE = 30.0, 30.0
"""Seconds of a load, and of waking a machine, of which nothing is known: 20 GB from a disk at 0.7 GB/s."""

EVICTION, MAYBE = 2.0, 1.0
"""What an eviction costs others, in loads: what goes is loaded again sooner or later, takes about as long, and several
wait for it. Half of that where nobody knows whether there is room."""

RATE = 500.0
"""Tokens of a prompt that are computed in a second: 8 billion parameters on a Mac (docs/memory.md)."""


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
        tells_loaded: Whether `loaded` is what it says itself; else it is what is most likely.
        tells_busy: Whether `busy` is.
        others: Requests that the same machine's other models have, in flight and waiting.
        evicts: The models that would have to be unloaded for it, as far as they are known.
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
    tells_loaded: bool = True
    tells_busy: bool = True
    others: int = 0
    evicts: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether a request is worked on at once."""
        return self.loaded and not self.asleep and self.busy < (self.slots or SLOTS)


def expected(candidate: Candidate, most: int = 0) -> float:
    """Return the seconds until the first token, and what they cost others.

    Args:
        most: Tokens of the prompt that some backend remembers: what this one doesn't, it has to compute.
    """
    slots = candidate.slots or SLOTS
    queue = ANSWER * max(candidate.busy - slots + 1, 0) / slots
    company = COMPANY * min(candidate.busy / slots, 1.0) + NEIGHBOUR * candidate.others
    again = max(most - candidate.remembers, 0) / RATE
    return candidate.latency + _until_ready(candidate) + queue + company + again


def _until_ready(candidate: Candidate) -> float:
    woken = WAKE if candidate.asleep else 0.0
    if candidate.loaded:
        return woken
    load = LOAD if candidate.load_seconds is None else candidate.load_seconds
    if candidate.loading:
        return woken + load / 2  # on average half of it is over
    unloads = MAYBE if candidate.fits is None else 0.0 if candidate.fits else EVICTION
    return woken + load * (1 + unloads)


def our_share(told: int, ours: int) -> float:
    """Return our part of all requests for a model, of which backends told so many together, these many of them ours.

    Where nothing is known yet, all of them are ours: nobody else may ask them.
    """
    return min((ours + 1) / (told + 1), 1.0)


def busy_by_now(told: int, ours_then: int, ours: int, share: float = 1.0) -> int:
    """Return how many requests a backend has by now that told a while ago how many it had.

    Others send theirs to it just as we do, and where somebody has just become free all of them know it at once. What we
    have sent there since, they have sent there, too, each as much as usual.

    Args:
        told: What it said.
        ours_then: How many of those were ours.
        ours: How many of ours it has now.
        share: Our part of all requests for the model (`our_share`).
    """
    since = ours - ours_then
    return max(told + round(since / share if since > 0 else since), ours, 0)
