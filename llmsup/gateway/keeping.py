"""How long a client wants its model kept loaded: LM Studio's `ttl`, Ollama's `keep_alive`."""

from __future__ import annotations

import math

from ..errors import BadRequest
from ..units import NEVER, Seconds, parse_seconds
from .body import JsonBody, written

FOREVER = 10**9
"""Thirty years, in seconds, which stand for "for ever": a client's number may exceed any float."""

_TTLS = frozenset(("ttl", "keep_alive"))
_NONE = Seconds(0)


def wanted_ttl(body: JsonBody) -> Seconds:
    """Return how long the client wants the model kept.

    That is `ttl` in seconds, or `keep_alive` in seconds or as a duration, where a negative value means for ever. It can
    only extend the time: one client must not take a model away from others.

    Raises:
        BadRequest: The value is none of these.
    """
    if body.has_none_of(_TTLS):
        return _NONE
    for name in ("ttl", "keep_alive"):
        value = body.get(name)
        if value is not None:
            return _seconds(name, value)
    return _NONE


def wanted_keep(body: JsonBody) -> Seconds | None:
    """Return what Ollama's clients want: `keep_alive` replaces the model's ttl, and may be shorter; None: not said.

    Raises:
        BadRequest: The value is neither a number of seconds nor a duration.
    """
    value = body.get("keep_alive")
    return None if value is None else _seconds("keep_alive", value)


def stated_ttl(body: JsonBody) -> Seconds | None:
    """Return an operator's `ttl`, in seconds or as a duration; None: not said.

    Raises:
        BadRequest: It is neither.
    """
    value = body.get("ttl")
    return None if value is None else _seconds("ttl", value)


def _seconds(name: str, value: object) -> Seconds:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != math.inf:
        return Seconds(float(value)) if 0 <= value < FOREVER else NEVER
    if isinstance(value, str) and len(value) < 50:
        try:
            seconds = parse_seconds(value.strip().removeprefix("-"))
        except ValueError as error:
            raise BadRequest(f"`{name}`: {error}.", param=name) from None
        return NEVER if value.strip().startswith("-") else seconds
    raise BadRequest(
        f'`{name}` must be a number of seconds, a duration such as "10m", or "never", not {written(value)}.', param=name
    )
