"""How a run of a model ended, and the error that its requests get.

Which HTTP error a client gets is decided in `as_error` and nowhere else. What an outcome means for the model is decided
in `aftermath`.
"""

from __future__ import annotations

from attrs import field, frozen

from ... import errors
from .states import Cause


@frozen
class _Ended:
    """What all outcomes have in common.

    Attributes:
        message: A sentence that names the model and says what happened.
        hint: What would help, or "".
        log_tail: The last lines of the engine's log, where they help.
    """

    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


@frozen
class Unloaded(_Ended):
    """It was ended on purpose. `cause`: why, in one word."""

    cause: Cause = field(default=Cause.ASKED, kw_only=True)


@frozen
class ShutDown(_Ended):
    """llmsup stops."""


@frozen
class Crashed(_Ended):
    """The engine ended by itself, or hung."""


@frozen
class OutOfMemory(_Ended):
    """The engine ran out of memory."""


@frozen
class FailedToWake(_Ended):
    """The engine could not be woken; a new one may serve."""


@frozen
class FailedToStart(_Ended):
    """There is no engine, or it exited by itself; it won't be tried again for a while.

    Attributes:
        lasting: It won't go away by waiting.
    """

    lasting: bool = field(default=True, kw_only=True)


@frozen
class TimedOut(_Ended):
    """It was not ready in time, or showed no progress for too long."""


@frozen
class PortTaken(_Ended):
    """Another program took the engine's port before the engine could."""


@frozen
class ProjectorRefused(_Ended):
    """The engine can't use the model's projector; it may run without one."""


@frozen
class OutOfResources(_Ended):
    """The system denied llmsup itself a process, file or port: nothing is wrong with the model."""


@frozen
class TooLarge(_Ended):
    """It needs more memory than all models together may use."""


Crash = Crashed | OutOfMemory
"""The engine died while it was wanted."""

Failure = FailedToStart | TimedOut | PortTaken | ProjectorRefused
"""It could not be started."""

Outcome = Unloaded | ShutDown | Crash | Failure | FailedToWake | OutOfResources | TooLarge

SHUT_DOWN = ShutDown("llmsup is shutting down.")


def as_error(outcome: Outcome, *, retry_in: float | None = None) -> errors.Error:
    """The error for one client: a new one each time, because one that is raised twice collects two tracebacks.

    Args:
        retry_in: Seconds after which to retry; ignored for an outcome that doesn't go away by waiting.
    """
    error = _error(outcome)
    if retry_in is not None and not error.lasting:
        error.retry_after = retry_in
    return error


def _error(outcome: Outcome) -> errors.Error:
    message, hint, tail = outcome.message, outcome.hint, outcome.log_tail
    match outcome:
        case Unloaded():
            return errors.Unloading(message, hint=hint, log_tail=tail, retry_after=1)
        case ShutDown():
            return errors.ShuttingDown(message, hint=hint, log_tail=tail)
        case Crashed() | OutOfMemory() | FailedToWake():
            return errors.EngineDied(message, hint=hint, log_tail=tail, retry_after=1)
        case FailedToStart(lasting=lasting):
            return errors.ModelFailed(message, hint=hint, log_tail=tail, lasting=lasting)
        case PortTaken():
            return errors.ModelFailed(message, hint=hint, log_tail=tail, lasting=False)
        case ProjectorRefused():
            return errors.ModelFailed(message, hint=hint, log_tail=tail)
        case TimedOut():
            return errors.LoadTimeout(message, hint=hint, log_tail=tail)
        case OutOfResources():
            return errors.OutOfResources(message, hint=hint, log_tail=tail, retry_after=1)
        case TooLarge():
            return errors.ModelTooLarge(message, hint=hint, log_tail=tail)


def not_started(error: errors.Error) -> Outcome:
    """The outcome of a run for which no engine was started."""
    match error:
        case errors.OutOfResources():
            return OutOfResources(error.message, error.hint)
        case errors.ModelTooLarge():
            return TooLarge(error.message, error.hint)
        case _:  # usually a program or a file that isn't there
            return FailedToStart(error.message, error.hint, error.log_tail, lasting=error.lasting)
