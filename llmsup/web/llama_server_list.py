"""What llama-server and its router say of models in their list, for their clients.

llmsup's own part of the list is in `status` and `listing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..catalog.described import quantisation, stated_context
from ..fleet.model.model import Model
from .shapes.models import ModelEntry, OllamaEntry, RouterFacts


def tags_and_meta(model: Model) -> RouterFacts:
    """`tags` and `meta`, as its engine tells them while it is loaded; else `meta` has what its file's header tells.
    Lengths are in tokens, `size` in bytes; what isn't known is left out.
    """
    engine = model.run.engine if model.run else None
    own = engine.own_entry if engine else {}
    tags, meta = own.get("tags"), own.get("meta")
    return {
        "tags": tags if isinstance(tags, list) else [],
        "meta": {**_of_header(model), **(meta if isinstance(meta, dict) else {})},
    }


def _of_header(model: Model) -> dict[str, Any]:
    entry, estimated = model.served, model.estimate
    facts = entry.found.facts if entry.found else None
    context = estimated.context.n_ctx_seq if estimated else stated_context(model.spec)
    known = {"n_ctx": context, "ftype": quantisation(entry)}
    if facts:
        known |= {
            "n_vocab": facts.vocabulary,
            "n_ctx_train": facts.context_length,
            "n_embd": facts.numbers.get("embedding_length"),
            "n_params": facts.parameters,
            "size": facts.weights,
        }
    return {name: value for name, value in known.items() if value}


def as_ollama_lists(entries: Iterable[ModelEntry]) -> list[OllamaEntry]:
    """The second list that llama-server has beside OpenAI's, made of the same entries: Ollama's members, all of which
    are text, or empty where llama-server leaves them so.
    """
    return [
        {
            "name": entry["id"],
            "model": entry["id"],
            "modified_at": "",
            "size": "",
            "digest": "",
            "type": "model",
            "description": entry["description"],
            "tags": entry["tags"],
            "capabilities": entry["capabilities"],
            "parameters": "",
            "details": {
                "parent_model": "",
                "format": "gguf" if entry["source"] else "",
                "family": entry["architecture"] or "",
                "families": [entry["architecture"]] if entry["architecture"] else [],
                "parameter_size": "",
                "quantization_level": entry["quantization"] or "",
            },
        }
        for entry in entries
    ]
