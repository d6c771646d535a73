"""The end of an unload: its memory is seen to come back, before anybody else is given it.

It does not know why the model went.
"""

from __future__ import annotations

from typing import Protocol

import trio

from ...memory.machine.pressure import Pressure
from ...memory.machine.reading import Reading
from ...memory.policy.inputs import Machine
from ...units import Bytes

ENOUGH = 0.75
"""This share of what a model had counts as all of it: others take some meanwhile (Ollama's server/sched.go: 75 %)."""

PATIENCE = 5.0
"""Seconds to wait for it (Ollama waits as long). A GPU's driver takes 0.5 to 1.5 s, macOS a few tenths; Linux gives a
process's memory back before it says that the process is gone.
"""

HURRY = 1.0
"""Seconds to wait while another model loads: what that takes hides what comes back."""

WORTH_WAITING = 64 * 1024**2
"""Bytes; for less nobody waits."""

_LOOK_EVERY = 0.1


class Watch(Protocol):
    """What the governor knows of the machine. `memory.machine.monitor` has the real one."""

    @property
    def reading(self) -> Reading | None:
        """The last look, if it is recent."""

    @property
    def problem(self) -> str:
        """Why it can't be read just now, or ""."""

    @property
    def pressure(self) -> Pressure:
        """How hard the machine is pressed."""

    def machine(self, now: float) -> Machine:
        """The machine as the policy sees it."""

    @property
    def lags(self) -> bool:
        """Memory comes back only some time after the end of the process that had it."""

    def oom_kills(self) -> int | None:
        """How many processes the system has killed for want of memory by now; None: it doesn't count them."""

    async def fresh(self) -> Reading | None:
        """A look now."""

    async def change(self) -> None:
        """Wait for the next look."""


async def until_returned(
    watch: Watch, *, expected: int, before: int | None, hurry: bool, unseen: bool = False
) -> Bytes | None:
    """Wait until most of what a model had is available again, or for long enough. Where the end of a process gives its
    memory back at once there is nothing to wait for: what others do meanwhile would only be mistaken for it.

    Args:
        expected: What it had, in bytes.
        before: What was available before it began to stop; None: unknown, so nobody waits.
        hurry: Something else takes memory meanwhile.
        unseen: The memory is not that of a process that is gone, and so may come back later.

    Returns:
        What came back, in bytes; None if that can't be told.
    """
    if before is None:
        return None
    freed: Bytes | None = None
    with trio.move_on_after(HURRY if hurry else PATIENCE):
        while True:
            reading = await watch.fresh()
            if reading is None or reading.available is None:
                return freed
            freed = Bytes(max(reading.available - before, 0))
            if not (watch.lags or unseen) or expected < WORTH_WAITING or freed >= expected * ENOUGH:
                return freed
            await trio.sleep(_LOOK_EVERY)
    return freed
