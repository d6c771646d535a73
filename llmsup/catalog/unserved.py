"""What a file that is not served may be asked for as, so that whoever asks hears why.

It does not know why.
"""

from __future__ import annotations

from .labels import is_loose, printable

UNFINISHED = (".part", ".partial", ".download", ".crdownload", ".incomplete", ".gguf.tmp")
"""What downloaders append: wget's and LM Studio's, Firefox', Safari's, Chrome's, Hugging Face's, and scripts'."""

STARTED = "downloading_"
"""What LM Studio puts before the name."""


def names_of(relative: str) -> tuple[str, ...]:
    """The names of a file under a root: its path, its own name, and its folder if that is a model's; those that an
    unfinished download will have, too.

    Args:
        relative: Where it lies under the root.
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
