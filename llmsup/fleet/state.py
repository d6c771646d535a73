"""The words for where a model is in its life.

It must not import anything of ours: everybody reads it.
"""

from __future__ import annotations

import enum

from attrs import frozen


class State(enum.StrEnum):
    """unloaded → waiting → starting → ready → draining → stopping → unloaded; or failed, with a time to retry."""

    UNLOADED = "unloaded"
    WAITING = "waiting"  # for memory, or for the pause after a crash
    STARTING = "starting"  # the engine runs, but doesn't answer yet
    READY = "ready"
    DRAINING = "draining"  # about to be unloaded: who is served may finish, who comes waits for the next life
    STOPPING = "stopping"  # the engine is being ended
    FAILED = "failed"  # left alone for a while: requests are refused with the reason


@frozen
class Wish:
    """A wish to have the model unloaded.

    Attributes:
        force: Don't let those who are served finish.
        patient: Let them finish, however long that takes.
        last: Serve those who wait, too.
    """

    reason: str
    force: bool = False
    patient: bool = False
    last: bool = False
