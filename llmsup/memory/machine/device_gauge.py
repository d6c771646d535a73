"""Whether a device with its own memory is short of it because of others: a game, a training job.

That our own models fill a device is no shortage: they have all that they need when they start. It is one if little is
left and others have come to use more than they did. There is no "critical": a device has no swap to sink into, and
nothing is killed for it; who wants more is refused it.
"""

from __future__ import annotations

import math

from attrs import evolve, frozen

from ...config.schema import GiB, MiB
from ...units import format_bytes
from .gauge import CALM

LOW, LOW_SHARE = GiB // 2, 1 / 16
"""Bytes free below which a device is short, and the share of it, if that is less."""

EXIT = 1.25
GROWN = 128 * MiB
"""Bytes by which others must have come to use more."""

SUSTAINED = 6.0
"""Seconds that this must last: engines are measured every 5 s, and until then what one takes looks like others'."""

GAP = 10.0
"""Seconds between two looks beyond which what happened in between is unknown."""


@frozen
class DeviceGauge:
    """The state carried from one look to the next.

    Attributes:
        short: It is short of memory.
        since: When that changed last, by the clock of the looks.
        shortfall: Bytes to free to end it; more than 0 exactly while others press.
        reason: A description for people, or "".
        others: What others used when the device was last not short, in bytes.
        lasted: For how many seconds others have pressed.
        calm: For how many seconds they haven't.
        at: When the last look was.
    """

    short: bool = False
    since: float = -math.inf
    shortfall: int = 0
    reason: str = ""
    others: int | None = None
    lasted: float = 0.0
    calm: float = 0.0
    at: float = -math.inf

    def look(self, *, total: int, free: int, ours: int, now: float, moving: bool) -> DeviceGauge:
        """Take another look into account.

        Args:
            total: The device's size, in bytes.
            free: What is free there.
            ours: What our models count for there.
            now: Seconds, by any clock.
            moving: A model is being loaded or unloaded there, so that what is whose can't be told.
        """
        others = max(total - free - ours, 0)
        low = int(min(LOW, total * LOW_SHARE))
        enough = int(low * EXIT)
        step = now - self.at if 0 <= now - self.at <= GAP else 0.0
        known = others if self.others is None else self.others
        presses = free < (enough if self.short else low) and others - known >= GROWN and not moving
        lasted = self.lasted + step if presses and self.shortfall else 0.0
        calm = 0.0 if presses else self.calm + step
        short = calm < CALM["normal"] if self.short else lasted >= SUSTAINED
        # As long as enough is free, what others use is no more than they may; from then on their growth counts.
        if not short and (moving or others < known or free >= enough + GROWN or self.short):
            known = others
        reason = f"{format_bytes(free)} of {format_bytes(total)} are free, and others have {format_bytes(others)}"
        return evolve(
            self,
            short=short,
            since=self.since if short == self.short else now,
            shortfall=max(enough - free, 1) if presses else 0,
            reason=reason if presses else "it is easing" if short else "",
            others=known,
            lasted=lasted,
            calm=calm,
            at=now,
        )
