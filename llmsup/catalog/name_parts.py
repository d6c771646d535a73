"""The parts of files' and models' names, and the forms in which names are shown and compared.

What models are called is decided in `labels`.
"""

from __future__ import annotations

import os
import re
import unicodedata

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
_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/(?:models/)?")
_HUB_FILE = re.compile(r"([^/]+/[^/]+)/(?:blob|resolve|raw|tree)/[^/]+(?=/|$)")


def split_name(name: str) -> tuple[str, int, int]:
    """A file's stem, which part it is (from 1) and of how many; (stem, 1, 1) if it isn't split."""
    if (match := _PART.fullmatch(name)) and 1 <= int(match["number"]) <= int(match["total"]):
        return match["stem"], int(match["number"]), int(match["total"])
    return (name[:-5] if name.lower().endswith(".gguf") else name), 1, 1


def quant_in(stem: str) -> str:
    """The quantisation in a file's name, in the usual notation; "" if there is none. The last one counts."""
    found = _QUANT.findall(stem)
    return str(found[-1]).upper().replace("FP16", "F16").replace("FP32", "F32") if found else ""


def is_quant(text: str) -> bool:
    """Whether a text is a quantisation and nothing else."""
    return _QUANT.fullmatch(text) is not None


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


def folded(name: str) -> str:
    """A name without distinctions of case and Unicode composition: macOS stores names decomposed."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def bare(name: str) -> str:
    """A name without its optional parts: `.gguf` and a part number, a location (`hf.co/`, the address of a web page,
    `~/`, `./`), wide or narrow forms of characters, and invisible characters.

    Two names that become the same may still mean different models; an exact match takes precedence.
    """
    text = folded(printable(name.strip()))
    if not text.isascii():
        text = folded(unicodedata.normalize("NFKC", text))
    if text.startswith("~/"):
        text = folded(printable(os.path.expanduser("~"))) + text[1:]
    if match := _HUB.match(text):
        text = text[match.end() :].partition("?")[0]
        text = _HUB_FILE.sub(r"\1", text)
    return split_name(text.removeprefix("./").rstrip("/"))[0]
