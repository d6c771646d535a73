"""How llmsups that ask each other know themselves again: each request tells which of them it has come through."""

from __future__ import annotations

import secrets

ID = b"x-llmsup-id"
"""In answers to what peers ask of each other (`/v1/models`, `/running`, `/memory`): which llmsup this is."""

STAMP = b"x-llmsup-models"
"""In answers to a llmsup's `/running`: another value means that `/v1/models` has something new."""

VIA = b"x-llmsup-via"
"""In requests: the identities of the llmsups that it came through, oldest first, with commas."""

MOST_HOPS = 3
"""A request, or an offer, that has come through so many llmsups goes no further."""


def new_identity() -> str:
    """Make an identity for this process; it tells nothing of the machine."""
    return secrets.token_hex(8)


def read_via(value: str) -> tuple[str, ...]:
    """Return the identities in such a header. What isn't one is kept, as it counts as a hop."""
    return tuple(part.strip()[:64] for part in value.split(",") if part.strip())
