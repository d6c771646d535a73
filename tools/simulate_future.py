"""What a policy that knows the future could reach: a bound that no real policy can be expected to beat.

There are two bounds. *Everything fits*: each model is loaded once and never evicted. *Clairvoyant*: loads on demand, as
all policies do, but knows each client's future requests. Of the models that may be evicted it takes the set that loses
least: load seconds over the time until the next use (Belady's rule, with sizes and load times). When a model that is
still in use should make way, no such rule can tell, so the length of each turn is found by searching over many replays
of the same trace. Then decisions about single loads are changed at random, and improvements are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from attrs import define, evolve, field

from llmsup.memory.amounts import CEILING, HOST, ZERO, Amounts
from llmsup.memory.policy.cheapest import Candidate, cheapest
from llmsup.memory.policy.decision import Decision
from tools.simulate_engine import Engine
from tools.simulate_machine import Trace
from tools.simulate_tally import Tally
from tools.simulate_ways import Llmsup
from tools.simulate_world import World

AHEAD = 150
"""How many future requests of each client are considered."""

TURNS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Lengths of a turn to try, in loads of both models."""

POWERS = (1.0, 3.0)
"""Exponents of the time until the next use: 1 picks the lowest cost per second, 3 almost always the last one used."""

NEVER_AGAIN = 1e6
"""Seconds until the next use for a model that is not used again."""


@define
class Clairvoyant(Llmsup):
    """Belady with sizes and load times.

    Attributes:
        power: The exponent of the time until the next use, in the cost of evicting a model.
        turn: A model that is used again within the rest of its turn stays until the turn is over; in loads of both
            models.
        turns: The same for single loads by number, as found by the search.
        tastes: Random seeds for single loads by number, which perturb the choice of victims.
    """

    name: str = "clairvoyant"
    turn: float = 0.0
    power: float = 1.0
    turns: Mapping[int, float] = field(factory=dict)
    tastes: Mapping[int, int] = field(factory=dict)
    episodes: dict[tuple[float, str], int] = field(factory=dict, init=False)

    def admit(self, world: World) -> Sequence[Decision]:
        following = world.next_use(AHEAD)
        decisions: list[Decision] = []
        gone, kept, promised = set[str](), set[str](), 0
        for since, name in world.waiting():
            number = self.episodes.setdefault((since, name), len(self.episodes))
            cost = world.past[name].cost
            if cost > world.host.ceiling:
                decisions.append(Decision("refuse", "", name))
                continue
            remain = [each for key, each in world.engines.items() if each.state != "leaving" and key not in gone]
            missing = self._missing(world, cost + promised, remain)
            here = [each for each in remain if each.state == "ready" and not each.model.pinned]
            free = [each for each in here if each.model.name not in kept]
            if ZERO.covers(missing):
                now = self._missing(world, cost + promised, list(world.engines.values()))
                decisions.append(Decision("admit" if ZERO.covers(now) and not gone else "evict", "", name))
                promised += cost
                continue
            turn = self.turns.get(number, self.turn)
            over = {each.model.name for each in free if self._over(world, each, name, turn, following)}
            may_go = [each for each in free if not each.in_flight and each.model.name in over]
            if chosen := self._cheapest(world, may_go, missing, following, number):
                decisions.append(Decision("evict", "", name, victims=chosen))
                gone.update(chosen)
                promised += cost
                continue
            paused = self._cheapest(world, [e for e in free if e.model.name in over], missing, following, number)
            decisions.append(Decision("wait", "", name, paused=paused))
            kept.update(paused)
            promised += cost if paused else 0
        return decisions

    def _over(self, world: World, engine: Engine, name: str, turn: float, following: Mapping[str, float]) -> bool:
        first = engine.last_used if engine.first_served is None else engine.first_served
        ends = first + turn * (engine.model.load_seconds + world.host.models[name].load_seconds)
        next_use = world.now if engine.in_flight else following.get(engine.model.name, world.now + NEVER_AGAIN)
        return world.now >= ends or next_use >= ends

    @staticmethod
    def _missing(world: World, wanted: int, remain: Sequence[Engine]) -> Amounts:
        cost = sum(max(each.reserved, each.taken) for each in remain)
        ours = sum(each.taken for each in world.engines.values())
        rest = sum(max(each.reserved, each.taken) if each.state != "ready" else each.taken for each in remain)
        there = world.available + ours - rest
        return Amounts({CEILING: cost + wanted - world.host.ceiling, HOST: wanted - there})

    def _cheapest(
        self, world: World, engines: Sequence[Engine], missing: Amounts, following: Mapping[str, float], number: int
    ) -> tuple[str, ...]:
        candidates = []
        taste = self.tastes.get(number)
        dice = None if taste is None else Random(taste)  # noqa: S311 -- repeatable, not secret
        for each in engines:
            until = max(following.get(each.model.name, world.now + NEVER_AGAIN) - world.now, 0.0) + 1.0
            chance = 4.0 ** dice.uniform(-2, 2) if dice else 1.0
            points = max(round(each.model.load_seconds / until**self.power * chance * 1e12), 1)
            frees = Amounts({CEILING: max(each.reserved, each.taken), HOST: each.taken})
            candidates.append(Candidate(each.model.name, frees, 0, points))
        return tuple(each.name for each in cheapest(candidates, missing))


def clairvoyant(trace: Trace, *, replays: int = 0) -> Tally:
    """The lowest sum of waits found, among runs in which every request is answered.

    Args:
        replays: Beyond one per length of a turn: attempts with single loads changed (hill climbing).
    """
    best, way = _played(trace, Clairvoyant())
    for power in POWERS:
        for turn in TURNS:
            tried = _played(trace, Clairvoyant(turn=turn, power=power))
            if _sum(tried[0]) < _sum(best):
                best, way = tried
            elif _sum(tried[0]) > 2 * _sum(best):  # longer turns are no better
                break
    dice = Random(trace.name)  # noqa: S311 -- repeatable, not secret
    for _ in range(replays):
        if not way.episodes:
            break
        number, turns, tastes = dice.randrange(len(way.episodes)), dict(way.turns), dict(way.tastes)
        if dice.random() < 0.5:
            turns[number] = dice.choice((*TURNS, 64.0))
        else:
            tastes[number] = dice.randrange(1000)
        tried = _played(trace, Clairvoyant(turn=way.turn, power=way.power, turns=turns, tastes=tastes))
        if _sum(tried[0]) < _sum(best):
            best, way = tried
    return best


def everything_fits(trace: Trace) -> Tally:
    """The result on a machine with memory for everything."""
    roomy = evolve(trace.host, total=trace.host.total + 2 * sum(each.estimate for each in trace.host.models.values()))
    return World(evolve(trace, host=roomy), Llmsup(name="everything fits")).run()


def _played(trace: Trace, way: Clairvoyant) -> tuple[Tally, Clairvoyant]:
    return World(trace, way).run(), way


def _sum(tally: Tally) -> float:
    return sum(tally.waits) + 1e6 * (tally.refusals + tally.deaths)
