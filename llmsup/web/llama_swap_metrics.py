"""`/api/metrics`: what engines have answered, as llama-swap's dashboard shows it.

The requests are those of `gateway.activity`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from quart import Blueprint, Response, request

from ..errors import BadRequest
from ..gateway.activity import Activity, Record
from .answers import as_json
from .llama_swap_events import stamp

PAGE, LONGEST_PAGE = 25, 999

_SORTED_BY = {
    "id": lambda record: record.number,
    "timestamp": lambda record: record.at,
    "model": lambda record: record.model,
    "duration_ms": lambda record: record.seconds or 0,
}


def llama_swap_metrics(activity: Activity) -> Blueprint:
    """Return its routes."""
    routes = Blueprint("llama_swap_metrics", __name__)

    @routes.get("/api/metrics")
    async def metrics() -> Response:
        """All that are remembered, as older dashboards want it."""
        return as_json([_row(record) for record in activity.done()])

    @routes.get("/api/metrics/activity")
    async def page() -> Response:
        return as_json(_page(activity))

    @routes.get("/api/metrics/stats")
    async def stats() -> Response:
        model = request.args.get("model")
        records = [each for each in activity.done() if not model or each.model == model]
        counts = [each.counts for each in records]
        stats = {
            "total_requests": len(records) if model else activity.finished,
            "total_input_tokens": sum(each.tokens_in or 0 for each in counts),
            "total_output_tokens": sum(each.tokens_out or 0 for each in counts),
            "total_cache_tokens": sum(each.cached or 0 for each in counts),
            "prompt_histogram": None,
            "gen_histogram": None,
        }
        return as_json(stats)

    return routes


def _page(activity: Activity) -> dict[str, Any]:
    """One page of what engines have answered. Raises BadRequest."""
    limit, number = _whole("limit", PAGE, LONGEST_PAGE), _whole("page", 1)
    by, order = request.args.get("sort") or "id", request.args.get("order") or "desc"
    if by not in _SORTED_BY or order not in ("asc", "desc"):
        known = ", ".join(_SORTED_BY)
        raise BadRequest(f"It is sorted by one of {known}, and `order` is asc or desc.", param="sort")
    lowest, highest = _whole("min_id", 0), _whole("max_id", 0)
    start, end, model = _moment("start"), _moment("end"), request.args.get("model")
    records = [
        each
        for each in activity.done()
        if (not model or each.model == model)
        and lowest <= each.number <= (highest or each.number)
        and (start is None or each.at >= start)
        and (end is None or each.at <= end)
    ]
    records.sort(key=_SORTED_BY[by], reverse=order == "desc")
    return {
        "data": [_row(each) for each in records[limit * (number - 1) : limit * number]],
        "page": number,
        "limit": limit,
        "total": len(records),
        "total_pages": -(-len(records) // limit),
    }


def _row(record: Record) -> dict[str, Any]:
    """One request; what its answer doesn't tell of tokens is as llama-swap has it then."""
    counts, speed = record.counts, record.tokens_per_second
    return {
        "id": record.number,
        "timestamp": stamp(record.at),
        "model": record.model,
        "req_path": record.path,
        "resp_content_type": record.content_type,
        "resp_status_code": record.status,
        "tokens": {
            "cache_tokens": -1 if counts.cached is None else counts.cached,
            "draft_tokens": 0,
            "draft_acc_tokens": 0,
            "input_tokens": counts.tokens_in or 0,
            "output_tokens": counts.tokens_out or 0,
            "prompt_per_second": -1,
            "tokens_per_second": -1 if speed is None else round(speed, 2),
        },
        "duration_ms": round(1000 * (record.seconds or 0)),
        "has_capture": False,
        **({"error_msg": record.trouble} if record.trouble else {}),
    }


def _whole(name: str, default: int, most: int = 2**53) -> int:
    """A whole number in the query. Raises BadRequest."""
    text = request.args.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 17 and (default == 0 or 1 <= int(text) <= most)):
        raise BadRequest(f"`{name}` must be a whole number from 1 to {most}, not {text[:100]!r}.", param=name)
    return int(text)


def _moment(name: str) -> float | None:
    """A moment in the query, in Unix seconds. Raises BadRequest."""
    text = request.args.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadRequest(
            f"`{name}` must be a moment, like 2026-01-31T12:00:00Z, not {text[:100]!r}.", param=name
        ) from None
