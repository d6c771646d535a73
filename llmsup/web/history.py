"""`GET /history`: memory, loads and requests of the last hours. `GET /requests`: the last requests, one by one."""

from __future__ import annotations

import math
import time

from quart import Blueprint, Response, request

from ..errors import BadRequest, ModelNotFound, NotFound, PeerUnavailable
from ..fleet.fleet import Fleet
from ..history.looks import step_of
from ..history.recorder import History
from ..history.tables import LAST
from .answers import as_json
from .shapes import history as shapes

HOURS = 6.0
"""How much is shown of the time before now, where nobody says."""


def history(past: History, fleet: Fleet) -> Blueprint:
    """The routes /history and /requests."""
    routes = Blueprint("history", __name__)

    @routes.get("/history")
    async def time_before() -> Response:
        await past.ready()
        now = time.time()
        begin = now - 3600 * _hours()
        samples, happened, left_out, buckets = await past.time(begin, now)
        answer: shapes.History = {
            "from": round(begin, 3),
            "to": round(now, 3),
            "step_s": step_of(begin, now),
            "keep_s": past.keep,
            "samples": [*samples, past.now()],
            "happened": happened,
            "happened_before": left_out,
            "requests": buckets,
        }
        return as_json(answer)

    def _hours() -> float:
        """How many hours to show, at most what is kept. Raises BadRequest."""
        text = request.args.get("hours")
        try:
            hours = float(text) if text else HOURS
        except ValueError:
            hours = math.nan
        if not hours > 0:
            raise BadRequest(f"`hours` must be a number above 0, not {(text or '')[:100]!r}.", param="hours")
        return max(min(hours, past.keep / 3600), 1 / 60)

    @routes.get("/requests")
    async def last() -> Response:
        await past.ready()
        name = request.args.get("model")
        try:
            model = fleet.resolve(name).id if name else None
        except (ModelNotFound, PeerUnavailable):
            model = name  # it may have been there
        return as_json(shapes.Requests(requests=past.requests.last(_count(), model)))

    @routes.get("/requests/<id_>")
    async def one(id_: str) -> Response:
        activity = past.requests.activity
        number = past.requests.number(id_)
        record = next((each for each in activity.done() if each.number == number), None)
        captured = None if number is None else activity.captures.get(number)
        if record is None or captured is None:
            raise NotFound(
                "What was asked and answered there is not kept.",
                hint="It is for models with `capture = true`, of the last requests since llmsup started.",
            )
        answer: shapes.CapturedRequest = {
            **past.requests.row(record),
            "request": captured.request,
            "answer": captured.answer,
        }
        return as_json(answer)

    return routes


def _count() -> int:
    """How many requests to show. Raises BadRequest."""
    text = request.args.get("n")
    if not text:
        return LAST
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= 1):
        raise BadRequest(f"`n` must be a whole number from 1 to {LAST}, not {text[:100]!r}.", param="n")
    return min(int(text), LAST)
