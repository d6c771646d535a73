"""Where the requests of a model go that several servers have, as the control API shows it."""

from __future__ import annotations

from typing import TypedDict


class Reason(TypedDict):
    """Why requests went to a server, and how many for that reason."""

    reason: str
    requests: int


class Weighed(TypedDict):
    """What is known of a server that has the model; null: it isn't known.

    Attributes:
        peer: Which one; null: this llmsup.
        loaded: Whether the model is in memory there.
        loading: Whether it is being loaded.
        busy: Requests that it has there, in flight and waiting.
        slots: How many it works on at once.
        fits: Whether it could be loaded there without another being unloaded.
        load_seconds: How long loading it takes there.
        latency_seconds: What a round trip takes.
        remembers: Tokens of the prompt that its prompt cache should have.
        asleep: Whether its machine has to be woken first.
    """

    peer: str | None
    loaded: bool
    loading: bool
    busy: int
    slots: int | None
    fits: bool | None
    load_seconds: float | None
    latency_seconds: float
    remembers: int
    asleep: bool


class Backend(TypedDict):
    """A server that has the model, and what it has had of its requests since llmsup started.

    Attributes:
        peer: Which one; null: this llmsup.
        now: What is known of it; null: it can't be asked, and `reason` says why.
        reasons: Why it got them: the last reasons that there were.
    """

    peer: str | None
    now: Weighed | None
    reason: str | None
    requests: int
    reasons: list[Reason]


class Route(TypedDict):
    """A decision between several of them.

    Attributes:
        peer: Who got the request; null: this llmsup.
        reason: Why, for people.
        weighed: Who came into question, the best first.
    """

    at: float
    peer: str | None
    reason: str
    weighed: list[Weighed]
