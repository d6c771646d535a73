"""Out of the way over HTTP: `/pause` and `/resume`."""

from __future__ import annotations

import math
from typing import Any

import trio
from quart import Blueprint, Response

from ..errors import BadRequest
from ..fleet.fleet import Fleet
from ..fleet.pause import Pause
from ..fleet.pausing import Pausing
from ..gateway.body import written
from ..units import NEVER, Seconds, format_seconds, parse_seconds
from .answers import as_json
from .control_body import control_body
from .shapes import pause as shapes


def pause(fleet: Fleet, pausing: Pausing) -> Blueprint:
    """Return the routes of `/pause` and `/resume`."""
    routes = Blueprint("pause", __name__)

    @routes.get("/pause")
    async def look() -> Response:
        return as_json(shapes.PauseState(paused=pause_as_json(fleet.paused)))

    @routes.post("/pause")
    async def begin() -> Response:
        body = await control_body()
        seconds, force = _seconds(body.get("for")), body.flag("force", default=False)
        began, names = trio.current_time(), [model.spec.name for model in fleet.running()]
        freed = await pausing.pause(seconds, force=force)
        took = round(trio.current_time() - began, 3)
        paused = pause_as_json(fleet.paused)
        return as_json(shapes.PauseDone(success=True, freed_bytes=freed, seconds=took, paused=paused, models=names))

    @routes.post("/resume")
    async def end() -> Response:
        return as_json(shapes.Resumed(success=True, ended=pause_as_json(pausing.resume())))

    return routes


def pause_as_json(paused: Pause | None) -> shapes.Pause | None:
    """A pause as it is told; None if there is none."""
    if paused is None:
        return None
    return {
        "reason": paused.reason,
        "since": round(paused.since, 3),
        "until": None if math.isinf(paused.until) else round(paused.until, 3),
        "program": paused.program or None,
    }


LONGEST = Seconds(366 * 86400)
"""Of a pause that ends by itself. There are dates that browsers can't show."""


def _seconds(value: Any) -> Seconds:
    """How long: seconds, or a duration; not said is until /resume. Raises BadRequest."""
    if value is None:
        return NEVER
    seconds: float = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(min(value, 10**12))
    elif isinstance(value, str) and len(value) < 50:
        try:
            seconds = parse_seconds(value)
        except ValueError as error:
            raise BadRequest(f"`for`: {error}.", param="for") from None
    if seconds <= 0:
        raise BadRequest(
            f'`for` must be seconds above 0 or a duration such as "1h", not {written(value)}.', param="for"
        )
    if LONGEST < seconds < NEVER:
        raise BadRequest(
            f"`for` is longer than {format_seconds(LONGEST)}: a pause without it lasts until /resume.", param="for"
        )
    return Seconds(seconds)
