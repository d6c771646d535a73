"""The end of an unload: waits until the memory has come back, before another model is given it."""

from __future__ import annotations

from typing import Protocol

import trio

from ...memory.amounts import HOST, Amounts
from ...memory.machine.gauge import Pressure
from ...memory.machine.reading import Reading
from ...memory.policy.inputs import Machine
from ...units import Bytes

ENOUGH = 0.75
"""This share of what a model had counts as all of it: others take some meanwhile (Ollama's server/sched.go: 75 %)."""

PATIENCE = 5.0
"""Seconds to wait for it (Ollama waits as long). A GPU's driver takes 0.5 to 1.5 s, macOS a few tenths; Linux frees a
process's memory before it reports the process's end.
"""

HURRY = 1.0
"""Seconds to wait while another model loads: what that one takes hides what comes back."""

WORTH_WAITING = 64 * 1024**2
"""Bytes below which it isn't worth waiting."""

_LOOK_EVERY = 0.1


class Monitor(Protocol):
    """The machine's memory, as the governor sees it. `memory.machine.monitor` has the real one."""

    @property
    def reading(self) -> Reading | None:
        """The last reading, if it is recent."""

    @property
    def problem(self) -> str:
        """Why memory can't be read at the moment, or ""."""

    @property
    def pressure(self) -> Pressure:
        """The memory pressure."""

    def machine(self, now: float) -> Machine:
        """The machine as the policy sees it."""

    @property
    def lags(self) -> bool:
        """Whether memory comes back only some time after its process has ended."""

    def oom_kills(self) -> int | None:
        """How many processes the system has killed for lack of memory so far; None if it doesn't count them."""

    async def fresh(self) -> Reading | None:
        """Take a reading now."""

    async def change(self) -> None:
        """Wait for the next reading."""


def _still_missing(monitor: Monitor, expected: Amounts, before: Amounts, freed: int) -> bool:
    """Whether any pool lacks much of what is to come back. An engine that starts before a device's memory is back takes
    what little it finds for all there is.
    """
    pools = monitor.machine(trio.current_time()).pools
    for name in expected:
        if expected[name] < WORTH_WAITING:
            continue
        available = pools[name].available if name in pools else None
        back = freed if name == HOST else None if available is None else available - before[name]
        if back is not None and back < expected[name] * ENOUGH:
            return True
    return False


async def until_returned(
    monitor: Monitor,
    *,
    expected: Amounts,
    before: Amounts | None,
    hurry: bool,
    unseen: bool = False,
) -> Bytes | None:
    """Wait until most of what a model had is available again, or until the time for that is over. Where memory comes
    back when its process ends there is nothing to wait for, and what other programs do meanwhile could be misread.

    Args:
        expected: What it had of each pool.
        before: What was available there before it began to stop; None if unknown, so that there is no waiting.
        hurry: Something else is taking memory in the meantime.
        unseen: The memory isn't that of the process which has ended, so it may come back later.

    Returns:
        What came back to the machine's own memory, in bytes; None if that is unknown.
    """
    if before is None:
        return None
    freed: Bytes | None = None
    with trio.move_on_after(HURRY if hurry else PATIENCE):
        while True:
            reading = await monitor.fresh()
            if reading is None or reading.available is None:
                return freed
            freed = Bytes(max(reading.available - before[HOST], 0))
            if not (monitor.lags or unseen) or not _still_missing(monitor, expected, before, freed):
                return freed
            await trio.sleep(_LOOK_EVERY)
    return freed
