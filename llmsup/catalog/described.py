"""What an entry's settings and its file's header tell of a model, for the lists of every API.

It does not know how an API words it, nor whether the model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..config.schema import ModelSpec
from .entry import Entry
from .name_parts import quant_in


def kind(entry: Entry) -> str:
    """ "chat", "embedding" or "rerank"; "unknown": nothing that llama.cpp's server offers."""
    facts = entry.found.facts if entry.found else None
    return entry.spec.kind or ("unknown" if facts and facts.kind == "unknown" else "chat")


def quantisation(entry: Entry) -> str:
    """ "Q4_K_M"; "" if nobody knows. A file's name knows better than its header: UD-Q4_K_XL is no type of ggml's."""
    found = entry.found
    return (quant_in(found.path.stem) or found.facts.quantisation) if found else ""


def stated_context(spec: ModelSpec) -> int:
    """The context of a model that nobody can estimate, in tokens; 0: unknown. Its command isn't told `ctx_size`, so
    that counts only where it stands in the model's own table: who wrote the command knows.
    """
    return spec.ctx_size if "ctx_size" in spec.given else 0


def capabilities(entry: Entry) -> list[str]:
    """What the file lets one hope for, in Ollama's words."""
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
    """The presets under which a model is listed, "" for the model itself. An id may be one of Ollama's names with
    parameters of its own, and so a preset's name, too.
    """
    return (preset for preset in ("", *spec.presets) if preset != spec.name)


def preset_name(model: str, preset: str) -> str:
    """What a preset is asked for as. Ollama's names with parameters of their own are presets with a name of theirs."""
    return preset if ":" in preset else f"{model}:{preset}" if preset else model
