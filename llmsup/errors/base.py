"""The base of all errors that a person or a client is told about."""

from __future__ import annotations

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
