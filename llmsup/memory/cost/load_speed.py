"""How fast this machine loads models, to predict the load time of one that was never loaded."""

from __future__ import annotations

from attrs import frozen

from ...config.schema import GiB

ASSUMED = 1.0 * GiB
"""Bytes a second, until a load was measured on this machine, in this run or an earlier one (`store`). It is between a
cold file on a SATA drive (half of it) and one on an NVMe drive or in the file cache (several times as much)."""

FORGETS = 0.5
"""The weight of all earlier loads at each new one: once the file cache has filled, the speed changes quickly."""


@frozen
class Speed:
    """The average over past loads, weighted towards the last. One value for the machine.

    Attributes:
        bytes: Weighted sum of what was read.
        seconds: Weighted sum of the time it took.
    """

    bytes: float = 0.0
    seconds: float = 0.0

    def seen(self, size: int, seconds: float) -> Speed:
        """Include one more load."""
        return Speed(self.bytes * FORGETS + size, self.seconds * FORGETS + seconds)

    def expected(self, size: int) -> float:
        """Seconds that a load of so many bytes should take."""
        rate = self.bytes / self.seconds if self.bytes > 0 and self.seconds > 0 else ASSUMED
        return size / rate
