"""The first scan of many model files, drawn on a terminal: a bar below the log until every header is read."""

from __future__ import annotations

from ..tree import Tree
from .progress import counting


async def show_reading(tree: Tree) -> None:
    """Draw until all files are read. Log lines in the meantime go above the bar."""
    reconciler = tree.reconciler
    if reconciler is None or not reconciler.reading:
        return
    with counting("reading model files") as count:
        while reconciler.reading:
            count(reconciler.read, reconciler.of)
            await reconciler.change()
