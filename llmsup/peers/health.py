"""When a peer counts as down, and when it is asked again: frozen values in and out.

An answer to a question brings it back. If it is requests that it fails, that proves little: it is let in again, but
each time that it then fails them once more, it stays out for longer.
"""

from __future__ import annotations

from attrs import evolve, frozen

from ..units import Seconds

IN_A_ROW = 3
"""Failures after which a peer that has answered before is taken out."""

SOON = Seconds(1)
"""Until it is asked again after a failure that doesn't take it out."""

LONGEST = Seconds(60)
"""The longest pause between two questions to a peer that is down."""

SPREAD = 0.2
"""The share of a pause by which it may be shorter or longer, so that a hundred llmsups don't ask at the same moment."""


@frozen(kw_only=True)
class Health:
    """How a peer has fared.

    Attributes:
        proven: It has answered since it was last down.
        missed: Questions in a row that it has not answered.
        broken: Requests in a row that it has failed.
        troubled: It was taken out for the requests that it failed, and has answered none since.
        steps: How often its pause has been doubled, and once more.
    """

    proven: bool = False
    missed: int = 0
    broken: int = 0
    troubled: bool = False
    steps: int = 0

    @property
    def failures(self) -> int:
        """How often in a row it has failed, in either way."""
        return self.missed + self.broken

    @property
    def down(self) -> bool:
        """Whether it gets no requests. One that has not answered yet has no credit: a single failure is enough."""
        return self.missed >= (IN_A_ROW if self.proven else 1) or self.broken >= IN_A_ROW

    def miss(self) -> Health:
        """It has not answered a question, or with nothing that is an answer."""
        after = evolve(self, missed=self.missed + 1)
        return evolve(after, proven=False, steps=self.steps + 1) if after.down else after

    def broke(self) -> Health:
        """It has failed a request."""
        after = evolve(self, broken=self.broken + 1)
        return evolve(after, proven=False, troubled=True, steps=self.steps + 1) if after.down else after

    def told(self) -> Health:
        """It has answered a question."""
        broken = 0 if self.down else self.broken
        return evolve(self, proven=True, missed=0, broken=broken, steps=self.steps if self.troubled else 0)

    def served(self) -> Health:
        """It has answered a request."""
        return Health(proven=True)

    def pause(self, luck: float) -> Seconds:
        """Return how long to wait with the next question after a failure. `luck`: a random number from 0 to 1."""
        if not self.down:
            return SOON
        return Seconds(min(2.0 ** min(self.steps - 1, 10), LONGEST) * (1 - SPREAD + 2 * SPREAD * luck))
