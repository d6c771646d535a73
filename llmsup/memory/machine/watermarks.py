"""Below which amounts of available memory a machine is short of it, given what is to stay free beside our models.

It does not know what is available, nor for how long it has been.
"""

from __future__ import annotations

from attrs import frozen

from ...config.schema import GiB

EXIT = 1.25
"""A mark is left again only at so many times itself: oMLX, which enters and leaves at the same, swings (its issues
2059, 1383).
"""

_OF_THE_RESERVE = 3 / 8
_MOST = 0.10
_FLOOR, _FLOOR_SHARE = GiB // 4, 0.015


@frozen
class Watermarks:
    """Amounts of available memory in bytes.

    Attributes:
        low: Less is too little in the long run.
        very_low: Less is about to hurt.
        enough: As much ends any shortage.
    """

    low: int
    very_low: int

    @property
    def enough(self) -> int:
        """See the class."""
        return -int(-self.low * EXIT // 1)


def marks(total: int | None, reserve: int) -> Watermarks:
    """The marks of a machine.

    `low` is 3/8 of the reserve. Our models may fill everything but the reserve, and a load is let in while half of
    the reserve remains available (`room.room`): so both this mark and the one at which it is left, 1.25 · 3/8 < 1/2,
    must be below that half. A machine that is as full as it may be is then not under pressure, and what an admission
    lets in doesn't bring back the pressure that just ended. For the same reason no share of the total bounds it from
    below: 4 % of 512 GiB would be more than the whole reserve.

    Two bounds: at most 10 % of the memory, for a small machine or a reserve that is most of it (earlyoom acts at
    10 %), and at least 256 MiB or 1.5 % of the memory, whichever is less, for a reserve of next to nothing: the system
    itself needs that to stay alive. (Less than 3/8 of the 5 % that are the reserve in a control group of our own.)

    `very_low` is half of `low`, at most 5 % (earlyoom's second mark).

    Args:
        total: In bytes; None or 0: unknown, then nothing bounds the reserve's share.
        reserve: In bytes.
    """
    low = reserve * _OF_THE_RESERVE
    low = min(max(low, min(_FLOOR, total * _FLOOR_SHARE)), total * _MOST) if total else max(low, _FLOOR)
    return Watermarks(int(low), int(low) // 2)
