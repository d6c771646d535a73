"""When the bridge runs next: pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo

from attrs import frozen
from cronsim import CronSim

from ..config.schema import Bridge
from ..units import NEVER, Seconds

JITTER = Seconds(60)
"""Seconds of jitter at most, so that not everything on a machine happens on the hour; with a short `every`, at most
a tenth of it."""


class LocalTime(tzinfo):
    """The system's time zone with its rules: a plain `astimezone()` only knows today's UTC offset."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        """The offset from UTC at this time."""
        return None if when is None else when.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, _when: datetime | None) -> timedelta | None:
        """Unknown; `datetime` only requires the method to exist."""
        return None

    def tzname(self, _when: datetime | None) -> str:
        """What to call it."""
        return "local time"

    def fromutc(self, when: datetime) -> datetime:
        """Convert to local time; `fold` tells apart the two passes of an hour that comes twice."""
        here = datetime.fromtimestamp(when.replace(tzinfo=UTC).timestamp())  # noqa: DTZ006 -- local time is meant
        return here.replace(tzinfo=self)


LOCAL = LocalTime()


@frozen
class Schedule:
    """At a fixed interval, or by a cron expression.

    Attributes:
        every: The interval in seconds; `inf`: never.
        cron: Five fields, in local time; "" if `every` applies.
    """

    every: Seconds = NEVER
    cron: str = ""

    @classmethod
    def of(cls, bridge: Bridge) -> Schedule:
        """What the config asks for."""
        return cls(NEVER, bridge.cron) if bridge.cron else cls(bridge.every)

    @property
    def off(self) -> bool:
        """Whether it only runs on request."""
        return not self.cron and math.isinf(self.every)

    def after(self, last: float, *, late: float = 0.0, zone: tzinfo = LOCAL) -> float:
        """When the next run is due, in Unix seconds; `inf`: never. In the past if runs were missed: they become one.

        Args:
            last: When it last ran, in Unix seconds.
            late: How much of the jitter to add, from 0 to 1.
            zone: The time zone of the cron expression.
        """
        if not self.cron:
            return last + self.every + late * min(JITTER, self.every / 10) if not self.off else math.inf
        due = next(CronSim(self.cron, datetime.fromtimestamp(last, zone)), None)
        # Less than a minute, so that a run can't be delayed past the next one.
        return math.inf if due is None else due.timestamp() + late * JITTER / 2
