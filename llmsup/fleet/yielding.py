"""Watches for the programs that llmsup makes way for (`memory.yield_to`), and has it paused while one runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import trio

from ..config.live import LiveConfig
from ..process.running_programs import RunningPrograms
from ..units import Seconds
from .pausing import Pausing

log = logging.getLogger(__name__)

EVERY = Seconds(5)
"""Between two looks, each of which costs a millisecond or so of a thread."""

LINGER = Seconds(15)
"""How long a program must be gone: one that is started again and again must not have models loaded in between."""


class Yielding:
    """The one task that looks."""

    def __init__(
        self,
        config: LiveConfig,
        pausing: Pausing,
        first: Callable[[Sequence[str]], str] | None = None,
        *,
        every: Seconds = EVERY,
        linger: Seconds = LINGER,
    ) -> None:
        """`first`: gives the first program that runs and has one of these names; "" if none does."""
        self._config = config
        self._pausing = pausing
        self._first = first or RunningPrograms().first
        self._every = every
        self._linger = linger

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled; started after the first look, so that nothing is preloaded before it."""
        gone_since = trio.current_time() - self._linger
        while True:
            names = self._config.now.memory.yield_to
            program = ""
            if names:
                program = await trio.to_thread.run_sync(partial(self._first, names), abandon_on_cancel=True)
            if program:
                gone_since = trio.current_time() + self._every  # it may end right after this look
            if program or not names or trio.current_time() >= gone_since + self._linger:
                self._pausing.runs(program)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            if not names:
                await self._config.change()
            else:
                await trio.sleep(self._every)
