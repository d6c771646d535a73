"""Groups the files of one folder into models: parts of split files, projectors, and what is not a model.

What the models are called is decided in `labels` and `build`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve, frozen

from ...units import Bytes
from ..found import Stamp, Unreadable
from ..gguf.facts import Facts
from ..name_parts import printable, quant_in, split_name
from .pairing import Piece, chosen_models, distance, misfit, says_projector
from .walk import Candidate

Headers = Mapping[Stamp, Facts | Unreadable]

_DRAFTS = ("mtp-", "dspark-", "dflash-")  # llama.cpp common/preset.cpp: the prefixes by which its router tells drafts
NO_MODEL = {
    "projector": "a projector without a model",
    "adapter": "a LoRA adapter",
    "draft": "a draft model, which only speeds up another one",
    "imatrix": "an importance matrix",
}
"""Why a file is not served on its own, by its role."""

_OUTDATED = "another revision of it is served: the one that was downloaded last"


@frozen(kw_only=True)
class Bundle:
    """One model of a folder.

    Attributes:
        stem: The file's name without suffix and part number.
        parts: Its files; only one if it isn't split.
        facts: Its header, with sizes summed over the parts.
        projector: The projector that goes with it.
        projector_facts: The projector's header.
        problem: Why it can't be served, a clause; "" if it can.
        links: Links in the same folder to its first file.
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
        """The file to start an engine with."""
        return self.parts[0]

    @property
    def quant(self) -> str:
        """Its quantisation: by its name, where publishers say more than a header can, else by its header; or ""."""
        return quant_in(self.stem) or self.facts.quantisation


@frozen
class Contents:
    """The models of a folder, and the files left out, each with the reason."""

    models: tuple[Bundle, ...]
    left_out: tuple[tuple[Candidate, str], ...]


def sort_out(candidates: Iterable[Candidate], headers: Headers) -> Contents:
    """Group a folder's files into models. All their headers must be known."""
    groups: dict[tuple[str, str, int], list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.name):
        stem, _, total = split_name(candidate.name)
        # A model's parts are in one real folder, though Hugging Face's cache has a folder for each revision.
        key = (candidate.place, stem, total) if total > 1 else (candidate.place, candidate.name, 1)
        groups.setdefault(key, []).append(candidate)
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
    models, outdated = _newest(_without_links(models))
    left_out += ((part, _OUTDATED) for model in outdated for part in model.parts)
    paired = _paired(models, projectors)
    used = {model.projector.stamp for model in paired if model.projector}
    left_out += ((one, _unused(one, facts, paired)) for one, facts in projectors if one.stamp not in used)
    return Contents(paired, tuple(left_out))


def no_model_by_name(name: str) -> str:
    """Why a file is neither a model nor a projector, judged by its name alone; "" if it may be either."""
    lower = name.lower()
    if lower.startswith("imatrix"):
        return NO_MODEL["imatrix"]
    return NO_MODEL["draft"] if lower.startswith(_DRAFTS) else ""


def _why_not(name: str, facts: Sequence[Facts]) -> str:
    """Why a readable file is neither a model nor a projector; "" if it is either."""
    if reason := no_model_by_name(name):
        return reason
    return NO_MODEL.get(facts[0].role, "") if facts and facts[0].role != "projector" else ""


def _bundle(parts: Sequence[Candidate], facts: Sequence[Facts], headers: Headers) -> Bundle:
    stem = split_name(parts[0].name)[0]
    whole = facts[0]
    if len(facts) > 1:
        weights, parameters = sum(one.weights for one in facts), sum(one.parameters for one in facts)
        whole = evolve(whole, weights=Bytes(weights), parameters=parameters)
    return Bundle(stem=stem, parts=tuple(parts), facts=whole, problem=_problem(parts, headers))


def _problem(parts: Sequence[Candidate], headers: Headers) -> str:
    """Why the parts don't make a complete model, a clause; "" if they do."""
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
    """One model per real file, even if several names in the folder lead to it."""
    by_file: dict[object, list[Bundle]] = {}
    for model in models:
        by_file.setdefault(model.first.stamp.path, []).append(model)
    kept = []
    for same in by_file.values():
        best, *others = sorted(same, key=lambda model: (model.problem != "", model.first.linked, model.first.name))
        kept.append(evolve(best, links=tuple(other.first for other in others)) if others else best)
    return kept


def _newest(models: Iterable[Bundle]) -> tuple[list[Bundle], list[Bundle]]:
    """Of several revisions of a file, the complete one that was downloaded last; and the others."""
    by_name: dict[str, dict[str, Bundle]] = {}
    same_place: list[Bundle] = []
    for model in models:
        places = by_name.setdefault(model.stem, {})
        if places.setdefault(model.first.place, model) is not model:
            same_place.append(model)  # x.gguf and x.GGUF are two
    newest, outdated = [], []
    for places in by_name.values():
        first, *others = sorted(places.values(), key=_revision, reverse=True)
        newest.append(first)
        outdated += others
    return sorted([*newest, *same_place], key=lambda model: model.first.relative), outdated


def _revision(model: Bundle) -> tuple[bool, int, str]:
    return model.problem == "", model.first.stamp.mtime_ns, model.first.relative


def _paired(models: Sequence[Bundle], projectors: Sequence[tuple[Candidate, Facts]]) -> tuple[Bundle, ...]:
    """The models, each with its projector if there is one."""
    pieces = [Piece(model.stem, model.facts) for model in models]
    fit: dict[str, list[tuple[Candidate, Facts]]] = {}
    for projector, facts in projectors:
        for model in chosen_models(_piece(projector, facts), pieces):
            fit.setdefault(model.stem, []).append((projector, facts))
    return tuple(_with_nearest(model, fit.get(model.stem, [])) for model in models)


def _with_nearest(model: Bundle, fit: Sequence[tuple[Candidate, Facts]]) -> Bundle:
    if not fit:
        return model
    best, facts = min(fit, key=lambda one: (distance(_piece(*one), model.stem), one[0].name))
    return evolve(model, projector=best, projector_facts=facts)


def _unused(projector: Candidate, facts: Facts, models: Sequence[Bundle]) -> str:
    """Why a projector is not used by any model, a clause."""
    if not models:
        return NO_MODEL["projector"]
    fit = chosen_models(_piece(projector, facts), [Piece(model.stem, model.facts) for model in models])
    if fit:
        return "a projector, but another one here is preferred"
    misfits = [misfit(facts, model.facts, printable(model.stem)) for model in models]
    if all(misfits):
        return f"a projector for another model: {misfits[0]}"
    return "a projector, but it is unclear which of the models here it is for"


def _piece(projector: Candidate, facts: Facts) -> Piece:
    return Piece(split_name(projector.name)[0], facts)
