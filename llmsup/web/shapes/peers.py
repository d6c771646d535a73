"""What /peers gives, and what lists of models say of peers."""

from __future__ import annotations

from typing import Literal, TypedDict

from ...config.schema import Priority
from ...peers.offer import PeerKind

PeerStateName = Literal["unknown", "up", "down", "asleep", "waking"]


class Places(TypedDict):
    """Where a model is that is not on this machine.

    Attributes:
        peers: The peers that have it, by name.
        down: Those of them that don't answer now.
        loaded: Whether one of them has it in memory; null: none tells.
        hops: How many servers stand between this one and the engine: 1 where the peer has it itself.
    """

    peers: list[str]
    down: list[str]
    loaded: bool | None
    hops: int


class PeerMemory(TypedDict):
    """A peer's memory for models.

    Attributes:
        ceiling_bytes: What its models may take together.
        used_bytes: What they take now.
        available_bytes: What could be had for another one without unloading any.
    """

    ceiling_bytes: int | None
    used_bytes: int | None
    available_bytes: int | None


class PeerModel(TypedDict):
    """A model of a peer; null is "it doesn't tell".

    Attributes:
        name: What it is called there.
        also_here: Whether its name means a model of this machine, too.
        loaded: Whether it is in memory there.
        loading: Whether it is being loaded there.
        in_flight: Requests that were sent there for it from here, and are not answered yet.
        busy: Requests that it has there, in flight and waiting, whoever sent them.
        slots: How many it works on at once.
        load_seconds: How long loading it takes there.
        needs_bytes: What it takes in memory there.
        context_length: In tokens, of one request.
        hops: How many servers stand between that peer and the engine; 0 where the peer has it itself.
    """

    name: str
    also_here: bool
    loaded: bool | None
    loading: bool
    in_flight: int
    busy: int | None
    slots: int | None
    load_seconds: float | None
    needs_bytes: int | None
    context_length: int | None
    hops: int


class Peer(TypedDict):
    """Another server whose models are served here, too: a [peers.NAME] table.

    Attributes:
        kind: What it is; null until it has told. "openai": it lists its models, and says no more.
        state: "down": it gets no request until it answers again; "asleep": its machine is woken when it is needed.
        since: Since when it has been in this state.
        reason: Why, for people.
        failures: How often in a row it has failed by now.
        next_probe_in: Seconds until it is asked again whether it is back; null: it isn't down, or is being asked.
        latency_seconds: What its last answer to a probe took; null: there was none.
        in_flight: Requests that were sent there and are not answered yet.
        requests: How many it has had from here since llmsup started.
        failed: How many of them it failed.
        priority: Of the config: which peer is asked first, of several that could serve a request equally well.
        version: What it says of its own version.
        note: What it doesn't tell although it might, and what to do about that, for people; null: nothing to say.
        memory: null: it doesn't tell.
        models: Those that `models` in its table lets in, by name.
    """

    name: str
    url: str
    kind: PeerKind | None
    state: PeerStateName
    since: float | None
    reason: str
    failures: int
    next_probe_in: float | None
    latency_seconds: float | None
    in_flight: int
    requests: int
    failed: int
    priority: Priority
    version: str | None
    note: str | None
    memory: PeerMemory | None
    models: list[PeerModel]


class Peers(TypedDict):
    """The peers of the config, in its order."""

    peers: list[Peer]
