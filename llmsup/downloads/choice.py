"""Which of a repository's files make a model: which quantisations there are, which one is meant, its projector."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from ..catalog.disk.folders import no_model_by_name
from ..catalog.disk.pairing import Piece, distance, says_projector, siblings
from ..catalog.gguf.facts import Facts
from ..catalog.name_parts import is_quant, quant_in, split_name, without_quant
from ..errors import ModelNotFound
from ..units import Bytes, format_bytes
from .hub import HubFile, Listing

USUAL = "Q4_K_M"
"""What LM Studio and Ollama take where nothing else is asked for."""

FULL = ("F32", "F16", "BF16")
"""What is not quantised at all: chosen only where there is nothing else."""


@frozen
class Option:
    """One model of a repository.

    Attributes:
        stem: Its file's name without suffix and part number.
        folder: Where in the repository it is.
        parts: Its files in order; several if it is split.
        whole: Whether all parts are there.
    """

    stem: str
    folder: str
    parts: tuple[HubFile, ...]
    whole: bool = True

    @property
    def size(self) -> Bytes:
        """Bytes of all parts together."""
        return Bytes(sum(part.size for part in self.parts))

    @property
    def quant(self) -> str:
        """By its name, else by its folder's; "" if neither says."""
        folder = self.folder.rpartition("/")[2]
        return quant_in(self.stem) or (quant_in(folder) if is_quant(folder) else "")

    @property
    def base(self) -> str:
        """Its name without the quantisation: what the options of one model have in common."""
        return without_quant(self.stem).casefold()

    @property
    def tag(self) -> str:
        """How it is asked for."""
        return self.quant or self.parts[0].name

    def __str__(self) -> str:
        return f"{self.tag} ({format_bytes(self.size)})"


def options(listing: Listing) -> tuple[Option, ...]:
    """The models of a repository, the smallest first. Raises ModelNotFound: it has none."""
    groups: dict[tuple[str, str, int], list[HubFile]] = {}
    for file in sorted(listing.files, key=lambda file: file.path):
        if file.name.lower().endswith(".gguf") and not says_projector(file.name) and not no_model_by_name(file.name):
            stem, _, total = split_name(file.name)
            groups.setdefault((file.folder, stem, total), []).append(file)
    found = [Option(stem, folder, tuple(parts), len(parts) == total) for (folder, stem, total), parts in groups.items()]
    if not found:
        raise ModelNotFound(
            f"{listing.repo} has no GGUF file, and llama.cpp needs one.",
            hint="Look for a conversion: the hub lists them under Quantizations on the model's page, and most "
            "are called …-GGUF.",
        )
    return tuple(sorted(found, key=lambda option: (option.size, option.stem)))


def asked_for(listing: Listing, every: Sequence[Option], tag: str) -> Option:
    """The option that a tag means: a quantisation, a file, a folder. Raises ModelNotFound: none, or several."""
    wanted = tag.casefold()
    ways: tuple[Callable[[Option], Iterable[str]], ...] = (
        lambda option: (name for part in option.parts for name in (part.path, part.name, part.name[:-5])),
        lambda option: (option.stem,),
        lambda option: (option.quant,),
        lambda option: (option.folder,),
        lambda option: (option.quant.removeprefix("UD-"),),
    )
    for way in ways:
        if found := [option for option in every if wanted in (name.casefold() for name in way(option))]:
            return _only(listing, found, f"{tag!r}")
    near = difflib.get_close_matches(tag.upper(), [option.tag for option in every], n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise ModelNotFound(f"{listing.repo} has no {tag!r}.{meant}", hint=f"It has {listed(every)}.")


def by_default(listing: Listing, every: Sequence[Option], fits: Callable[[Option], bool]) -> tuple[Option, str]:
    """The option for one who asked for none, and why that one, a clause; "" if it is the only one.

    Q4_K_M, else the largest that fits this machine and is quantised. If nothing fits, the one that would be taken
    elsewhere, for the refusal to tell of.
    """
    usable = [option for option in every if option.whole] or list(every)
    if len(usable) == 1:
        return usable[0], ""
    usual = [option for option in usable if option.quant == USUAL]
    if usual and fits(first := _only(listing, usual, USUAL)):
        return first, "the usual one"
    quantised = [option for option in usable if option.quant not in FULL] or usable
    fitting = [option for option in quantised if fits(option)]
    if not fitting:
        return (usual or quantised)[0], ""
    best = fitting[-1]
    same = [option for option in fitting if option.quant == best.quant]
    why = f"{USUAL} would not fit this machine" if usual else f"there is no {USUAL}"
    return _only(listing, same, best.tag), f"the best that fits, as {why}"


def projector_of(option: Option, files: Iterable[HubFile]) -> HubFile | None:
    """The `mmproj` file that goes with it, by the names; of several precisions the one that engines are tested with."""
    near = [file for file in files if file.folder in ("", option.folder)]
    names = {file.name: file for file in near if file.name.lower().endswith(".gguf") and says_projector(file.name)}
    fit = [name for name in siblings(option.parts[0].name, [file.name for file in near]) if name in names]
    unread = Facts(architecture="")
    best = min(fit, key=lambda name: (*distance(Piece(split_name(name)[0], unread), option.stem), name), default=None)
    return names[best] if best else None


def listed(every: Iterable[Option]) -> str:
    """The options in a sentence."""
    return ", ".join(str(option) for option in every)


def _only(listing: Listing, found: Sequence[Option], what: str) -> Option:
    if len(found) > 1:
        names = ", ".join(f"{listing.repo}:{option.parts[0].path}" for option in found)
        raise ModelNotFound(f"{listing.repo} has several models that {what} fits.", hint=f"Name one: {names}.")
    return found[0]
