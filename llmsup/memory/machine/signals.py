"""The signs of pressure in one reading: by what the reading has, not by which system it is of.

It does not know how long a sign has been there, nor which level follows.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from ...units import format_bytes
from .reading import Level, Reading, Stall
from .stalls import Recent
from .watermarks import EXIT, Watermarks

LEAST, LEAST_SHARE = 256 * 1024**2, 32
"""Bytes that are missing where nobody can tell how many; at most a 32nd of all memory."""

STALLED, STALLED_EXIT = 10.0, 2.0
"""Percent of the time. Far below the 40 to 60 % at which systemd-oomd and Meta's oomd kill: an unload is cheap. They
count only where memory is scarce as well, as in Meta's oomd: a file that is read through a full cache stalls too.
"""

GONE_IN = 5.0
"""Seconds: with little left, memory that would be gone in this time is a matter of now. (earlyoom's `main.c` looks the
more often, the sooner it could be gone.)
"""

TWO_LOOKS = 0.1
"""Seconds; less than what lies between any two looks."""

SCARCE = 0.15
"""Of the total: with less available, stalls are the want of memory."""

SCARCE_MAC = 0.06
"""The same for a Mac's compressor and swap. A Mac makes use of all of its memory and swaps out what is idle though
there is no need; so neither little headroom nor swapping is a sign by itself, only both.
"""

COMPRESSES = 8 * 1024**2
"""Bytes a second that a compressor gains in earnest: half a GiB a minute."""

SWAPS, SWAPS_EXIT = 64 * 1024**2, 16 * 1024**2
"""Bytes a second."""


@frozen
class Sign:
    """One thing that can tell of pressure.

    Attributes:
        name: Which.
        level: What it is a sign of.
        sustained: Seconds that it must be there to count.
        there: Whether it is.
        eased: Whether it is gone, by a lower mark than the one at which it came.
        missing: Bytes that would end it, more than 0.
        because: What it says, for people.
        moves: Whether it says something of this moment; a mean that is only slow to fall doesn't.
    """

    name: str
    level: Level
    sustained: float
    there: bool
    eased: bool
    missing: int
    because: str
    moves: bool = True


def signs(
    reading: Reading,
    marks: Watermarks,
    some: Recent | None,
    full: Recent | None,
    fall: float = 0.0,
    *,
    falls: bool = False,
) -> tuple[Sign, ...]:
    """All that the reading could show, there or not; none where nothing is known.

    A system that has a word for its own state (macOS, a command) is believed; where there is none, the available
    memory alone is enough, since stall information is off on many machines and silent on some.

    Args:
        fall: How fast the available memory falls, in bytes a second.
        falls: It has fallen since the look before.
    """
    missing = marks.low if reading.available is None else marks.enough - reading.available
    return (
        *(_said(reading, missing) if reading.level is not None else _scarce(reading, marks, fall, falls=falls)),
        *_stalled(reading, missing, some, full),
        *_compressing(reading, missing),
    )


def say_available(reading: Reading) -> str:
    """For people; "" where it isn't known."""
    if reading.available is None:
        return ""
    of = f" of {format_bytes(reading.total)}" if reading.total else ""
    return f"{format_bytes(reading.available)}{of} are available"


def _least(reading: Reading) -> int:
    return max(min(LEAST, reading.total // LEAST_SHARE), 1) if reading.total else LEAST


def _said(reading: Reading, missing: int) -> Iterator[Sign]:
    level, because = reading.level, f"{reading.sources.get('level') or 'the system'} says {reading.level}"
    because = ", ".join(filter(None, (because, say_available(reading))))
    size = max(missing, _least(reading))
    yield Sign("said warn", "warn", 3, level != "normal", level == "normal", size, because)
    yield Sign("said critical", "critical", 1, level == "critical", level != "critical", size, because)


def _scarce(reading: Reading, marks: Watermarks, fall: float, *, falls: bool) -> Iterator[Sign]:
    available = reading.available
    if available is None:
        return
    because, missing = say_available(reading), max(marks.enough - available, 1)
    yield Sign("low", "warn", 3, available < marks.low, available >= marks.enough, missing, because)
    eased = available >= marks.very_low * EXIT
    yield Sign("very low", "critical", 1, available < marks.very_low, eased, missing, because)
    # An unload takes a second or more: one that begins when the memory is as good as gone comes too late.
    soon = available < marks.low and fall * GONE_IN > available
    because = f"{because}, and it falls by {format_bytes(fall)} a second"
    yield Sign("sinking", "critical", 1, soon, not soon, missing, because)
    # What is little of a small control group is gone within a second: there a second look must do.
    now = soon and falls and fall > available
    yield Sign("gone", "critical", TWO_LOOKS, now, not now, missing, because)


def _stalled(reading: Reading, missing: int, some: Recent | None, full: Recent | None) -> Iterator[Sign]:
    if reading.available is None or not reading.total:
        return
    scarce = reading.available < reading.total * SCARCE
    plenty = reading.available >= reading.total * SCARCE * EXIT
    size = max(missing, _least(reading))

    def sign(name: str, level: Level, sustained: float, who: str, stall: Stall, now: Recent) -> Sign:
        moves = now.share > STALLED_EXIT
        there = stall.avg10 > STALLED and moves and scarce
        eased = stall.avg10 < STALLED_EXIT or plenty
        because = f"{who} waited for memory in {stall.avg10:.0f} % of the last 10 s, {say_available(reading)}"
        return Sign(name, level, sustained, there, eased, size, because, moves)

    if reading.some is not None and some is not None:
        yield sign("stalled", "warn", 5, "tasks", reading.some, some)
    if reading.full is not None and full is not None:
        yield sign("all stalled", "critical", 1, "all tasks", reading.full, full)


def _compressing(reading: Reading, missing: int) -> Iterator[Sign]:
    """Only of a system with a compressor: on others swapping shows in the stalls."""
    if reading.available is None or not reading.total or reading.compressor_rate is None:
        return
    scarce = reading.available < reading.total * SCARCE_MAC
    plenty = reading.available >= reading.total * SCARCE_MAC * EXIT
    size, rate = max(missing, _least(reading)), reading.compressor_rate
    because = f"the compressor grows by {format_bytes(rate)} a second, {say_available(reading)}"
    yield Sign("compressing", "warn", 5, rate > COMPRESSES and scarce, rate <= 0 or plenty, size, because)
    swaps = reading.swap_out_rate
    if swaps is not None:
        because = f"{format_bytes(swaps)} a second are swapped out, {say_available(reading)}"
        yield Sign("swapping", "critical", 3, swaps > SWAPS and scarce, swaps < SWAPS_EXIT or plenty, size, because)
