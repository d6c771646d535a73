"""The tokens in files of saved slots: what a slot holds now, and which entries that continues."""

from __future__ import annotations

from pathlib import Path

from .saved import Saved
from .state_file import Tokens, shared, tokens_of
from .store import Store
from .tended import NotAsSaved


def written(path: Path, tokens: int, size: int) -> Tokens[int] | None:
    """Return the tokens in a file that an engine has just written, as many and as large as it told; None if the file
    isn't understood.

    Raises:
        NotAsSaved: It isn't what the engine told.
        OSError: It can't be read.
    """
    try:
        there = path.stat().st_size
    except FileNotFoundError:  # it runs in a container, say
        raise NotAsSaved("its engine doesn't write where llmsup can see it") from None
    if there != size:
        raise NotAsSaved(f"it has {there} bytes, not the {size} that its engine tells")
    content = tokens_of(path)
    if content is not None and len(content) != tokens:
        raise NotAsSaved(f"it has {len(content)} tokens, not the {tokens} that its engine tells")
    return content


def kept(store: Store, saved: Saved) -> Tokens[int] | None:
    """Return the tokens of an entry; None if that can't be told."""
    try:
        return tokens_of(store.path(saved))
    except OSError:
        return None


def replaced(store: Store, model: str, before: Saved | None, content: Tokens[int] | None) -> list[str]:
    """Return the entries of a model that what is in a slot now continues.

    Args:
        before: What that slot was saved as or restored from.
        content: The slot's tokens; None if they aren't known.
    """
    gone = []
    for saved in store.of(model):
        old = kept(store, saved) if content is not None else None
        if content is None or old is None:
            if before is not None and saved.id == before.id:
                gone.append(saved.id)
            continue
        alike = shared(old, content)
        if alike == len(old) or (before is not None and saved.id == before.id and alike >= len(old) / 2):
            gone.append(saved.id)
    return gone
