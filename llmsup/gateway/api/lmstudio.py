"""LM Studio's REST API: `/api/v0`, which is OpenAI's with more told, and of `/api/v1` the chat, the models, load and
unload.

Shapes are those of its documentation (lmstudio.ai/docs/developer/rest); what that doesn't tell isn't here. Its SDKs
speak another protocol, over a websocket.
"""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from ...catalog.described import preset_name
from ...errors import BadRequest, MethodNotImplemented
from ..body import JsonBody, written
from ..message import Reply, whole_reply
from ..paths import named
from .dialect import GET, Asked, Route
from .lmstudio_answers import LMSTUDIO, Generated, Passed
from .lmstudio_chat import chat
from .lmstudio_chat_answers import LMSTUDIO_CHAT, Chatted
from .lmstudio_models import (
    elsewhere_v0,
    elsewhere_v1,
    entry_v0,
    entry_v1,
    every,
    model_type,
    wanted_context,
    wanted_number,
)

ONE = "/api/v0/models/"
BY_HAND = "asked for over LM Studio's API"


def _json(shape: object) -> Reply:
    return whole_reply(200, [(b"content-type", b"application/json")], msgspec.json.encode(shape))


async def _listed_v0(asked: Asked) -> Reply:
    """GET /api/v0/models."""
    return _json({"object": "list", "data": [entry async for entry in every(asked, entry_v0, elsewhere_v0)]})


async def _one(asked: Asked) -> Reply:
    """GET /api/v0/models/{model}."""
    name = named(asked.head.path.removeprefix(ONE))
    match = await asked.known(name)
    if (placed := asked.elsewhere(match.id)) is not None:
        return _json(elsewhere_v0(placed))
    return _json(entry_v0(asked.fleet.model(match.id), preset_name(match.id, match.preset)))


async def _listed_v1(asked: Asked) -> Reply:
    """GET /api/v1/models."""
    return _json({"models": [entry async for entry in every(asked, entry_v1, elsewhere_v1)]})


async def _load(asked: Asked) -> Reply:
    """POST /api/v1/models/load: answers once the model is there. How it is loaded is for its config to say: what of
    that a request wants otherwise changes nothing, and `load_config` tells what it got.
    """
    name = _text(asked.body, "model")
    assert asked.body is not None
    echo, wanted = asked.body.flag("echo_load_config", default=False), wanted_context(asked.body)
    for setting in ("flash_attention", "offload_kv_cache_to_gpu"):
        asked.body.flag(setting, default=False)
    for setting in ("eval_batch_size", "num_experts"):
        wanted_number(asked.body, setting)
    match = await asked.fleet.known(name)
    model, began = asked.fleet.model(match.id), trio.current_time()
    await asked.fleet.until_loaded(model)
    model.note_wanted_context(wanted)
    done: dict[str, Any] = {
        "type": model_type(model.served),
        "instance_id": preset_name(match.id, match.preset),
        "load_time_seconds": round(trio.current_time() - began, 3),
        "status": "loaded",
    }
    if echo:
        done["load_config"] = {"context_length": model.context}
    return _json(done)


async def _unload(asked: Asked) -> Reply:
    """POST /api/v1/models/unload: lets requests finish, as every unload does."""
    name = _text(asked.body, "instance_id")
    await asked.fleet.find_running(name).unload(BY_HAND)
    return _json({"instance_id": name})


async def _download(_asked: Asked) -> Reply:
    """What fetches models. Raises MethodNotImplemented."""
    raise MethodNotImplemented(
        "llmsup downloads no models by LM Studio's API.",
        hint="`llmsup pull` does, and so does POST /api/pull with a name like hf.co/ORG/REPO; or LM Studio itself.",
    )


def _text(body: JsonBody | None, member: str) -> str:
    """A member that must name a model. Raises BadRequest."""
    value = None if body is None else body.get(member)
    if not isinstance(value, str) or not value:
        got = "" if value is None else f", not {written(value)}"
        raise BadRequest(f"`{member}` must be the name of a model{got}.", param=member)
    return value


ROUTES = (
    Route(dialect=LMSTUDIO, path="/api/v0/models", methods=GET, here=_listed_v0),
    Route(dialect=LMSTUDIO, path=f"{ONE}*", methods=GET, here=_one),
    *(
        Route(dialect=LMSTUDIO, path=f"/api/v0/{name}", target=f"/v1/{name}", samples=True, answer=Generated)
        for name in ("chat/completions", "completions")
    ),
    Route(dialect=LMSTUDIO, path="/api/v0/embeddings", target="/v1/embeddings", answer=Passed),
    Route(
        dialect=LMSTUDIO_CHAT,
        path="/api/v1/chat",
        target="/v1/chat/completions",
        samples=True,
        wants_context=wanted_context,
        request=chat,
        answer=Chatted,
    ),
    Route(dialect=LMSTUDIO, path="/api/v1/models", methods=GET, here=_listed_v1),
    Route(dialect=LMSTUDIO, path="/api/v1/models/load", here=_load, control=True),
    Route(dialect=LMSTUDIO, path="/api/v1/models/unload", here=_unload, control=True),
    Route(dialect=LMSTUDIO, path="/api/v1/models/download", here=_download, control=True),
    Route(dialect=LMSTUDIO, path="/api/v1/models/download/status/*", methods=GET, here=_download, control=True),
)
