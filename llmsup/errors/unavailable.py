"""The server can't do it now: it is busy, short of something, or stopping."""

from __future__ import annotations

from .base import Error


class ModelNotLoaded(Error):
    """The model is not loaded, and the request only asks about its engine, which is no reason to load it."""

    status, code = 503, "model_not_loaded"


class Unloading(Error):
    """The model was deliberately unloaded while the request was waiting for it or being served by it."""

    status, code = 503, "unloading"


class ShuttingDown(Error):
    """llmsup is stopping."""

    status, code = 503, "shutting_down"


class Paused(Error):
    """llmsup keeps out of the way: somebody asked for that, or a program runs that it makes way for."""

    status, code = 503, "paused"


class InsufficientMemory(Error):
    """The model fits this machine, but not beside what is in use now."""

    status, code = 503, "insufficient_memory"


class OutOfResources(Error):
    """The system gives llmsup itself no file, process or port; no engine is at fault."""

    status, code = 503, "out_of_resources"


class TooManyConnections(Error):
    """All the connections that the limit on open files allows are at work."""

    status, code = 503, "too_many_connections"

    def __init__(self) -> None:
        super().__init__(
            "All the connections that the limit on open files allows are at work.",
            hint="Raise it: `ulimit -n` where llmsup is started, LimitNOFILE in a systemd unit.",
            retry_after=1,
        )


class BodiesFull(Error):
    """Other requests' bodies take up all the memory set aside for bodies."""

    status, code = 503, "bodies_full"


class QueueTimeout(Error):
    """The request waited for its model for longer than `queue_timeout`."""

    status, code = 504, "queue_timeout"


class ModelTooLarge(Error):
    """The model needs more than the ceiling even alone."""

    status, code = 507, "model_too_large"
    lasting = True


class StillRunning(Error):
    """A model was unloaded, but something that its engine started could not be found or ended."""

    status, code = 500, "still_running"
    lasting = True


class BridgeFailed(Error):
    """A run of the bridge failed; `log_tail` has the last lines of the user's program, if there is one."""

    status, code = 502, "bridge_failed"
    lasting = True
