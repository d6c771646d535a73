"""Whether a worker hangs while its engine has a request in flight."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ...process.activity import IDLE_CORES, ActivitySample
from ...units import Seconds, format_seconds
from ..model.run import Run
from .instance import Instance
from .reach import address_of
from .silence import exchange

EVERY = 10.0
"""Seconds between two looks, or less where `hang_timeout` is short."""


async def until_hung(run: Run, instances: Sequence[Instance], limit: Seconds) -> tuple[Instance, str]:
    """Wait until one of them hangs; returns which, and a clause about it.

    That is: it owes the engine an answer, and nothing has gone either way for `limit` seconds, all of which a request
    was in flight; a worker at work would have finished a batch in that time. Nor does the engine compute meanwhile.
    """
    busy_since, before = trio.current_time(), None
    while True:
        await trio.sleep(min(EVERY, limit / 4))
        engine, now = run.engine, trio.current_time()
        if engine is None or not engine.pool.busy:
            busy_since = now
        hung = _hung(instances, limit) if now - busy_since >= limit else None
        seen: ActivitySample | None = await engine.activity() if engine is not None and hung is not None else None
        if hung is not None and seen is not None and before is not None and seen.cores(before) < IDLE_CORES:
            return hung, f"it hangs: its engine got no answer for {format_seconds(limit)} (hang_timeout)"
        before = seen


def _hung(instances: Sequence[Instance], limit: Seconds) -> Instance | None:
    """Of those that owe an answer the one that was silent for longest: the engine asks one after the other."""
    found = [(exchange(address_of(each.way.address)), each) for each in instances]
    owing = [(last.received, each) for last, each in found if last is not None and last.owed and last.silence >= limit]
    return max(owing, key=lambda each: each[0])[1] if owing else None
