"""The signals of memory pressure in one reading, by which values it has rather than by which system it is from, and the
marks that they are measured against.

How long a signal must last, and which level follows, is worked out in `gauge`.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from ...config.schema import GiB
from ...units import format_bytes
from .reading import Level, Reading, Stall
from .trends import RecentStall

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
    the reserve remains available (`policy.admission`). So both this mark and the one at which it is left must be below
    that half (1.25 · 3/8 < 1/2): a machine that is as full as it may be is then not under pressure, and an admission
    doesn't bring back the pressure that has just ended. For the same reason there is no lower bound by share of the
    total: 4 % of 512 GiB would be more than the whole reserve.

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


LEAST, LEAST_SHARE = 256 * 1024**2, 32
"""Bytes to free where the actual amount is unknown; at most a 32nd of all memory."""

STALLED, STALLED_EXIT = 10.0, 2.0
"""Percent of the time. Far below the 40 to 60 % at which systemd-oomd and Meta's oomd kill, as an unload is cheap. As
in Meta's oomd, stalls only count when memory is scarce as well: reading a file through a full cache stalls too.
"""

GONE_IN = 5.0
"""Seconds: when little is left, memory that would be gone within this time calls for action now. (earlyoom's `main.c`
checks more often the sooner memory could be gone.)
"""

TWO_LOOKS = 0.1
"""Seconds; less than the time between any two readings."""

SCARCE = 0.15
"""Share of the total: with less available, stalls are put down to a lack of memory."""

SCARCE_MAC = 0.06
"""The same for a Mac's compressor and swap. A Mac uses all of its memory and swaps out idle pages without need, so
neither little available memory nor swapping is a signal by itself, only both together.
"""

COMPRESSES = 8 * 1024**2
"""Bytes a second from which a growing compressor counts: half a GiB a minute."""

SWAPS, SWAPS_EXIT = 64 * 1024**2, 16 * 1024**2
"""Bytes a second."""


@frozen
class Signal:
    """One possible signal of pressure, present or not.

    Attributes:
        name: Its name.
        level: The level that it indicates.
        sustained: Seconds that it must last to count.
        there: Whether it is present.
        eased: Whether it is gone, by a lower mark than the one at which it appears.
        missing: Bytes to free to end it, more than 0.
        reason: A description for people.
        moves: Whether it reflects the current moment; a mean that is only slow to fall doesn't.
    """

    name: str
    level: Level
    sustained: float
    there: bool
    eased: bool
    missing: int
    reason: str
    moves: bool = True


def signals(
    reading: Reading,
    marks: Watermarks,
    some: RecentStall | None,
    full: RecentStall | None,
    fall: float = 0.0,
    *,
    falls: bool = False,
) -> tuple[Signal, ...]:
    """All signals that the reading has values for, present or not.

    The state that a system reports itself (macOS, a probe) is trusted; without one, available memory alone is enough,
    since stall information is disabled on many machines and silent on some.

    Args:
        fall: How fast the available memory falls, in bytes a second.
        falls: Whether it has fallen since the last reading.
    """
    missing = marks.low if reading.available is None else marks.enough - reading.available
    return (
        *(_said(reading, missing) if reading.level is not None else _scarce(reading, marks, fall, falls=falls)),
        *_stalled(reading, missing, some, full),
        *_compressing(reading, missing),
    )


def say_available(reading: Reading) -> str:
    """The available memory, for people; "" if unknown."""
    if reading.available is None:
        return ""
    of = f" of {format_bytes(reading.total)}" if reading.total else ""
    return f"{format_bytes(reading.available)}{of} are available"


def _least(reading: Reading) -> int:
    return max(min(LEAST, reading.total // LEAST_SHARE), 1) if reading.total else LEAST


def _said(reading: Reading, missing: int) -> Iterator[Signal]:
    level, reason = reading.level, f"{reading.sources.get('level') or 'the system'} says {reading.level}"
    reason = ", ".join(filter(None, (reason, say_available(reading))))
    size = max(missing, _least(reading))
    yield Signal("said warn", "warn", 3, level != "normal", level == "normal", size, reason)
    yield Signal("said critical", "critical", 1, level == "critical", level != "critical", size, reason)


def _scarce(reading: Reading, marks: Watermarks, fall: float, *, falls: bool) -> Iterator[Signal]:
    available = reading.available
    if available is None:
        return
    reason, missing = say_available(reading), max(marks.enough - available, 1)
    yield Signal("low", "warn", 3, available < marks.low, available >= marks.enough, missing, reason)
    eased = available >= marks.very_low * EXIT
    yield Signal("very low", "critical", 1, available < marks.very_low, eased, missing, reason)
    # An unload takes a second or more: started when the memory is all but gone, it comes too late.
    soon = available < marks.low and fall * GONE_IN > available
    reason = f"{reason}, and it falls by {format_bytes(fall)} a second"
    yield Signal("falling", "critical", 1, soon, not soon, missing, reason)
    # The little that a small control group has is gone within a second: there the second reading must be enough.
    now = soon and falls and fall > available
    yield Signal("gone", "critical", TWO_LOOKS, now, not now, missing, reason)


def _stalled(reading: Reading, missing: int, some: RecentStall | None, full: RecentStall | None) -> Iterator[Signal]:
    if reading.available is None or not reading.total:
        return
    scarce = reading.available < reading.total * SCARCE
    plenty = reading.available >= reading.total * SCARCE * EXIT
    size = max(missing, _least(reading))

    def stalled(name: str, level: Level, sustained: float, who: str, stall: Stall, now: RecentStall) -> Signal:
        moves = now.share > STALLED_EXIT
        there = stall.avg10 > STALLED and moves and scarce
        eased = stall.avg10 < STALLED_EXIT or plenty
        reason = f"{who} waited for memory in {stall.avg10:.0f} % of the last 10 s, {say_available(reading)}"
        return Signal(name, level, sustained, there, eased, size, reason, moves)

    if reading.some is not None and some is not None:
        yield stalled("stalled", "warn", 5, "tasks", reading.some, some)
    if reading.full is not None and full is not None:
        yield stalled("all stalled", "critical", 1, "all tasks", reading.full, full)


def _compressing(reading: Reading, missing: int) -> Iterator[Signal]:
    """Only for a system with a compressor: elsewhere swapping shows in the stalls."""
    if reading.available is None or not reading.total or reading.compressor_rate is None:
        return
    scarce = reading.available < reading.total * SCARCE_MAC
    plenty = reading.available >= reading.total * SCARCE_MAC * EXIT
    size, rate = max(missing, _least(reading)), reading.compressor_rate
    reason = f"the compressor grows by {format_bytes(rate)} a second, {say_available(reading)}"
    yield Signal("compressing", "warn", 5, rate > COMPRESSES and scarce, rate <= 0 or plenty, size, reason)
    swaps = reading.swap_out_rate
    if swaps is not None:
        reason = f"{format_bytes(swaps)} a second are swapped out, {say_available(reading)}"
        yield Signal("swapping", "critical", 3, swaps > SWAPS and scarce, swaps < SWAPS_EXIT or plenty, size, reason)
