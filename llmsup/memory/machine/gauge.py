"""The level of memory pressure: only sustained signals raise it, and only sustained calm lowers it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from attrs import Factory, evolve, frozen

from .reading import Level, Reading
from .signals import Signal, marks, say_available, signals
from .trends import RecentStall, Trend, recent, trend

UNREADABLE = "the machine's memory can't be read"

CALM: Mapping[Level, float] = {"warn": 5.0, "normal": 10.0}
"""Seconds without any signal against a lower level before falling back to it. For "normal", too, they count from the
end of the signals, so that everything is over 10 s after that.
"""

GAP = 5.0
"""Seconds that the next reading may be late; beyond that, what happened in between is unknown. A probe may take this
long."""

ACROSS = 0.5
"""Seconds that such a gap, or a clock that went back, counts for. One bad reading after a sleep is then not a sustained
signal, but a machine under such pressure that readings are rare still reaches its level.
"""

_Name = TypeVar("_Name", bound=str)

_ORDER: tuple[Level, ...] = ("normal", "warn", "critical")


@frozen
class Pressure:
    """The conclusion from the readings so far.

    Attributes:
        level: The pressure level.
        since: When the level was entered, by the clock of the readings.
        reason: The signals behind it, or early signals of a level to come; "" if there are none.
        shortfall: Bytes to free to end the pressure. More than 0 exactly while there are signals, even if they have not
            lasted long enough for a level; 0 as soon as they are gone, even while the level is still kept, as nothing
            more needs to be unloaded.
    """

    level: Level = "normal"
    since: float = -math.inf
    reason: str = ""
    shortfall: int = 0


@frozen
class Gauge:
    """The state carried from one reading to the next.

    Attributes:
        pressure: The conclusion.
        lasted: For how many seconds each signal, by name, has been present.
        calm: By level, for how many seconds no signal has prevented falling back to it.
        at: When the last reading was taken; None before the first.
        some, full: Recent stalls.
        fall: How fast the available memory falls.
    """

    pressure: Pressure = Factory(Pressure)
    lasted: Mapping[str, float] = Factory(dict)
    calm: Mapping[Level, float] = Factory(dict)
    at: float | None = None
    some: RecentStall | None = None
    full: RecentStall | None = None
    fall: Trend | None = None

    @property
    def gone_in(self) -> float:
        """Seconds until nothing would be available at the present rate; `inf`: it isn't falling."""
        return self.fall.available / self.fall.rate if self.fall and self.fall.rate else math.inf

    def look(self, reading: Reading, now: float, reserve: int, *, every: float = 1.0) -> Gauge:
        """Take another reading into account.

        Once a level is entered, a signal counts until it has eased, at the mark for leaving the level and not the one
        for entering it. Otherwise a value between the two marks would keep the level without unloading anything.

        Args:
            now: Seconds, by any clock; it may jump.
            reserve: What our models must leave free, in bytes.
            every: The intended seconds between readings.
        """
        passed = None if self.at is None else now - self.at
        some, full = recent(reading.some, self.some, passed), recent(reading.full, self.full, passed)
        fall = trend(reading.available, self.fall, passed)
        rate, falls = (fall.rate, fall.falls) if fall else (0.0, False)
        found = signals(reading, marks(reading.total, reserve), some, full, rate, falls=falls)
        if not found:
            return self.unread(now)
        step = passed if passed is not None and 0 <= passed <= every + GAP else ACROSS
        lasted = _longer(self.lasted, (each.name for each in found if each.there), step)
        calm = _longer(self.calm, _open(found), step)
        level = _next(self.pressure.level, found, lasted, calm)
        pressing = [each for each in found if each.moves and (each.there or (level != "normal" and not each.eased))]
        return Gauge(
            pressure=evolve(
                self._at_level(level, now),
                reason=_reason(level, pressing, reading),
                shortfall=max((each.missing for each in pressing), default=0),
            ),
            lasted=lasted,
            calm=calm,
            at=now,
            some=some,
            full=full,
            fall=fall,
        )

    def unread(self, now: float) -> Gauge:
        """Record that the machine can't be read: that is no pressure, and all earlier signals end."""
        return Gauge(pressure=evolve(self._at_level("normal", now), reason=UNREADABLE, shortfall=0), at=now)

    def _at_level(self, level: Level, now: float) -> Pressure:
        since = min(self.pressure.since, now) if level == self.pressure.level else now
        return evolve(self.pressure, level=level, since=since)


def higher(level: Level, than: Level) -> bool:
    """Whether one level is worse than another."""
    return _ORDER.index(level) > _ORDER.index(than)


def _longer(before: Mapping[_Name, float], now: Iterable[_Name], step: float) -> dict[_Name, float]:
    """What holds now, and for how many seconds it has held; 0 for what is new."""
    return {name: before[name] + step if name in before else 0.0 for name in now}


def _open(found: Iterable[Signal]) -> Iterator[Level]:
    """The levels that the signals allow falling back to."""
    kept = {each.level for each in found if not each.eased}
    if "critical" not in kept:
        yield "warn"
        if "warn" not in kept:
            yield "normal"


def _next(level: Level, found: Iterable[Signal], lasted: Mapping[str, float], calm: Mapping[Level, float]) -> Level:
    lasting = [each.level for each in found if lasted.get(each.name, -1.0) >= each.sustained]
    worst = max(lasting, key=_ORDER.index, default=_ORDER[0])
    if higher(worst, level):
        return worst
    lower: Level = "warn" if level == "critical" else "normal"
    return lower if calm.get(lower, -1.0) >= CALM[lower] else level


def _reason(level: Level, pressing: Iterable[Signal], reading: Reading) -> str:
    worst = max(pressing, key=lambda each: _ORDER.index(each.level), default=None)
    if worst is not None:
        return worst.reason
    return "" if level == "normal" else f"it is easing, {say_available(reading)}".rstrip(", ")
