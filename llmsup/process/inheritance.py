"""What the programs that we start inherit of our environment: the one place where an environment is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from attrs import Factory, define

from .marks import GUARD, MARK, new_token

OWN = ("LLMSUP_API_KEY",)
"""Never passed on, whatever the config says: with the key a program could control llmsup."""


@define
class Inheritance:
    """Our environment as children get it: without our secrets, and with a mark by which they are found again.

    Attributes:
        secret: Gives the names of variables that no child gets: the config's `secret_variables`.
        environ: Our own environment.
        token: Distinguishes our children from those of another llmsup.
    """

    secret: Callable[[], Collection[str]] = frozenset
    environ: Mapping[str, str] = Factory(lambda: os.environ)
    token: str = Factory(new_token)
    _given: int = 0

    def environment(self, *, without: tuple[str, ...] = ()) -> dict[str, str]:
        """The whole environment of a program. `without`: prefixes of further names to leave out."""
        secret = {*OWN, *self.secret()}
        kept = {
            name: value for name, value in self.environ.items() if name not in secret and not name.startswith(without)
        }
        return self.marked(kept, f"{self.token}.0.")

    def of_guard(self) -> dict[str, str]:
        """The environment of our guard, with a mark of its own kind."""
        return self.marked(self.environment(), f"{self.token}.{GUARD}")

    def mark(self) -> str:
        """A new mark, for one child and all its descendants."""
        self._given += 1
        return f"{self.token}.{self._given}."

    def marked(self, environ: Mapping[str, str], mark: str) -> dict[str, str]:
        """An environment with that mark, besides those of a llmsup that we ourselves run under."""
        others = [each for each in environ.get(MARK, "").split(":") if each and not each.startswith(self.token)]
        return {**environ, MARK: ":".join((*others, mark))}
