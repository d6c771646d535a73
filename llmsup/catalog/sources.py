"""The sources of one model: folders that contain it or a link to it, and Ollama's names for it.

Which of the names are free is decided in `build`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, define, frozen

from .disk.folders import Bundle
from .disk.survey import Stored, Survey
from .disk.walk import Candidate
from .labels import Label, Placement, claims, label_folder, label_outsider
from .name_parts import printable, split_name

STORE = -1
"""The rank of Ollama's store."""


@frozen
class ModelFolder:
    """One folder's files.

    Attributes:
        rank: The position of its root; the first one wins.
        folder: Its path under the root.
        candidates: All files there that may matter.
        outside: It is under no root: the config asks for a file there by path.
    """

    rank: int
    folder: str
    candidates: tuple[Candidate, ...]
    outside: bool = False

    def labels(self, models: Sequence[Bundle]) -> list[Label]:
        """What the folder's models are called."""
        if self.outside:
            return [label_outsider(str(model.first.path), model.stem) for model in models]
        return label_folder(self.folder, [_placement(model) for model in models])

    def claims(self) -> Iterator[str]:
        """The ids that its models may come to have, except those that can't clash with another model's."""
        if not self.outside:
            for candidate in self.candidates:
                yield from claims(self.folder, split_name(candidate.name)[0], candidate.published)


def model_folders(survey: Survey) -> Iterator[ModelFolder]:
    """All folders with candidates in them, those of the first root first."""
    ranks = {root: rank for rank, root in enumerate(survey.roots)}
    folders: dict[tuple[int, str], list[Candidate]] = {}
    for candidate in survey.candidates:
        folders.setdefault((ranks[candidate.root], candidate.folder), []).append(candidate)
    for (rank, folder), candidates in sorted(folders.items(), key=lambda item: item[0]):
        yield ModelFolder(rank, folder, tuple(candidates))
    for rank, group in enumerate(survey.extra, start=len(ranks)):
        yield ModelFolder(rank, "", group, outside=True)


@frozen
class Source:
    """A model as one folder has it."""

    rank: int
    bundle: Bundle
    label: Label

    @property
    def order(self) -> tuple[bool, int, bool, bool, str]:
        """Sorts the best source first: not from the bridge, in the first root, complete, not through links."""
        first = self.bundle.first
        return (first.bridged, self.rank, self.bundle.problem != "", first.linked, first.relative)


@define(eq=False)
class Sources:
    """All sources of one model, at least one; after `sort` the best comes first.

    Attributes:
        before: The id that the model had until now, or "".
    """

    folders: list[Source] = Factory(list)
    stored: list[Stored] = Factory(list)
    before: str = ""

    def sort(self) -> None:
        """Put them in an order that doesn't depend on the order of discovery."""
        self.folders.sort(key=lambda source: source.order)
        self.stored.sort(key=lambda one: fame(one.model.name))

    @property
    def best(self) -> Source | None:
        """The folder that gives the model its id and its path; None: Ollama's store does.

        The bridge's links only add names to a model of a store that is read directly: a model that is running when its
        link is made must not turn into another one.
        """
        best = self.folders[0] if self.folders else None
        return None if best is not None and best.bundle.first.bridged and self.stored else best

    @property
    def order(self) -> tuple[Any, ...]:
        """Who gets its id first: folders before the store, then root by root; in each, those that keep an id."""
        new = not self._kept
        if self.best is None:
            return (1, new, *fame(self.stored[0].model.name))
        bridged, rank, *rest = self.best.order
        return (0, bridged, rank, new, *rest)

    @property
    def rank(self) -> int:
        """Rank of the source of its id."""
        return self.best.rank if self.best else STORE

    @property
    def path(self) -> Path:
        """The path of its file in the best source."""
        return self.best.bundle.first.path if self.best else self.stored[0].model.blob

    @property
    def ids(self) -> tuple[str, ...]:
        """The preferred id, then those to use if it is taken. An id that the model had comes first as long as it is one
        of its names: clients have it in their settings, even if another name would be better by now.
        """
        ids = self.best.label.ids if self.best else tuple(printable(one.model.name) for one in self.stored)
        return tuple(dict.fromkeys((*self._kept, *ids)))

    @property
    def _kept(self) -> tuple[str, ...]:
        return (self.before,) if self.before and self.before in self.names else ()

    @property
    def names(self) -> Collection[str]:
        """All its possible names, the best known first, each once."""
        names: dict[str, None] = {}
        for source in self.folders:
            names |= dict.fromkeys((*source.label.ids[:1], *source.label.names))
        for one in self.stored:
            names |= dict.fromkeys(map(printable, (one.model.name, *one.model.aliases)))
        return names.keys()

    @property
    def paths(self) -> Iterable[str]:
        """The paths of its parts, and the file names of those without `.gguf`: Ollama's and Hugging Face's blobs."""
        candidates = [one for source in self.folders for one in (*source.bundle.parts, *source.bundle.links)]
        paths = [path for one in candidates for path in (one.relative, one.path, one.stamp.path)]
        paths += [path for one in self.stored for path in (one.model.blob, one.blob.path)]
        blobs = [path.name for path in paths if isinstance(path, Path) and path.suffix.lower() != ".gguf"]
        return dict.fromkeys(printable(str(path)) for path in (*paths, *blobs))


def fame(name: str) -> tuple[bool, int, str]:
    """Sort key of Ollama's names: its own library's before others', then the shortest."""
    return ("/" in name, len(name), name)


def _placement(model: Bundle) -> Placement:
    links = tuple((split_name(link.name)[0], link.published) for link in model.links)
    return Placement(stem=model.stem, relative=model.first.published, quant=model.quant, links=links)
