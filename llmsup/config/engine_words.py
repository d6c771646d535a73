"""The words that `engine = ` may say without an [engines.NAME] table.

Apart from "auto" it does not know any: engine kinds lie above this room, so whoever loads a config passes in what they
are called (`engines.kinds.KINDS.words`).
"""

from __future__ import annotations

from attrs import frozen

AUTO = "auto"
"""Whichever kind can run the model and is installed."""


@frozen
class EngineWord:
    """A built-in kind of engine, as far as a config's author is concerned.

    Attributes:
        name: What `engine = ` says.
        own_table: An [engines.NAME] table of that name may say which program to use. Without this, such a table is a
            mistake.
    """

    name: str
    own_table: bool = False
