"""Out of the way: for how long models are not served, and why. What that means for models is in `pausing`."""

from __future__ import annotations

import math
import time

from attrs import frozen

from ..errors import Paused
from ..units import Seconds, format_seconds

ASK_AGAIN = Seconds(60)
"""What clients are told to wait where nobody knows how long it takes."""


@frozen
class Pause:
    """A time in which no model is loaded.

    Attributes:
        since: When it began (Unix seconds).
        until: When it ends by itself (Unix seconds); `inf`: when somebody ends it, or the program that it is for ends.
        program: The program that it is for; "": somebody asked for it.
    """

    since: float
    until: float = math.inf
    program: str = ""

    @property
    def left(self) -> Seconds:
        """Seconds until it ends by itself; `inf` if it doesn't."""
        return Seconds(max(self.until - time.time(), 0.0))

    @property
    def reason(self) -> str:
        """Why, and until when, as a clause: "llmsup is paused while Final Cut Pro runs"."""
        if self.program:
            return f"llmsup is paused while {self.program} runs (yield_to)"
        if math.isinf(self.until):
            return "llmsup is paused (llmsup pause)"
        return f"llmsup is paused for {format_seconds(self.left)} (llmsup pause)"

    @property
    def why_unloaded(self) -> str:
        """Why models go then, as a clause that is true for ever."""
        return f"to make way for {self.program} (yield_to)" if self.program else "for a pause (llmsup pause)"

    def error(self) -> Paused:
        """What a request gets that comes meanwhile."""
        left = ASK_AGAIN if math.isinf(self.until) else Seconds(max(self.left, 1.0))
        return Paused(f"{self.reason}.", hint="`llmsup resume` ends that.", retry_after=left)
