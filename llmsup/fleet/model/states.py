"""The states of a model, and the causes of an unload.

Imports nothing else of llmsup, because everything imports it.
"""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """unloaded → waiting → starting → ready → draining → stopping → unloaded; or failed, with a time to retry.

    An engine that can may sleep instead: stopping → sleeping → waiting → starting → ready.
    """

    UNLOADED = "unloaded"
    WAITING = "waiting"  # for memory, or for the pause after a crash
    STARTING = "starting"  # the engine runs, but doesn't answer yet
    READY = "ready"
    DRAINING = "draining"  # about to be unloaded: requests in flight may finish, new ones wait for the next run
    STOPPING = "stopping"  # the engine is being ended
    SLEEPING = "sleeping"  # the engine has given its device's memory back, and can be woken; new requests wake it
    FAILED = "failed"  # not tried for a while: requests are refused with the reason


class Cause(enum.StrEnum):
    """Why a model was unloaded, in one word: for scripts and counters."""

    IDLE = "idle"  # its ttl was over
    ROOM = "room"  # another load needed its memory
    PRESSURE = "pressure"  # the machine was short of memory
    ASKED = "asked"  # over the API or the command line
    CHANGED = "changed"  # its settings or its file changed, or it is gone from the config or the disk
    CRASHED = "crashed"
    FAILED = "failed"  # it could not be loaded
    STOPPED = "stopped"  # llmsup did
