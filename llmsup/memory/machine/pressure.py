"""How hard the machine is pressed for memory: a level that is entered only by what lasts, and left only by what lasts.

It does not know who takes the readings, nor what is done about the level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from attrs import Factory, evolve, frozen

from .reading import Level, Reading
from .signals import Sign, say_available, signs
from .stalls import Recent, recent
from .trends import Trend, sinking
from .watermarks import marks

UNREADABLE = "the machine's memory can't be read"

CALM: Mapping[Level, float] = {"warn": 5.0, "normal": 10.0}
"""Seconds for which nothing must speak against a level before it is fallen back to; of "normal" too they count from
the end of the signs, so that all is over 10 s after it.
"""

GAP = 5.0
"""Seconds that the next look may be late; beyond that nobody knows what was in between. A probe may take so long."""

ACROSS = 0.5
"""Seconds that such a gap counts for, or a clock that went back. One bad look after a sleep is then no lasting sign;
but a machine so pressed that it looks only now and then still comes to its level.
"""

_Name = TypeVar("_Name", bound=str)

_ORDER: tuple[Level, ...] = ("normal", "warn", "critical")


@frozen
class Pressure:
    """What the looks so far amount to.

    Attributes:
        level: How hard the machine is pressed.
        since: When the level became that, by the clock of the looks.
        because: What says so, or what is to be seen already of a level to come; "" if there is nothing to say.
        shortfall: Bytes that are missing until the pressure ends. More than 0 exactly while the signs are there, even
            if they have not lasted long enough for a level; 0 as soon as they are gone, even if the level is still
            kept: nobody needs to be unloaded any more.
    """

    level: Level = "normal"
    since: float = -math.inf
    because: str = ""
    shortfall: int = 0


@frozen
class Gauge:
    """The state between two looks.

    Attributes:
        pressure: The outcome.
        lasted: For how many seconds each sign, by its name, has been there.
        calm: For how many seconds nothing has spoken against falling back to a level.
        at: When the last look was; None before the first.
        some, full: Recent stalls.
        fall: How fast the available memory falls.
    """

    pressure: Pressure = Factory(Pressure)
    lasted: Mapping[str, float] = Factory(dict)
    calm: Mapping[Level, float] = Factory(dict)
    at: float | None = None
    some: Recent | None = None
    full: Recent | None = None
    fall: Trend | None = None

    @property
    def gone_in(self) -> float:
        """Seconds after which nothing would be available if it went on falling as it does; `inf`: it doesn't fall."""
        return self.fall.available / self.fall.rate if self.fall and self.fall.rate else math.inf

    def look(self, reading: Reading, now: float, reserve: int, *, every: float = 1.0) -> Gauge:
        """Take another reading into account.

        Once there is a level, what is not yet eased presses on: up to the mark at which it is left, not only to the
        one at which it was entered. So nothing can stay in between, where a level is kept and nobody is unloaded.

        Args:
            now: Seconds, of whichever clock; it may jump.
            reserve: What shall stay free of our models, in bytes.
            every: Seconds after which the next look was to be.
        """
        passed = None if self.at is None else now - self.at
        some, full = recent(reading.some, self.some, passed), recent(reading.full, self.full, passed)
        fall = sinking(reading.available, self.fall, passed)
        rate, falls = (fall.rate, fall.falls) if fall else (0.0, False)
        found = signs(reading, marks(reading.total, reserve), some, full, rate, falls=falls)
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
                because=_because(level, pressing, reading),
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
        """Nothing is known: that is no pressure, and all that was seen before has come to an end."""
        return Gauge(pressure=evolve(self._at_level("normal", now), because=UNREADABLE, shortfall=0), at=now)

    def _at_level(self, level: Level, now: float) -> Pressure:
        since = min(self.pressure.since, now) if level == self.pressure.level else now
        return evolve(self.pressure, level=level, since=since)


def higher(level: Level, than: Level) -> bool:
    """Whether one level is worse than another."""
    return _ORDER.index(level) > _ORDER.index(than)


def _longer(before: Mapping[_Name, float], now: Iterable[_Name], step: float) -> dict[_Name, float]:
    """What is so now, and for how long it has been; 0 for what was not so before."""
    return {name: before[name] + step if name in before else 0.0 for name in now}


def _open(found: Iterable[Sign]) -> Iterator[Level]:
    """The levels that could be fallen back to."""
    kept = {each.level for each in found if not each.eased}
    if "critical" not in kept:
        yield "warn"
        if "warn" not in kept:
            yield "normal"


def _next(level: Level, found: Iterable[Sign], lasted: Mapping[str, float], calm: Mapping[Level, float]) -> Level:
    lasting = [each.level for each in found if lasted.get(each.name, -1.0) >= each.sustained]
    worst = max(lasting, key=_ORDER.index, default=_ORDER[0])
    if higher(worst, level):
        return worst
    lower: Level = "warn" if level == "critical" else "normal"
    return lower if calm.get(lower, -1.0) >= CALM[lower] else level


def _because(level: Level, pressing: Iterable[Sign], reading: Reading) -> str:
    worst = max(pressing, key=lambda each: _ORDER.index(each.level), default=None)
    if worst is not None:
        return worst.because
    return "" if level == "normal" else f"it is easing, {say_available(reading)}".rstrip(", ")
