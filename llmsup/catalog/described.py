"""What the lists of every API say about a model, from its settings and its file's header.

How an API words it is decided there (`gateway.api`); whether the model is loaded is the fleet's to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..config.schema import Kind, ModelSpec
from .entry import Entry
from .name_parts import quant_in

ModelKind = Kind | Literal["unknown"]


def kind(entry: Entry) -> ModelKind:
    """ "chat", "embedding" or "rerank"; "unknown": nothing that llama.cpp's server offers."""
    facts = entry.found.facts if entry.found else None
    return entry.spec.kind or ("unknown" if facts and facts.kind == "unknown" else "chat")


def quantisation(entry: Entry) -> str:
    """The quantisation, "Q4_K_M"; "" if unknown. The file's name comes first: ggml has no type UD-Q4_K_XL."""
    found = entry.found
    return (quant_in(found.path.stem) or found.facts.quantisation) if found else ""


def stated_context(spec: ModelSpec) -> int:
    """The context, in tokens, of a model for which no estimate can be made; 0: unknown.

    Such a model has a command of the user's, which isn't given `ctx_size`. So a default says nothing about it; a
    `ctx_size` in the model's own table does, as the same person wrote both.
    """
    return spec.ctx_size if "ctx_size" in spec.given else 0


def capabilities(entry: Entry) -> list[str]:
    """What the model can do, going by its file, in Ollama's words: "completion", "vision", "tools" ..."""
    if entry.found is None or entry.spec.kind in ("embedding", "rerank"):
        return [str(entry.spec.kind)] if entry.spec.kind in ("embedding", "rerank") else []
    facts, projector = entry.found.facts, entry.found.projector_facts
    has = {
        "completion": entry.spec.kind == "chat",
        "vision": (projector is not None and projector.numbers.get("has_vision_encoder") is not False)
        or (entry.found.sees_with_itself and not entry.found.unseeing),
        "audio": projector is not None and projector.numbers.get("has_audio_encoder") is True,
        "tools": facts.tools,
        "thinking": facts.thinking,
    }
    return [name for name, there in has.items() if there]


def presets(spec: ModelSpec) -> Iterator[str]:
    """The presets under which a model is listed, "" for the model itself.

    The preset named like the model is left out: Ollama's names with parameters of their own are ids and presets alike.
    """
    return (preset for preset in ("", *spec.presets) if preset != spec.name)


def preset_name(model: str, preset: str) -> str:
    """The name by which a client requests a preset: "model:preset", or one of Ollama's names as it is."""
    return preset if ":" in preset else f"{model}:{preset}" if preset else model
