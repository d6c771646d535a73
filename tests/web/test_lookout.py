"""Who is watched: those whose answers take longer than a moment, and nobody else."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from llmsup.web.lookout import MOMENT, Lookout


class Client:
    def __init__(self, *, ready_at: float = 0.0) -> None:
        self.watched: list[float] = []
        self._ready_at = ready_at

    def watch(self) -> bool:
        self.watched.append(trio.current_time())
        return trio.current_time() >= self._ready_at


async def test_who_is_watched(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    lookout, quick, slow, sends = Lookout(), Client(), Client(), Client(ready_at=10 * MOMENT)
    nursery.start_soon(lookout.run)
    for one in (quick, slow, sends):
        lookout.add(one, trio.current_time())
    lookout.remove(quick)
    await trio.sleep(100 * MOMENT)
    assert not quick.watched
    assert len(slow.watched) == 1
    assert MOMENT <= slow.watched[0] <= 3 * MOMENT
    assert sends.watched[-1] >= 10 * MOMENT


async def test_nobody_is_looked_after_when_nobody_is_there(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An idle llmsup sleeps; and it wakes for the next one."""
    lookout, one, other = Lookout(), Client(), Client()
    nursery.start_soon(lookout.run)
    lookout.add(one, trio.current_time())
    await trio.sleep(1000)
    lookout.add(other, trio.current_time())
    await trio.sleep(3 * MOMENT)
    assert len(one.watched) == len(other.watched) == 1
