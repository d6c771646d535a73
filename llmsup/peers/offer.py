"""What a peer says that it has: its models, and its memory."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ..config.schema import Kind
from ..units import Bytes

PeerKind = Literal["llmsup", "llama-swap", "ollama", "lmstudio", "vllm", "openai"]
"""What a peer is; "openai" is any server that lists its models at `/v1/models` and says no more."""


@frozen(kw_only=True)
class Offer:
    """One model of a peer, as the peer has told last. None is "it doesn't tell".

    Attributes:
        name: What it is called there; requests carry this name.
        kind: What it is for.
        loaded: Whether it is in memory there, so that a request is served at once.
        loading: Whether it is being loaded there.
        busy: Requests that it has there, in flight and waiting, whoever sent them.
        slots: How many requests it works on at once.
        fits: Whether it could be loaded without another model being unloaded for it.
        load_seconds: How long loading it takes there, in seconds.
        needs_bytes: What it takes in memory.
        context_length: Tokens that a request can have.
        hops: How many servers stand between that peer and the engine: 0 where the peer has it itself.
        down: The peer has it from servers behind it, of which none answers now. A request that has nowhere else to go
            is sent there all the same: that peer knows best whether one is back, and asks them again for it.
        origins: Where it has it from servers behind it, which llmsups have it themselves (`via`), or from a server that
            is none: those at the end of the way. Empty: it doesn't tell.
    """

    name: str
    kind: Kind | None = None
    loaded: bool | None = None
    loading: bool = False
    busy: int | None = None
    slots: int | None = None
    fits: bool | None = None
    load_seconds: float | None = None
    needs_bytes: Bytes | None = None
    context_length: int | None = None
    hops: int = 0
    down: bool = False
    origins: frozenset[str] = frozenset()


@frozen(kw_only=True)
class Room:
    """A peer's memory for models, in bytes.

    Attributes:
        ceiling: What its models may take together.
        used: What they take now.
        available: What could be had for another one without unloading any.
    """

    ceiling: Bytes | None = None
    used: Bytes | None = None
    available: Bytes | None = None
