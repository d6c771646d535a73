"""The words that `engine = ` accepts without an [engines.NAME] table.

Only "auto" is defined here: engine kinds are in a later layer, so their names are passed in when a
config is loaded (`engines.kinds.KINDS.words`).
"""

from __future__ import annotations

from attrs import frozen

AUTO = "auto"
"""Let llmsup pick: the kind that can run the model and is installed."""


@frozen
class EngineWord:
    """A built-in kind of engine, as the config sees it.

    Attributes:
        name: The value of `engine = ` that selects it.
        own_table: Whether an [engines.NAME] table of that name may set the program to use. If not, such a table is a
            mistake.
    """

    name: str
    own_table: bool = False
