"""When the bridge runs next: pure.

It does not know what runs, nor what time it is.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo

from attrs import frozen
from cronsim import CronSim

from ..config.schema import Bridge
from ..units import NEVER, Seconds

JITTER = Seconds(60)
"""The most that a run is late on purpose, so that not everything on a machine happens on the full hour; of a short
`every` it is at most a tenth."""


class LocalTime(tzinfo):
    """The system's time zone with its rules: a plain `astimezone()` only knows today's difference from UTC."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """How far this time is ahead of UTC."""
        return None if when is None else when.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, _when: datetime | None) -> timedelta | None:
        """Not known, and nobody asks."""
        return None

    def tzname(self, _when: datetime | None) -> str:
        """For people."""
        return "local time"

    def fromutc(self, when: datetime) -> datetime:
        """This time here; `fold` tells the two passes of an hour that comes twice."""
        here = datetime.fromtimestamp(when.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 -- local time is meant
        return here.replace(tzinfo=self)


LOCAL = LocalTime()


@frozen
class Schedule:
    """Every so many seconds, or by a cron expression.

    Attributes:
        every: In seconds; `inf`: never.
        cron: Five fields, in local time; "" if `every` holds.
    """

    every: Seconds = NEVER
    cron: str = ""

    @classmethod
    def of(cls, bridge: Bridge) -> Schedule:
        """What the config asks for."""
        return cls(NEVER, bridge.cron) if bridge.cron else cls(bridge.every)

    @property
    def off(self) -> bool:
        """Whether it only runs when asked to."""
        return not self.cron and math.isinf(self.every)

    def after(self, last: float, *, late: float = 0.0, zone: tzinfo = LOCAL) -> float:
        """When it is time again, in Unix seconds; `inf`: never. It may have been already: what was missed is one run.

        Args:
            last: When it last ran, in Unix seconds.
            late: How much of the jitter is used, from 0 to 1.
            zone: What the cron expression's hours mean.
        """
        if not self.cron:
            return last + self.every + late * min(JITTER, self.every / 10) if not self.off else math.inf
        due = next(CronSim(self.cron, datetime.fromtimestamp(last, zone)), None)
        # Less than a minute, so that a run doesn't slip past the next one's time.
        return math.inf if due is None else due.timestamp() + late * JITTER / 2
