"""The files of one folder put together to models: parts of split files, projectors, and what is no model.

It does not know what the models are called, nor what lies in other folders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from ..units import Bytes
from .facts import Facts
from .found import Stamp, Unreadable
from .naming import is_loose, printable, quant_in, split_name
from .projectors import distance, may_go_with, says_projector
from .walk import Candidate

Headers = Mapping[Stamp, Facts | Unreadable]

_DRAFTS = ("mtp-", "dspark-", "dflash-")  # llama.cpp common/preset.cpp: what its router takes for a draft
NO_MODEL = {
    "projector": "a projector without a model",
    "adapter": "a LoRA adapter",
    "draft": "a draft model, which only makes another one faster",
    "imatrix": "an importance matrix",
}
"""Why a file of some role is not served on its own."""


@frozen(kw_only=True)
class Bundle:
    """One model of a folder.

    Attributes:
        stem: The file's name without suffix and part number.
        parts: Its files; only one if it isn't split.
        facts: Its header, summed up over the parts.
        projector: The projector that goes with it.
        projector_facts: That one's header.
        problem: Why it can't be served, a clause; "" if it can.
        links: Other ways to its first file in the same folder.
    """

    stem: str
    parts: tuple[Candidate, ...]
    facts: Facts
    projector: Candidate | None = None
    projector_facts: Facts | None = None
    problem: str = ""
    links: tuple[Candidate, ...] = ()

    @property
    def first(self) -> Candidate:
        """The file that an engine is given."""
        return self.parts[0]

    @property
    def quant(self) -> str:
        """Its quantisation: by its name, as publishers say more there than headers can; "" if nobody knows."""
        return quant_in(self.stem) or self.facts.quantisation


@frozen
class Contents:
    """What a folder holds; what was left out has its reason."""

    models: tuple[Bundle, ...]
    left_out: tuple[tuple[Candidate, str], ...]


def sort_out(candidates: Iterable[Candidate], headers: Headers) -> Contents:
    """Put a folder's files together. Every one's header must be known."""
    groups: dict[tuple[str, int], list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.name):
        stem, _, total = split_name(candidate.name)
        groups.setdefault((stem, total) if total > 1 else (candidate.name, 1), []).append(candidate)
    models: list[Bundle] = []
    projectors: list[tuple[Candidate, Facts]] = []
    left_out: list[tuple[Candidate, str]] = []
    for parts in groups.values():
        facts = [header for part in parts if isinstance(header := headers[part.stamp], Facts)]
        if reason := _why_not(parts[0].name, facts):
            left_out += ((part, reason) for part in parts)
        elif not facts:
            left_out += ((part, h.reason) for part in parts if isinstance(h := headers[part.stamp], Unreadable))
        elif facts[0].role == "projector" or says_projector(parts[0].name):
            projectors.append((parts[0], facts[0]))
        else:
            models.append(_bundle(parts, facts, headers))
    models = _without_links(models)
    stems = {model.stem for model in models}
    paired = tuple(_paired(model, projectors, stems) for model in models)
    used = {model.projector for model in paired}
    for projector, _ in projectors:
        if projector not in used:
            why = "a projector, and another one here is preferred" if used - {None} else NO_MODEL["projector"]
            left_out.append((projector, why))
    return Contents(paired, tuple(left_out))


def _why_not(name: str, facts: Sequence[Facts]) -> str:
    """Why a readable file is neither a model nor a projector; "" if it is."""
    lower = name.lower()
    if lower.startswith("imatrix"):
        return NO_MODEL["imatrix"]
    if lower.startswith(_DRAFTS):
        return NO_MODEL["draft"]
    return NO_MODEL.get(facts[0].role, "") if facts and facts[0].role != "projector" else ""


def _bundle(parts: Sequence[Candidate], facts: Sequence[Facts], headers: Headers) -> Bundle:
    stem = split_name(parts[0].name)[0]
    whole = facts[0]
    if len(facts) > 1:
        weights, parameters = sum(one.weights for one in facts), sum(one.parameters for one in facts)
        whole = evolve(whole, weights=Bytes(weights), parameters=parameters)
    return Bundle(stem=stem, parts=tuple(parts), facts=whole, problem=_problem(parts, headers))


def _problem(parts: Sequence[Candidate], headers: Headers) -> str:
    """What keeps the parts from being one model, a clause; "" if nothing does."""
    total = split_name(parts[0].name)[2]
    numbers = [split_name(part.name)[1] for part in parts]
    missing = sorted(set(range(1, total + 1)).difference(numbers))
    if len(missing) > 1:
        if len(missing) > 5:
            return f"{len(missing)} of {total} parts are missing"
        return f"parts {', '.join(map(str, missing))} of {total} are missing"
    if missing:
        return f"part {missing[0]} of {total} is missing"
    for part, number in zip(parts, numbers, strict=True):
        header = headers[part.stamp]
        if isinstance(header, Unreadable):
            return f"part {number} of {total} can't be read: {header.reason}"
        if header.split != (number - 1, total):  # llama.cpp (src/llama-model-loader.cpp) finds the parts by their names
            says = f"part {header.split[0] + 1} of {header.split[1]}" if header.split[1] > 1 else "whole"
            named = f"part {number} of {total}" if total > 1 else "whole"
            return f"{printable(part.name)} is named as if it were {named}, but its header says that it is {says}"
    return ""


def _without_links(models: Iterable[Bundle]) -> list[Bundle]:
    """One model per real file, though several names in the folder lead to it."""
    by_file: dict[object, list[Bundle]] = {}
    for model in models:
        by_file.setdefault(model.first.stamp.path, []).append(model)
    kept = []
    for same in by_file.values():
        best, *others = sorted(same, key=lambda model: (model.problem != "", model.first.linked, model.first.name))
        kept.append(evolve(best, links=tuple(other.first for other in others)) if others else best)
    return kept


def _paired(model: Bundle, projectors: Sequence[tuple[Candidate, Facts]], stems: Iterable[str]) -> Bundle:
    """The model with its projector, if one goes with it."""
    fit = [p for p in projectors if not is_loose(p[0].folder) or may_go_with(_stem(p[0]), model.stem, stems)]
    if not fit:
        return model
    best, facts = min(fit, key=lambda p: (distance(_stem(p[0]), model.stem, p[1].quantisation), p[0].name))
    return evolve(model, projector=best, projector_facts=facts)


def _stem(candidate: Candidate) -> str:
    return split_name(candidate.name)[0]
