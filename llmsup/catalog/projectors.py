"""Which projector goes with which model of the same folder, as far as their names tell.

It does not know what else the folder holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .naming import quant_in, split_name, without_quant

_PRECISIONS = ("F16", "BF16", "Q8_0", "F32")  # the best first: what engines are tried with; F32 only costs memory


def says_projector(name: str) -> bool:
    """Whether a file's name says that it is one, as llama.cpp's converter calls them."""
    return "mmproj" in name.lower()


def may_go_with(projector: str, stem: str, stems: Iterable[str]) -> bool:
    """Whether a projector may be a model's in a folder that holds anything: there is no other model than quantisations
    of this one, or the names begin the same.

    Args:
        projector: The stem of its name.
        stem: The model's.
        stems: Those of all models there.
    """
    core, own = _core(projector), without_quant(stem).casefold()
    alone = all(without_quant(other).casefold() == own for other in stems)
    return alone or (core != "" and own != "" and (own.startswith(core) or core.startswith(own)))


def distance(projector: str, stem: str, quant: str) -> tuple[int, int]:
    """How far a projector is from a model: by what their names have in common from the beginning, then by precision.

    Args:
        quant: Its quantisation by its header, for a name that doesn't say.
    """
    pairs = zip(_core(projector), stem.casefold(), strict=False)
    shared = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(_core(projector)), len(stem)))
    precision = quant_in(projector) or quant
    return -shared, _PRECISIONS.index(precision) if precision in _PRECISIONS else len(_PRECISIONS)


def siblings(name: str, names: Iterable[str]) -> list[str]:
    """What of a folder may belong to one of its files, as far as names tell: the other parts, and projectors."""
    ggufs = [other for other in names if other.lower().endswith(".gguf") and other != name]
    stem, _, total = split_name(name)
    parts = [other for other in ggufs if total > 1 and split_name(other)[::2] == (stem, total)]
    stems = {split_name(other)[0] for other in (name, *ggufs) if not says_projector(other)}
    projectors = [other for other in ggufs if says_projector(other)]
    return parts + [other for other in projectors if may_go_with(split_name(other)[0], stem, stems)]


def _core(projector: str) -> str:
    """A projector's name without what makes it one: "mmproj-gemma-3-4b-it-f16" is "gemma-3-4b-it"."""
    return without_quant(re.sub("mmproj", "", projector, flags=re.IGNORECASE)).casefold()
