"""The words for where a model is in its life.

It must not import anything of ours: everybody reads it.
"""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """unloaded → waiting → starting → ready → draining → stopping → unloaded; or failed, with a time to retry."""

    UNLOADED = "unloaded"
    WAITING = "waiting"  # for memory, or for the pause after a crash
    STARTING = "starting"  # the engine runs, but doesn't answer yet
    READY = "ready"
    DRAINING = "draining"  # about to be unloaded: who is served may finish, who comes waits for the next life
    STOPPING = "stopping"  # the engine is being ended
    FAILED = "failed"  # left alone for a while: requests are refused with the reason


class Cause(enum.StrEnum):
    """Why a model was unloaded, in one word: for scripts and counters."""

    IDLE = "idle"  # its ttl was over
    ROOM = "room"  # another load needed its memory
    PRESSURE = "pressure"  # the machine was short of memory
    ASKED = "asked"  # somebody did, over the API or the command line
    CHANGED = "changed"  # its settings or its file did, or it is gone from the config or the disk
    CRASHED = "crashed"
    FAILED = "failed"  # it could not be loaded
    STOPPED = "stopped"  # llmsup did
