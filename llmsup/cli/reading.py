"""The first look at many model files, drawn on a terminal: a bar below the log until every header is read.

It does not know what is read from them.
"""

from __future__ import annotations

from ..tree import Tree
from .progress import counting


async def show_reading(tree: Tree) -> None:
    """Draw until the roster is complete. What is logged meanwhile stands above the bar."""
    reconciler = tree.reconciler
    if reconciler is None or not reconciler.reading:
        return
    with counting("reading model files") as count:
        while reconciler.reading:
            count(reconciler.read, reconciler.of)
            await reconciler.change()
