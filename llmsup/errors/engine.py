"""An engine is at fault."""

from __future__ import annotations

from .base import Error

SAID = "It said: "
"""What comes before an engine's own words in a message. Not everyone may read them (`gateway.discretion`)."""


class EngineDied(Error):
    """The engine ended during the request; the message has its exit code or signal."""

    status, code = 502, "engine_died"


class EngineBadAnswer(Error):
    """The engine is alive, but sent something other than HTTP, or closed the connection without an answer."""

    status, code = 502, "engine_bad_answer"
    lasting = True


class ModelFailed(Error):
    """The model can't be started; it is tried again after a cool-down, or on an explicit load.

    Lasting by default: its engine exited by itself, and would do so again.
    """

    status, code = 503, "model_failed"
    lasting = True


class LoadTimeout(Error):
    """The model was not ready within `start_timeout`, or showed no progress for `stall_timeout`."""

    status, code = 504, "load_timeout"
    lasting = True
