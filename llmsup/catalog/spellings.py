"""Alternative spellings of a name, as people copy it from a disk, another program or a web page."""

from __future__ import annotations

import os
import re
import unicodedata

from .labels import printable, split_name

_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/(?:models/)?")
_HUB_FILE = re.compile(r"([^/]+/[^/]+)/(?:blob|resolve|raw|tree)/[^/]+(?=/|$)")


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
