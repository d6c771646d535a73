"""`GET /prompt-cache`: the conversations that are kept of unloaded models; `POST /prompt-cache/clear` removes them."""

from __future__ import annotations

from typing import Any

import trio
from quart import Blueprint, Response

from ..errors import BadRequest
from ..fleet.fleet import Fleet
from ..fleet.model.model import Model
from ..prompt_cache.cache import PromptCache, Tally
from .answers import as_json
from .control_body import control_body
from .shapes import prompt_cache as shapes


def prompt_cache(fleet: Fleet, prompts: PromptCache) -> Blueprint:
    """The routes under /prompt-cache. Sizes are bytes, times Unix seconds."""
    routes = Blueprint("prompt_cache", __name__)

    @routes.get("/prompt-cache")
    async def listed() -> Response:
        entries = sorted(prompts.store.entries.values(), key=lambda each: -each.used_at)
        answer: shapes.PromptCache = {
            "directory": str(prompts.store.directory),
            "off": prompts.off or None,
            "bytes": prompts.store.bytes,
            "disk_bytes": prompts.spec.disk,
            "written_today_bytes": prompts.store.written,
            "writes_per_day_bytes": prompts.spec.writes_per_day,
            "entries": [
                {
                    "model": each.model,
                    "tokens": each.tokens,
                    "bytes": each.bytes,
                    "saved_at": round(each.saved_at, 3),
                    "used_at": round(each.used_at, 3),
                }
                for each in entries
            ],
        }
        return as_json(answer)

    @routes.post("/prompt-cache/clear")
    async def clear() -> Response:
        name: Any = (await control_body()).get("model")
        if name is not None and (not isinstance(name, str) or not name):
            raise BadRequest('Say which model: {"model": "NAME"}; without one all are cleared.', param="model")
        if name is not None and not prompts.store.of(name):  # it may be gone, and its conversations still there
            name = (await fleet.known(name)).id
        if prompts.store.problem:
            return as_json(shapes.Cleared(success=True, cleared=0, freed_bytes=0, off=prompts.off))
        count, freed = await trio.to_thread.run_sync(prompts.store.clear, name)
        return as_json(shapes.Cleared(success=True, cleared=count, freed_bytes=freed, off=prompts.off or None))

    return routes


def nothing_kept(reason: str) -> shapes.Kept:
    """The same for a model of which nothing is kept here, for this reason."""
    return {
        "able": "no",
        "reason": reason,
        "saved": 0,
        "tokens": 0,
        "bytes": 0,
        "cold": None,
        "restores": 0,
        "hits": 0,
        "misses": 0,
        "tokens_saved": 0,
        "seconds_saved": 0.0,
    }


def of_model(prompts: PromptCache, model: Model) -> shapes.Kept:
    """What is kept of one model, and what came of it."""
    name = model.spec.name
    able, entries, tally = prompts.ability(model.entry), prompts.store.of(name), prompts.tallies.get(name) or Tally()
    return {
        "able": able.word,
        "reason": able.reason or None,
        "saved": len(entries),
        "tokens": sum(each.tokens for each in entries),
        "bytes": sum(each.bytes for each in entries),
        "cold": tally.cold or None,
        "restores": tally.restores,
        "hits": tally.hits,
        "misses": tally.misses,
        "tokens_saved": tally.tokens,
        "seconds_saved": round(tally.seconds, 3),
    }
