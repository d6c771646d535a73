"""What a model or another file in a folder may be called, by its path and its quantisation.

Conflicts between models of different folders are settled in `build`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import frozen

from .name_parts import is_quant, printable, without_quant

_GGUF = re.compile(r"[-_. ]gguf$", re.IGNORECASE)

UNFINISHED = (".part", ".partial", ".download", ".crdownload", ".incomplete", ".gguf.tmp")
"""Suffixes that downloaders append: wget and LM Studio, Firefox, Safari, Chrome, Hugging Face, and scripts."""

_CONTENT = re.compile(r"(?<=\.gguf)\.[0-9a-f]{12}$")
"""What `llmsup pull` puts before its suffix: the beginning of the content's digest."""

STARTED = "downloading_"
"""The prefix that LM Studio adds to the name."""


@frozen
class Label:
    """What one model in a folder can be called.

    Attributes:
        ids: The preferred one, then those to use if another model in the same root has it.
        names: All other names, the best known first.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]


@frozen(kw_only=True)
class Placement:
    """Where one model is in its folder.

    Attributes:
        stem: Its file's name without suffix and part number.
        relative: Its file's path under the root; of a split model, the first part's.
        quant: "Q4_K_M"; "" if unknown.
        links: Stem and relative path of links to the same file in the same folder.
    """

    stem: str
    relative: str
    quant: str = ""
    links: tuple[tuple[str, str], ...] = ()


def is_loose(folder: str) -> bool:
    """Whether a folder under a root holds independent models; from `publisher/model` on, a folder is one model's."""
    return "/" not in folder


def label_folder(folder: str, models: Sequence[Placement]) -> list[Label]:
    """What the models of one folder are called. `folder`: its path under the root."""
    if is_loose(folder):
        above = f"{folder}/" if folder else ""
        return [_label(model, f"{above}{model.stem}", f"{above}{model.stem}") for model in models]
    quants = Counter(model.quant for model in models)
    labels = []
    for model in models:
        tail = ""
        if len(models) > 1:
            tail = f"@{model.quant if model.quant and quants[model.quant] == 1 else model.stem}"
        labels.append(_label(model, f"{folder}{tail}", folder))
    return labels


def label_outsider(path: str, stem: str) -> Label:
    """What a file that is under no root is called: its whole path, which is unique."""
    return Label((printable(path),), (printable(stem), printable(path.rpartition("/")[2])))


def claims(folder: str, stem: str, relative: str) -> tuple[str, ...]:
    """The ids that a file may come to have, whatever else is in the folder and whatever the file contains; each may be
    followed by "@" and a suffix.
    """
    own = f"{folder}/{stem}" if folder else stem
    return tuple(printable(id_) for id_ in (own if is_loose(folder) else folder, _bare(relative), relative))


def unserved_names(relative: str) -> tuple[str, ...]:
    """What a file that isn't served may be asked for as, so that the error can say why it isn't.

    Its path, its name, and its folder if that is one model's; of an unfinished download also those that it will have.

    Args:
        relative: Its path under the root.
    """
    folder, _, name = relative.rpartition("/")
    whole = name
    if whole.lower().startswith(STARTED):
        whole = whole[len(STARTED) :]
    for mark in UNFINISHED:
        if whole.lower().endswith(mark):
            whole = _CONTENT.sub("", whole[: -len(mark)]) + (".gguf" if mark == ".gguf.tmp" else "")
            break
    names = [relative, name, whole, f"{folder}/{whole}" if folder else whole]
    if not is_loose(folder):
        names += [folder, folder.partition("/")[2]]
    return tuple(dict.fromkeys(map(printable, names)))


def _label(model: Placement, id_: str, base: str) -> Label:
    ids = dict.fromkeys(map(printable, (id_, _bare(model.relative), model.relative)))
    names = dict.fromkeys(map(printable, _names(model, id_, base)))
    names.pop(next(iter(ids)), None)
    return Label(tuple(ids), tuple(names))


def _names(model: Placement, id_: str, base: str) -> Iterator[str]:
    yield _short(id_)
    yield model.stem
    for stem, _ in model.links:
        yield stem
    yield model.relative
    for _, relative in model.links:
        yield relative
    bases = [base]
    above, _, last = base.rpartition("/")
    if "/" in above and is_quant(last):  # publisher/model/Q4_K_M/..., as some publishers arrange large models
        bases.append(above)
    bases.append(without_quant(model.stem) or model.stem)
    every = dict.fromkeys(name for b in bases for name in (b, _short(b), _GGUF.sub("", b), _short(_GGUF.sub("", b))))
    yield from (f"{name}@{model.quant}" for name in every if model.quant)
    yield from every
    yield from (f"{name}:{model.quant}" for name in every if model.quant)  # as in llama.cpp's -hf publisher/model:Q8_0


def _short(name: str) -> str:
    """Without the publisher."""
    return name.partition("/")[2] or name


def _bare(relative: str) -> str:
    """Without `.gguf`."""
    return relative[:-5] if relative.lower().endswith(".gguf") else relative
