"""The ways to write one name: what people copy from a disk, from another program or from a web page.

It does not know which names there are.
"""

from __future__ import annotations

import os
import re
import unicodedata

from .labels import printable, split_name

_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/(?:models/)?")
_HUB_FILE = re.compile(r"([^/]+/[^/]+)/(?:blob|resolve|raw|tree)/[^/]+(?=/|$)")


def folded(name: str) -> str:
    """A name regardless of case, and of how its letters are composed: macOS's folders have them taken apart."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def bare(name: str) -> str:
    """A name without all that it can be written with or without: `.gguf` and a part's number, where it is found
    (`hf.co/`, the address of a page of it, `~/`, `./`), the width of its characters, and what can't be seen in it.

    Two names that are the same then may still mean different models; the one that is exactly so comes first.
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
