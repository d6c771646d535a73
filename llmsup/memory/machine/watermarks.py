"""The amounts of available memory below which a machine is short of it, derived from the reserve."""

from __future__ import annotations

from attrs import frozen

from ...config.schema import GiB

EXIT = 1.25
"""The factor on a mark at which it is left again: oMLX, which enters and leaves at the same one, oscillates (its issues
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
        very_low: Less is about to cause harm.
        enough: This much ends any shortage.
    """

    low: int
    very_low: int

    @property
    def enough(self) -> int:
        """See the class."""
        return -int(-self.low * EXIT // 1)


def marks(total: int | None, reserve: int) -> Watermarks:
    """The marks of a machine.

    `low` is 3/8 of the reserve. Our models may fill everything but the reserve, and a load is admitted while half of
    the reserve remains available (`policy.room`). So both this mark and the one at which it is left, 1.25 · 3/8 < 1/2,
    must be below that half: a machine that is as full as it may be is then not under pressure, and an admission doesn't
    bring back the pressure that has just ended. For the same reason there is no lower bound by share of the total:
    4 % of 512 GiB would be more than the whole reserve.

    There are two bounds: at most 10 % of the memory, for a small machine or a reserve that is most of it (earlyoom acts
    at 10 %), and at least 256 MiB or 1.5 % of the memory, whichever is less, for a tiny reserve, as the system itself
    needs that to stay alive. (That is less than 3/8 of the 5 % that is the reserve in our own control group.)

    `very_low` is half of `low`, at most 5 % (earlyoom's second mark).

    Args:
        total: In bytes; None or 0: unknown, then the reserve's share has no bounds.
        reserve: In bytes.
    """
    low = reserve * _OF_THE_RESERVE
    low = min(max(low, min(_FLOOR, total * _FLOOR_SHARE)), total * _MOST) if total else max(low, _FLOOR)
    return Watermarks(int(low), int(low) // 2)
