"""The inputs of a decision about memory: the machine, the loaded models, the waiting loads; all of them frozen.

Times are seconds of any one clock; sizes are bytes, by pool where it matters which memory they are in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import Factory, frozen

from ...config.schema import Priority
from ..amounts import CEILING, HOST, HOST_CEILING, ZERO, Amounts

Level = Literal["normal", "warn", "critical"]

EXPIRED = -1
RANKS: Mapping[Priority, int] = {"low": 0, "normal": 1, "high": 2}
"""Importance; an idle model whose ttl is over has the rank `EXPIRED`, whatever its priority was."""


@frozen
class Rules:
    """The constants of the policy; one set for every machine and load (`docs/memory.md` says how they were found).

    Attributes:
        min_residency: [memory] min_residency, in seconds, counted from the first request that the model answered; 0:
            "auto", so that nothing but the following keeps a model.
        horizon: A model's worth is its reload time × the chance that it is wanted within this many seconds.
        turn_loads: A turn is this many times as long as both loads, so that swapping can't eat most of the time ...
        turn_most: ... but at most this many seconds, because a person may be waiting.
        idle_loads: A turn is over earlier once the model was idle for this many times both loads: what keeping it costs
            has then come near to what its return would cost (ski rental).
        rival_loads: Two models take turns if they were wanted at once within this many times both loads.
        exact: Up to this many candidates every set is tried; beyond that the search is greedy.
        warn_loads: At "warn" a model of normal or high priority is evicted only after it was idle for this many times
            its own load ...
        warn_most: ... but after this many seconds in any case, because the machine can't wait longer.
        at_work: Under pressure a model that worked within this many seconds is evicted after others of its priority.
        small: A victim that frees less than this many bytes can't end any pressure ...
        small_share: ... nor one that frees less than this share of the ceiling, on a machine where that is less.
        evict_busy: [memory] evict_busy: a model that works may go, too, once the machine is critical for `busy_after`
            seconds and no idle one may go.
    """

    min_residency: float = 0.0
    horizon: float = 150.0
    turn_loads: float = 6.0
    turn_most: float = 120.0
    idle_loads: float = 0.75
    rival_loads: float = 30.0
    exact: int = 12
    warn_loads: float = 6.0
    warn_most: float = 60.0
    at_work: float = 10.0
    small: int = 256 * 1024**2
    small_share: float = 1 / 32
    evict_busy: bool = False
    busy_after: float = 20.0


RULES = Rules()


@frozen
class Pool:
    """A memory that models take from, or a bound on what they take, at one moment.

    With neither a total nor a figure for what is available, it limits nothing.

    Attributes:
        total: What all models together may take of it: a load that needs more is refused. None: no bound.
        available: What can be allocated there now without swapping. None: it can't be read, or this is only a bound;
            then the total less what the models count for is left.
        reserve: What is kept free there for everything else; a load must leave half of this available.
        short: Others press for it, so a load may only take what other models give back.
    """

    total: int | None = None
    available: int | None = None
    reserve: int = 0
    short: bool = False

    @property
    def counted(self) -> bool:
        """Whether what the models count for is all that is known about it."""
        return self.available is None and self.total is not None


@frozen
class Machine:
    """The machine at one moment.

    Attributes:
        pools: What models take memory from, by name.
        level: The level of memory pressure.
        now: The moment.
        since: When that level was entered.
    """

    pools: Mapping[str, Pool]
    level: Level = "normal"
    now: float = 0.0
    since: float = -math.inf

    @property
    def ceiling(self) -> int:
        """What all models together may take."""
        return self.pools[CEILING].total or 0

    @property
    def host(self) -> Pool:
        """Its own memory."""
        return self.pools[HOST]

    def may_have(self, pools: Iterable[str]) -> int:
        """What models may take of some pools together; for a pool without a total, the ceiling counts."""
        of_host = self.pools[HOST_CEILING].total if HOST_CEILING in self.pools else self.ceiling
        totals = [self.pools[pool].total for pool in pools]
        return sum((of_host or 0) if total is None else total for total in totals)

    def frees(self, cost: Amounts, freeable: Amounts) -> Amounts:
        """What evicting a model frees in each pool: all that it counts for where nothing else is known about the pool,
        else what really comes back. (The pages of its file belong to the system.)
        """
        return Amounts(
            {name: taken(cost, name) if pool.counted else freeable[name] for name, pool in self.pools.items()}
        )


def taken(cost: Amounts, pool: str) -> int:
    """What a model of this cost takes of a pool; the ceiling counts all of it that is on this machine, whichever memory
    it is in.
    """
    return cost.here if pool == CEILING else cost[HOST if pool == HOST_CEILING else pool]


def host_pools(ceiling: int, reserve: int = 0, available: int | None = None) -> dict[str, Pool]:
    """The pools of a machine without devices that have their own memory."""
    return {CEILING: Pool(total=ceiling), HOST: Pool(available=available, reserve=reserve)}


@frozen
class LoadedModel:
    """A model that takes memory, or has it reserved.

    Attributes:
        cost: What it counts for: reserved, declared or the highest seen.
        freeable: What evicting it now would really free; while it loads, what it has taken so far.
        in_flight: Requests that it is serving.
        waiting: Requests of its current turn that have not started yet. (Those that came while its queue was paused
            are not among them: they wait for its next turn.)
        loading: Not ready yet.
        leaving: It is being unloaded: it counts until it is gone, and is not chosen again.
        first_served: When it answered its first request since this load, or None.
        last_used: When the last byte of its last answer was sent, or when it became ready.
        last_asked: When the last request for it came, answered or not.
        ready_since: When it became ready.
        wanted_since: When the oldest request that it was loaded for came.
        rate: Visits a second (`eviction_cost.Rate`), or None if never seen.
        reload_seconds: What loading it again takes, known or expected.
        refaults: How often, recently, it was wanted again soon after an eviction.
        grows: How much it may still grow; only shown to people, the policy does not use it.
        save_seconds: How long its conversations take to be saved before it goes, as expected: that much later its
            memory comes back. Nothing is saved at "critical".
        rivals: The models that were wanted at the same time (`rivals.Rivals`), and when that was last seen.
    """

    name: str
    cost: Amounts
    freeable: Amounts
    priority: Priority = "normal"
    pinned: bool = False
    in_flight: int = 0
    waiting: int = 0
    loading: bool = False
    leaving: bool = False
    first_served: float | None = None
    last_used: float = 0.0
    last_asked: float = -math.inf
    ready_since: float = -math.inf
    wanted_since: float = -math.inf
    rate: float | None = None
    reload_seconds: float = 0.0
    refaults: int = 0
    rivals: Mapping[str, float] = Factory(dict)
    ttl_expired: bool = False
    grows: int = 0
    save_seconds: float = 0.0

    @property
    def rank(self) -> int:
        """Importance, `EXPIRED` to 2."""
        return EXPIRED if self.ttl_expired else RANKS[self.priority]

    @property
    def pending(self) -> Amounts:
        """The part of its cost that it has yet to take, while it loads. None once it is ready: the `cost` of a ready
        model includes pages of its file, which the system may drop.
        """
        return (self.cost - self.freeable).max(ZERO) if self.loading else ZERO

    def here_for(self, now: float) -> float:
        """Seconds since its first answer, or since it became ready if it has not answered any request yet."""
        return max(now - self.stays_until(0.0), 0.0)

    def stays_until(self, seconds: float) -> float:
        """The moment this many seconds after its first answer."""
        return (self.last_used if self.first_served is None else self.first_served) + seconds


@frozen
class Need:
    """A model that wants to be loaded.

    Attributes:
        cost: What it takes when it starts.
        since: When the oldest request that waits for it came.
        load_seconds: How long the load takes, known or expected.
        evicts: Other models may be evicted for it. (Not for a `preload` that no request waits for.)
        paused: The models whose queues the last decision about it paused.
        bytes: What it is going to have, where that isn't the sum of `cost`: a worker that serves one engine at a time
            is taken as a whole.
    """

    model: str
    cost: Amounts
    priority: Priority = "normal"
    since: float = math.inf
    load_seconds: float = 0.0
    evicts: bool = True
    paused: frozenset[str] = frozenset()
    bytes: int | None = None

    @property
    def size(self) -> int:
        """What it is going to have, in bytes."""
        return self.cost.total if self.bytes is None else self.bytes
