"""Models in LM Studio's words: the entries of both its lists. What isn't known is null.

It does not know which paths there are.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import trio

from ...catalog.described import capabilities, kind, preset_name, quantisation, stated_context
from ...catalog.entry import Entry
from ...errors import BadRequest
from ...fleet.model.model import Model
from ...fleet.model.states import State
from ..body import JsonBody, written
from ..places import Placed
from .dialect import Asked

LOADED = (State.READY, State.DRAINING)


async def every(
    asked: Asked, here: Callable[[Model, str], dict[str, Any]], elsewhere: Callable[[Placed], dict[str, Any]]
) -> AsyncIterator[dict[str, Any]]:
    """What is listed, as the entries that these two make of models here and of those of peers. These lists can't say
    that a model can't be served, so such ones aren't in them.
    """
    shown = [model for model in asked.fleet.models.values() if not model.entry.refusal]
    names = [(model, preset_name(model.spec.name, preset)) for model in shown for preset in asked.listed(model)]
    making = [(name, partial(here, model, name)) for model, name in names]
    making += [(placed.name, partial(elsewhere, placed)) for placed in asked.places().listed(asked.caller)]
    for _, make in sorted(making, key=lambda each: each[0].casefold()):
        await trio.lowlevel.checkpoint()  # hundreds of models must not hold up everybody's streams
        yield make()


def entry_v0(model: Model, name: str) -> dict[str, Any]:
    """An entry of `/api/v0/models`; lengths are in tokens."""
    entry = model.served
    loaded = model.state in LOADED
    has = capabilities(entry)
    return {
        "id": name,
        "object": "model",
        "type": "embeddings" if model_type(entry) == "embedding" else "vlm" if "vision" in has else "llm",
        "publisher": publisher(entry),
        "arch": architecture(entry),
        "compatibility_type": file_format(entry),
        "quantization": quantisation(entry) or None,
        "state": "loaded" if loaded else "not-loaded",
        "max_context_length": _trained(model),
        **({"loaded_context_length": model.context} if loaded else {}),
        "capabilities": ["tool_use"] if "tools" in has else [],
    }


def entry_v1(model: Model, name: str) -> dict[str, Any]:
    """An entry of `/api/v1/models`. A model has one instance, or none, which is called as the model is."""
    entry = model.served
    found, has = entry.found, capabilities(entry)
    facts = found.facts if found else None
    bits = round(8 * facts.weights / facts.parameters, 2) if facts and facts.parameters else None
    shape: dict[str, Any] = {
        "type": model_type(entry),
        "publisher": publisher(entry),
        "key": name,
        "display_name": (facts and facts.name) or name.rpartition("/")[2],
        "architecture": architecture(entry),
        "quantization": {"name": quantisation(entry) or None, "bits_per_weight": bits} if found else None,
        "size_bytes": found.size if found else None,
        "params_string": short(facts.parameters) if facts and facts.parameters else None,
        "loaded_instances": [{"id": name, "config": {"context_length": model.context}}]
        if model.state in LOADED
        else [],
        "max_context_length": _trained(model),
        "format": file_format(entry),
    }
    if shape["type"] == "embedding":
        del shape["architecture"]  # as documented
        return shape
    can = {"vision": "vision" in has, "trained_for_tool_use": "tools" in has}
    return {**shape, "capabilities": can, "description": model.spec.description or None}


def elsewhere_v0(placed: Placed) -> dict[str, Any]:
    """An entry of `/api/v0/models` for a model of peers. `peer` is llmsup's own."""
    context, loaded = placed.context_length, bool(placed.loaded)
    return {
        "id": placed.name,
        "object": "model",
        "type": "embeddings" if _type_elsewhere(placed) == "embedding" else "llm",
        "publisher": _publisher_elsewhere(placed),
        "arch": None,
        "compatibility_type": None,
        "quantization": None,
        "state": "loaded" if loaded else "not-loaded",
        "max_context_length": context,
        **({"loaded_context_length": context} if loaded else {}),
        "capabilities": [],
        "peer": {"peers": placed.peers, "down": placed.down, "loaded": placed.loaded, "hops": placed.hops},
    }


def elsewhere_v1(placed: Placed) -> dict[str, Any]:
    """An entry of `/api/v1/models` for a model of peers."""
    name, context = placed.name, placed.context_length
    shape: dict[str, Any] = {
        "type": _type_elsewhere(placed),
        "publisher": _publisher_elsewhere(placed),
        "key": name,
        "display_name": name.rpartition("/")[2],
        "architecture": None,
        "quantization": None,
        "size_bytes": None,
        "params_string": None,
        "loaded_instances": [{"id": name, "config": {"context_length": context}}] if placed.loaded else [],
        "max_context_length": context,
        "format": None,
    }
    if shape["type"] == "embedding":
        del shape["architecture"]
        return shape
    return {**shape, "capabilities": {"vision": False, "trained_for_tool_use": False}, "description": None}


def _type_elsewhere(placed: Placed) -> str:
    return "embedding" if placed.kind in ("embedding", "rerank") else "llm"


def _publisher_elsewhere(placed: Placed) -> str:
    first, slash, _ = placed.name.partition("/")
    return first if slash and first else placed.peers[0]


def model_type(entry: Entry) -> str:
    """ "llm" or "embedding". A reranker is nothing to chat with, and there is no third word."""
    return "embedding" if kind(entry) in ("embedding", "rerank") else "llm"


def publisher(entry: Entry) -> str:
    """Whose it is: LM Studio's folders are called so. Ollama's models are under "ollama" there, too."""
    if entry.found is not None and entry.found.source == "ollama":
        return "ollama"
    first, slash, _ = (entry.found.id if entry.found else entry.name).partition("/")
    return first if slash and first else "llmsup"


def architecture(entry: Entry) -> str | None:
    """The header's word for it."""
    return (entry.found and entry.found.facts.architecture) or None


def file_format(entry: Entry) -> str | None:
    """None where there is no file."""
    if entry.found is None:
        return None
    return "safetensors" if entry.found.tensors else "gguf"


def wanted_context(body: JsonBody) -> int:
    """The `context_length` that a request asks for, in tokens; 0 if none. Raises BadRequest."""
    return wanted_number(body, "context_length")


def wanted_number(body: JsonBody, name: str) -> int:
    """A setting for a load that must be a number above 0; 0 if it isn't there. Raises BadRequest."""
    wanted = body.get(name)
    if wanted is None:
        return 0
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not 1 <= wanted < math.inf:
        raise BadRequest(f"`{name}` must be a number above 0, not {written(wanted)}.", param=name)
    return int(wanted)


def _trained(model: Model) -> int | None:
    """What the model was made for, in tokens; where no file says it, what it is configured to have."""
    found = model.served.found
    return (found.facts.context_length if found else stated_context(model.spec)) or None


def short(parameters: int) -> str:
    """As people say it: "135M", "7.2B"."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= size:
            return f"{parameters / size:.3g}{letter}"
    return str(parameters)
