"""Which projector goes with which model of the same folder, judged by their headers and names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import frozen

from ..gguf.facts import Facts
from ..name_parts import quant_in, split_name, without_quant

_PRECISIONS = ("F16", "BF16", "Q8_0", "F32")  # best first: the one that engines are tested with; F32 only costs memory

_ARCHITECTURES: Mapping[str, tuple[str, ...]] = {
    "gemma3": ("gemma3",),
    "gemma3nv": ("gemma3n",),
    "gemma3na": ("gemma3n",),
    "gemma4v": ("gemma4",),
    "gemma4a": ("gemma4",),
    "lfm2": ("lfm2",),
    "lfm2a": ("lfm2",),
    "llama4": ("llama4",),
    "qwen2vl_merger": ("qwen2vl", "qwen25vl"),
    "qwen2.5vl_merger": ("qwen2vl", "qwen25vl"),
    "qwen3vl_merger": ("qwen3vl", "qwen35", "qwen4"),
}
"""For projector types made for a single family (llama.cpp tools/mtmd/clip-impl.h), the prefixes of its architectures.
Types that many families use (mlp, pixtral, idefics3, internvl) tell nothing."""


@frozen
class Piece:
    """A model or a projector of a folder.

    Attributes:
        stem: Its file's name without suffix and part number.
        facts: Its header.
    """

    stem: str
    facts: Facts


def says_projector(name: str) -> bool:
    """Whether a file is named like a projector, as llama.cpp's converter names them."""
    return "mmproj" in name.lower()


def misfit(projector: Facts, model: Facts, called: str = "the model") -> str:
    """Why a projector can't go with a model, judged by their headers: a clause; "" if it may.

    llama.cpp refuses one whose vectors don't have the model's width (tools/mtmd/mtmd.cpp).

    Args:
        called: What to call the model in the clause.
    """
    type_ = _text(projector, "projector_type") or _text(projector, "vision.projector_type")
    made_for = _ARCHITECTURES.get(type_, ())
    if made_for and model.architecture and not model.architecture.startswith(made_for):
        return f"it was made for {made_for[0]}, and {called} is {model.architecture}"
    width = model.numbers.get("embedding_length")
    widths = projector.widths | {projector.numbers.get(f"{what}.projection_dim") for what in ("vision", "audio")}
    if projector.widths and isinstance(width, int) and width not in widths:
        return f"it has no output as wide as {called} ({width})"
    return ""


def chosen_models(projector: Piece, models: Sequence[Piece]) -> list[Piece]:
    """The models of a folder that a projector goes with: of the compatible ones, those that its name or header points
    to; else all, if they are versions of one model.
    """
    possible = [model for model in models if not misfit(projector.facts, model.facts)]
    if called := _called(projector.stem, models):
        return [model for model in possible if model in called]
    if kin := [model for model in possible if _kin(projector.facts, model.facts)]:
        return kin
    return possible if _one_family(model.stem for model in possible) else []


def distance(projector: Piece, stem: str) -> tuple[int, int]:
    """How far a projector is from a model: by the common beginning of their names, then by precision.

    Args:
        stem: The model's.
    """
    core = _core(projector.stem)
    pairs = zip(core, stem.casefold(), strict=False)
    shared = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(core), len(stem)))
    precision = quant_in(projector.stem) or projector.facts.quantisation
    return -shared, _PRECISIONS.index(precision) if precision in _PRECISIONS else len(_PRECISIONS)


def siblings(name: str, names: Iterable[str]) -> list[str]:
    """Which files of a folder may belong to one of them, judged by name: its other parts, and projectors."""
    ggufs = [other for other in names if other.lower().endswith(".gguf") and other != name]
    stem, _, total = split_name(name)
    parts = [other for other in ggufs if total > 1 and split_name(other)[::2] == (stem, total)]
    unread = Facts(architecture="")
    stems = dict.fromkeys(split_name(other)[0] for other in (name, *ggufs) if not says_projector(other))
    models = [Piece(other, unread) for other in stems]
    projectors = [other for other in ggufs if says_projector(other)]
    return parts + [p for p in projectors if models[0] in chosen_models(Piece(split_name(p)[0], unread), models)]


def _called(projector: str, models: Iterable[Piece]) -> Collection[Piece]:
    """The models that a projector's name points to: one name begins with the other."""
    core = _core(projector)
    return [
        model for model in models if core and (_begins(_base(model.stem), core) or _begins(core, _base(model.stem)))
    ]


def _kin(projector: Facts, model: Facts) -> bool:
    """Whether by the headers both were made from the same model, or the projector for the model's family."""
    if projector.name and projector.name.casefold() == model.name.casefold():
        return True
    type_ = _text(projector, "projector_type") or _text(projector, "vision.projector_type")
    made_for = _ARCHITECTURES.get(type_, ())
    return bool(made_for) and model.architecture.startswith(made_for)


def _one_family(stems: Iterable[str]) -> bool:
    """Whether the names are one model's: apart from quantisations, all begin with the shortest of them."""
    bases = sorted({_base(stem) for stem in stems}, key=len)
    return all(_begins(base, bases[0]) for base in bases)


def _begins(name: str, start: str) -> bool:
    """Whether a name begins with another, in whole words: "gemma-3-12b" does not begin with "gemma-3-1"."""
    return start != "" and name.startswith(start) and not name[len(start) : len(start) + 1].isalnum()


def _base(stem: str) -> str:
    """A model's name without its quantisation; unchanged if nothing else would be left."""
    return (without_quant(stem) or stem).casefold()


def _core(projector: str) -> str:
    """A projector's name without the projector part: "mmproj-gemma-3-4b-it-f16" is "gemma-3-4b-it"."""
    return without_quant(re.sub("mmproj", "", projector, flags=re.IGNORECASE)).casefold()


def _text(facts: Facts, key: str) -> str:
    value = facts.numbers.get(key)
    return value if isinstance(value, str) else ""
