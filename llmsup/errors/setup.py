"""llmsup can't run as it was set up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .base import Error


class SetupError(Error):
    """llmsup itself can't run as asked: a port taken, a file that can't be read, an engine that is missing."""

    code = "setup_error"
    lasting = True

    @property
    def each(self) -> tuple[SetupError, ...]:
        """This error, or the errors that it combines, to report them one by one."""
        return (self,)


class ConfigUnreadable(SetupError):
    """The config isn't there, or can't be read: a bad config, like one with mistakes."""


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
    """Collects what is wrong in several places, to report all of it at once."""

    def __init__(self) -> None:
        self.errors: list[SetupError] = []

    def add(self, *errors: SetupError) -> None:
        """Note these."""
        for error in errors:
            self.errors += error.each

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what goes wrong in the block, and continue after it."""
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
