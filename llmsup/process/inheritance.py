"""What the programs that we start get of our own environment: the one place where an environment is built.

It does not know which programs these are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from attrs import Factory, define

from .marks import GUARD, MARK, new_token

OWN = ("LLMSUP_API_KEY",)
"""What is ours alone, whatever the config says: with it, whoever has it may drive us."""


@define
class Inheritance:
    """Our environment, as children see it: without our secrets, and with a mark by which they are found again.

    Attributes:
        secret: Tells the names of variables that no child gets: the config's `secret_variables`.
        environ: Ours.
        token: Tells our children from those of another llmsup.
    """

    secret: Callable[[], Collection[str]] = frozenset
    environ: Mapping[str, str] = Factory(lambda: os.environ)
    token: str = Factory(new_token)
    _given: int = 0

    def environment(self, *, without: tuple[str, ...] = ()) -> dict[str, str]:
        """The whole environment of a program. `without`: beginnings of further names that it doesn't get."""
        secret = {*OWN, *self.secret()}
        kept = {
            name: value for name, value in self.environ.items() if name not in secret and not name.startswith(without)
        }
        return self.marked(kept, f"{self.token}.0.")

    def of_guard(self) -> dict[str, str]:
        """The environment of our guard, which is told from all others by its mark."""
        return self.marked(self.environment(), f"{self.token}.{GUARD}")

    def mark(self) -> str:
        """A new mark, for one child and all that come from it."""
        self._given += 1
        return f"{self.token}.{self._given}."

    def marked(self, environ: Mapping[str, str], mark: str) -> dict[str, str]:
        """An environment with that mark, beside those of a llmsup that we run under ourselves."""
        others = [each for each in environ.get(MARK, "").split(":") if each and not each.startswith(self.token)]
        return {**environ, MARK: ":".join((*others, mark))}
