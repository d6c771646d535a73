"""How fast this machine loads models: what a load is expected to take of one that was never loaded.

It does not know the models, nor what decides.
"""

from __future__ import annotations

from attrs import frozen

from ...config.schema import GiB

ASSUMED = 1.0 * GiB
"""Bytes a second, until a load was seen on this machine, in this run or an earlier one (`footprint_store`). Between a
cold file on a SATA drive (half of it) and one on an NVMe drive or in the file cache (several times as much)."""

FORGETS = 0.5
"""What the loads before count for at each new one: a machine whose file cache has filled is soon another one."""


@frozen
class Speed:
    """Of the loads seen so far, the last counting most. One value for the machine.

    Attributes:
        bytes: Of their files.
        seconds: That they took.
    """

    bytes: float = 0.0
    seconds: float = 0.0

    def seen(self, size: int, seconds: float) -> Speed:
        """One more load."""
        return Speed(self.bytes * FORGETS + size, self.seconds * FORGETS + seconds)

    def expected(self, size: int) -> float:
        """Seconds that a load of so many bytes will take."""
        rate = self.bytes / self.seconds if self.bytes > 0 and self.seconds > 0 else ASSUMED
        return size / rate
