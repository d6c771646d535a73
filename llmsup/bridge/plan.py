"""Which links there should be, given what is in Ollama's store: pure. `links` makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import frozen

from ..catalog.disk.folders import NO_MODEL
from ..catalog.found import LeftOut, Unreadable
from ..catalog.gguf.facts import Facts
from ..catalog.name_parts import printable
from ..catalog.ollama.compat import ollama_only
from ..catalog.ollama.store import OllamaModel
from .naming import projector_of, weights_of

Look = Callable[[Path], Facts | Unreadable]
"""What a blob's header says."""


@frozen
class Link:
    """One link that should be there.

    Attributes:
        path: Where, under the target: "llama3.1~8b/llama3.1~8b.gguf".
        blob: What it leads to.
        model: The model it is for, by Ollama's name.
    """

    path: str
    blob: Path
    model: str


@frozen
class Skipped:
    """A model that gets no link; `reason` is a clause, such as "a cloud model: its weights are not here"."""

    model: str
    reason: str


@frozen(kw_only=True)
class Plan:
    """The links there should be.

    Attributes:
        links: By path.
        skipped: The models without links, by name.
        doubtful: Namespace, model and tag of manifests that exist but can't be read: they may be half written.
        blind: Part of the store can't be read, so a model that isn't seen may still be there.
    """

    links: tuple[Link, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    doubtful: frozenset[tuple[str, ...]] = frozenset()
    blind: bool = False

    def is_gone(self, model: str) -> bool:
        """Whether a model without links in this plan was removed from Ollama, or can't be linked any more."""
        *front, last = model.split("/")
        name, _, tag = last.rpartition(":")
        return not self.blind and (front[-1] if front else "library", name, tag) not in self.doubtful


def plan(
    models: Iterable[OllamaModel],
    left_out: Iterable[LeftOut],
    look: Look,
    *,
    has: Callable[[Path, str], str] = lambda _blob, _link: "",
    blind: bool = False,
) -> Plan:
    """Decide on the links.

    Args:
        models: All models of the store.
        left_out: The manifests that yielded no model.
        has: Takes a blob and its wanted link; returns where else LM Studio already has the blob, not counting our
            links, or "".
        blind: See `Plan`.
    """
    links: dict[str, Link] = {}
    skipped: list[Skipped] = []
    left_out = list(left_out)
    for model in models:
        wanted = [Link(weights_of(model.name), model.blob, model.name)]
        # llama.cpp takes one projector; of several, Ollama takes the first.
        wanted += [Link(projector_of(model.name), path, model.name) for path in model.projectors[:1]]
        reason = _why_not(model, look)
        if not reason and (there := has(model.blob, wanted[0].path)):
            reason = f"LM Studio has its weights already: {printable(there)}"
        # On a case-insensitive disk two of Ollama's names could be one file; a model may also be called "mmproj".
        holder = next((links[key].model for key in map(_key, wanted) if key in links), "")
        if holder and not reason:
            reason = f"its link would have the same path as that of {holder}"
        if reason:
            skipped.append(Skipped(model.name, reason))
        else:
            links |= {_key(link): link for link in wanted}
    skipped += [Skipped(printable(_name(left.path)), left.reason) for left in left_out]
    return Plan(
        links=tuple(sorted(links.values(), key=lambda link: link.path)),
        skipped=tuple(sorted(skipped, key=lambda one: one.model)),
        doubtful=frozenset(left.path.parts[-3:] for left in left_out),
        blind=blind,
    )


def _key(link: Link) -> str:
    return link.path.casefold()


def _name(manifest: Path) -> str:
    """A name for a manifest that yields no model: its path from the registry's name on."""
    parts = manifest.parts
    after = next((at + 1 for at, part in enumerate(parts) if part in ("manifests", "manifests-v2")), len(parts) - 1)
    return "/".join(parts[after:]) or str(manifest)


def _why_not(model: OllamaModel, look: Look) -> str:
    """Why a model can't be linked, a clause; "" if it can."""
    if model.problem:
        return model.problem
    if model.adapters:
        return "it has a LoRA adapter, which a link to its weights would lose"
    return _weights(look(model.blob)) or next(filter(None, map(_projector, map(look, model.projectors[:1]))), "")


def _weights(header: Facts | Unreadable) -> str:
    if isinstance(header, Unreadable):
        return f"its weights: {header.reason}"
    if header.role != "model":
        return f"its weights are {NO_MODEL[header.role]}"
    if header.split[1] > 1:
        return f"its weights are part {header.split[0] + 1} of {header.split[1]}, and Ollama's store names no parts"
    return _ollamas(header)


def _projector(header: Facts | Unreadable) -> str:
    if isinstance(header, Unreadable):
        return f"its projector: {header.reason}"
    return _ollamas(header) if header.role == "projector" else "its projector is none"


def _ollamas(header: Facts) -> str:
    why = ollama_only(header)
    return f"only Ollama's own llama.cpp can run it: {why}" if why else ""
