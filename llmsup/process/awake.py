"""Keeps the machine from falling asleep while there is something to do, with a small program of the system's.

What there is to do is the caller's to know.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

import trio

from ..errors import Error
from ..units import Seconds
from .child import describe_exit, run_child
from .orphans import Orphans
from .watched import Watched

log = logging.getLogger(__name__)

LINGER = Seconds(60)
"""How long nothing must have been to do before the machine may sleep: short requests must not start a program each.
Systems wait for longer themselves."""

EVERY = Seconds(5)
"""Between two looks at whether there still is. While nothing is, this task waits to be told, and costs nothing."""

WORKS = Seconds(5)
"""A program that ends sooner was refused what it is for."""


def commands(platform: str, pid: int) -> tuple[tuple[str, ...], ...]:
    """What to run, in the order in which to try; each keeps the machine awake while it runs, and ends with process
    `pid`: caffeinate by its number, `cat` when its input ends.
    """
    if platform == "darwin":
        return (("caffeinate", "-i", "-w", str(pid)),)
    if platform != "linux":
        return ()
    # Desktops that suspend by themselves mind `sleep`, which not every session may hold back; logind minds `idle`.
    words = ("--who=llmsup", "--why=a language model is at work", "--mode=block", "cat")
    return tuple(("systemd-inhibit", f"--what={what}", *words) for what in ("idle:sleep", "idle"))


class KeepAwake:
    """The one task that does so."""

    def __init__(
        self,
        orphans: Orphans,
        *,
        wanted: Callable[[], bool],
        busy: Callable[[], bool],
        announced: Sequence[Watched],
        linger: Seconds = LINGER,
        every: Seconds = EVERY,
        argvs: Sequence[tuple[str, ...]] | None = None,
    ) -> None:
        """`wanted`: whether it is to be done at all; `busy`: whether there is something to do; `announced`: what tells
        when one of them becomes true, the first one when `wanted` does; `argvs`: see `commands`.
        """
        self._orphans = orphans
        self._wanted = wanted
        self._busy = busy
        self._announced = announced
        self._linger = linger
        self._every = every
        self._argvs = commands(sys.platform, os.getpid()) if argvs is None else tuple(argvs)
        self._holding = bool(self._argvs)  # whether it makes sense to try

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do so until cancelled, or until it turns out that it can't be done here."""
        task_status.started()
        while self._holding:
            await self._until_busy()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hold)
                await self._until_idle()
                nursery.cancel_scope.cancel()

    async def _until_busy(self) -> None:
        while not (self._wanted() and self._busy()):
            changed = trio.Event()
            for each in self._announced if self._wanted() else self._announced[:1]:
                each.wakes(changed)
            await changed.wait()

    async def _until_idle(self) -> None:
        last = trio.current_time()
        while self._wanted():
            await trio.sleep(self._every)
            if self._busy():
                last = trio.current_time()
            elif trio.current_time() >= last + self._linger:
                return

    async def _hold(self) -> None:
        """Run a program that keeps the machine awake, until cancelled."""
        why = ""
        for argv in self._argvs:
            began = trio.current_time()
            try:
                why = await self._run(argv)
            except (Error, OSError) as error:
                why = str(error)
            if trio.current_time() >= began + WORKS:
                return  # somebody has ended it: it is started again when there is something to do once more
        self._holding = False
        log.debug("the machine may fall asleep while models work: %s", why)

    async def _run(self, argv: tuple[str, ...]) -> str:
        """Returns how it ended, if it does so by itself."""
        env = self._orphans.inheritance.environment()
        async with run_child(argv, orphans=self._orphans, env=env, stop_grace=Seconds(1)) as child:
            said = [line async for line in child.lines()]
            return f"{argv[0]} {describe_exit(await child.wait())}. {' '.join(said)}".rstrip()
