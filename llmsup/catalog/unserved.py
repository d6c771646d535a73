"""The names that clients may use for a file that isn't served, so that the error can say why it isn't."""

from __future__ import annotations

from .labels import is_loose, printable

UNFINISHED = (".part", ".partial", ".download", ".crdownload", ".incomplete", ".gguf.tmp")
"""Suffixes that downloaders append: wget and LM Studio, Firefox, Safari, Chrome, Hugging Face, and scripts."""

STARTED = "downloading_"
"""The prefix that LM Studio adds to the name."""


def names_of(relative: str) -> tuple[str, ...]:
    """The names of a file under a root: its path, its name, and its folder if that is one model's; for an unfinished
    download, also those that it will have.

    Args:
        relative: Its path under the root.
    """
    folder, _, name = relative.rpartition("/")
    whole = name
    if whole.lower().startswith(STARTED):
        whole = whole[len(STARTED) :]
    for mark in UNFINISHED:
        if whole.lower().endswith(mark):
            whole = whole[: -len(mark)] + (".gguf" if mark == ".gguf.tmp" else "")
            break
    names = [relative, name, whole, f"{folder}/{whole}" if folder else whole]
    if not is_loose(folder):
        names += [folder, folder.partition("/")[2]]
    return tuple(dict.fromkeys(map(printable, names)))
