"""How long a client wants its model kept: LM Studio's `ttl`, Ollama's `keep_alive`.

It does not know how long it is kept then.
"""

from __future__ import annotations

import math

from ..errors import BadRequest
from ..units import NEVER, Seconds, parse_seconds
from .body import JsonBody, written

FOREVER = 10**9
"""Seconds that are as good as for ever, thirty years: a number may be one that no float can hold."""


def wanted_ttl(body: JsonBody) -> Seconds:
    """How long the client wants the model kept: `ttl` in seconds, or `keep_alive` in seconds or as a duration, where
    negative is for ever. It can only lengthen: one client must not take a model away from others.

    Raises:
        BadRequest: It is none of these.
    """
    for name in ("ttl", "keep_alive"):
        value = body.get(name)
        if value is not None:
            return _seconds(name, value)
    return Seconds(0)


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
