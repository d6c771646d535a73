"""The errors that cross rooms: each has an HTTP status, a code and a hint.

`web` turns them into JSON, `cli` into lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Self


class Error(Exception):
    """Something went wrong that a person or a client should be told about.

    Attributes:
        message: One sentence that names the thing and the place.
        hint: A remedy, or "".
        param: The request field at fault, or None.
        retry_after: Seconds after which a retry may help, or None.
        lasting: Waiting won't cure it, so clients should not retry by themselves.
        log_tail: The last lines of the engine's output, if an engine is at fault.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    lasting: bool = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        param: str | None = None,
        retry_after: float | None = None,
        log_tail: tuple[str, ...] = (),
        lasting: bool | None = None,
    ) -> None:
        super().__init__(message)
        if lasting is not None:
            self.lasting = lasting
        self.message = message
        self.hint = hint
        self.param = param
        self.retry_after = retry_after
        self.log_tail = log_tail

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()

    def again(self, *, retry_after: float | None = None, lasting: bool | None = None) -> Self:
        """A copy for another client: an exception that is raised twice collects two tracebacks."""
        same = type(self).__new__(type(self), *self.args)
        same.__dict__.update(self.__dict__)
        if lasting is not None:
            same.lasting = lasting
        if retry_after is not None:
            same.retry_after = retry_after
        return same


# --- the request is wrong ---------------------------------------------------------------------------------


class BadRequest(Error):
    """The request is malformed, whatever model it is for."""

    status, code, type = 400, "invalid_request", "invalid_request_error"


class MalformedRequest(BadRequest):
    """What came is not HTTP/1.1, or breaks its rules, or could be read in two ways."""

    code = "malformed_request"


class TlsWanted(BadRequest):
    """Plain HTTP, where TLS is spoken."""

    code = "tls_wanted"


class InvalidJson(BadRequest):
    """The body is not a JSON object."""

    code = "invalid_json"


class ModelRequired(BadRequest):
    """The request names no model, and there is no default one."""

    code = "model_required"


class InvalidApiKey(Error):
    """The server requires a key, and the request's is missing or wrong."""

    status, code, type = 401, "invalid_api_key", "authentication_error"


class ForbiddenOrigin(Error):
    """The request comes from a web page of an untrusted origin."""

    status, code, type = 403, "forbidden_origin", "permission_error"


class NotFound(Error):
    """There is no such path."""

    status, code, type = 404, "not_found", "invalid_request_error"


class ModelNotFound(NotFound):
    """No model has that name, or several do."""

    code = "model_not_found"


class MethodNotAllowed(Error):
    """The path exists, but doesn't support this method."""

    status, code, type = 405, "method_not_allowed", "invalid_request_error"

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        """`allowed`: the methods that the path supports."""
        super().__init__(message)
        self.allowed = allowed


class BodyTooLarge(Error):
    """The body is larger than `server.max_body`."""

    status, code, type = 413, "body_too_large", "invalid_request_error"


class BodyTooSlow(Error):
    """The body came too slowly, or not at all."""

    status, code, type = 408, "body_timeout", "invalid_request_error"


class UnsupportedEncoding(Error):
    """The body is compressed in a way that llmsup doesn't read."""

    status, code, type = 415, "unsupported_encoding", "invalid_request_error"


class RequestTimeout(BadRequest):
    """The request's head did not come in time."""

    status, code = 408, "request_timeout"


class TargetTooLong(BadRequest):
    """The path and query are longer than any that is meant."""

    status, code = 414, "target_too_long"


class HeadTooLarge(BadRequest):
    """The request's line and headers are longer, or more, than any that are meant."""

    status, code = 431, "head_too_large"


class MethodNotImplemented(BadRequest):
    """A method that is for another kind of server."""

    status, code = 501, "not_implemented"
    lasting = True


class VersionNotSupported(BadRequest):
    """Another version of HTTP."""

    status, code = 505, "http_version_not_supported"
    lasting = True


class QueueFull(Error):
    """More requests are waiting for models than `server.max_queue`."""

    status, code, type = 429, "queue_full", "rate_limit_error"


# --- the engine is at fault -------------------------------------------------------------------------------


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


# --- the server is busy with something else ---------------------------------------------------------------


class ModelNotLoaded(Error):
    """Somebody only looks, and a model is not loaded for that."""

    status, code = 503, "model_not_loaded"


class Unloading(Error):
    """The model was deliberately unloaded while the request was waiting for it or being served by it."""

    status, code = 503, "unloading"


class ShuttingDown(Error):
    """llmsup is stopping."""

    status, code = 503, "shutting_down"


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


# --- set-up -----------------------------------------------------------------------------------------------


class SetupError(Error):
    """llmsup itself can't run as asked: a port taken, a file that can't be read, an engine that is missing."""

    code = "setup_error"
    lasting = True

    @property
    def each(self) -> tuple[SetupError, ...]:
        """It, or all that it is made of, to be told one by one."""
        return (self,)


class SetupErrors(SetupError):
    """Several things at once, all of them in `parts`."""

    def __init__(self, parts: tuple[SetupError, ...]) -> None:
        super().__init__(" ".join(map(str, parts)))
        self.parts = parts

    @property
    def each(self) -> tuple[SetupError, ...]:
        """The parts."""
        return self.parts


class Collected:
    """What goes wrong in several places, to be told at once."""

    def __init__(self) -> None:
        self.errors: list[SetupError] = []

    def add(self, *errors: SetupError) -> None:
        """Note these."""
        for error in errors:
            self.errors += error.each

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what goes wrong in the block, and go on behind it."""
        try:
            yield
        except SetupError as error:
            self.add(error)

    def check(self) -> None:
        """Raises SetupError: something did go wrong."""
        if self.errors:
            raise self.errors[0] if len(self.errors) == 1 else SetupErrors(tuple(self.errors))


class ConfigError(SetupError):
    """The config has mistakes; all of them are in `mistakes`, one line each, with their place."""

    status, code, type = 422, "invalid_config", "invalid_request_error"

    def __init__(self, mistakes: tuple[str, ...], source: str) -> None:
        super().__init__(f"{source}: {len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}")
        self.mistakes = mistakes
        self.source = source
