"""A herd: one of several machines becomes free, all fronts learn of it at once, and many requests come before the next
poll. How many of them does it get?"""

from __future__ import annotations

import random
from collections import Counter

from llmsup.peers.choice import Candidate
from llmsup.peers.estimate import busy_by_now, our_share
from tools.simulate_peers_world import Router


def herd(router: Router, requests: int = 40, *, reckons: bool = True, machines: int = 10, slots: int = 4) -> int:
    """The queue at the machine that became free, once so many requests have come to as many fronts as machines.

    All machines have the model loaded, and all slots but those of the free one are taken; nothing ends meanwhile.

    Args:
        reckons: Fronts reckon with what others have sent since the poll (`busy_by_now`).
    """
    chance = random.Random(1)  # noqa: S311 -- repeatable, not secret
    then: list[Counter[int]] = [Counter() for _ in range(machines)]
    for number in range(slots * (machines - 1)):
        then[number % machines][1 + number // slots] += 1
    now = [Counter(each) for each in then]
    came = 0
    for number in range(requests):
        mine, before = now[number % machines], then[number % machines]
        candidates = []
        for at in range(machines):
            told = slots if at else 0
            share = our_share(slots * (machines - 1), before.total())
            busy = busy_by_now(told, before[at], mine[at], share) if reckons else max(told, mine[at])
            candidates.append(Candidate(where=str(at), loaded=True, slots=slots, busy=busy, latency=0.001))
        at = int(router(candidates, chance.random))
        mine[at] += 1
        came += not at
    return max(came - slots, 0)
