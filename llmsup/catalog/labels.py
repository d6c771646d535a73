"""What a model in a folder may be called, by its path and its quantisation.

Conflicts between models of different folders are settled in `build`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import frozen

# As llama.cpp's tools name them (ggml's types and src/llama.h's LLAMA_FTYPE), with the suffixes that publishers add:
# unsloth's UD-Q4_K_XL, bartowski's Q6_K_L, ik_llama.cpp's IQ4_KS and Q4_K_R4.
_QUANT = re.compile(
    r"""(?<![a-z0-9])
    (?: (?:UD-)? (?: I?Q[1-9](?:_(?:K|KS|KSS|KL|KT|XXS|XS|S|M|L|XL|NL|P|[01]))* (?:_[48]_[48])? (?:_R[48])?
                   | TQ[12]_0 )
      | MXFP4(?:_MOE)? | NVFP4 | BF16 | F16 | FP16 | F32 | FP32 )
    (?![a-z0-9])""",
    re.VERBOSE | re.IGNORECASE,
)
_PART = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<total>[0-9]{5})\.gguf", re.IGNORECASE | re.DOTALL)
_GGUF = re.compile(r"[-_. ]gguf$", re.IGNORECASE)


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


def split_name(name: str) -> tuple[str, int, int]:
    """A file's stem, which part it is (from 1) and of how many; (stem, 1, 1) if it isn't split."""
    if (match := _PART.fullmatch(name)) and 1 <= int(match["number"]) <= int(match["total"]):
        return match["stem"], int(match["number"]), int(match["total"])
    return (name[:-5] if name.lower().endswith(".gguf") else name), 1, 1


def quant_in(stem: str) -> str:
    """The quantisation in a file's name, in the usual notation; "" if there is none. The last one counts."""
    found = _QUANT.findall(stem)
    return str(found[-1]).upper().replace("FP16", "F16").replace("FP32", "F32") if found else ""


def without_quant(stem: str) -> str:
    """A file's name without its quantisation: "Qwen3-4B-Q4_K_M" is "Qwen3-4B"."""
    return re.sub(r"[-_. ]{2,}", "-", _QUANT.sub("", stem)).strip("-_. ")


def printable(text: str) -> str:
    """A name that can be printed, sent as JSON and typed: in composed form, as keyboards produce it (names on macOS may
    not be), with invisible characters and undecodable bytes in URL notation: "%0A".
    """
    if text.isascii() and text.isprintable():
        return text
    composed = unicodedata.normalize("NFC", text)
    return "".join(c if c.isprintable() else _escaped(c) for c in composed)


def _escaped(character: str) -> str:
    undecoded = "\udc80" <= character <= "\udcff"  # how Python represents an undecodable byte
    data = character.encode("utf-8", "surrogateescape" if undecoded else "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)


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
    if "/" in above and _QUANT.fullmatch(last):  # publisher/model/Q4_K_M/..., as some publishers arrange large models
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
