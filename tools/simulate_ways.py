"""The policies that are compared: llmsup's, and those of other programs, after their source code.

None of them knows the future of the trace. All use the same costs, the same `queue_timeout`, and no ttl.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import Factory, define, evolve, field

from llmsup.memory.amounts import HOST, Amounts
from llmsup.memory.cost.cost import by_pool
from llmsup.memory.policy.admission import admit_all
from llmsup.memory.policy.decision import Decision
from llmsup.memory.policy.inputs import RULES, LoadedModel, Machine, Need, Rules, host_pools
from llmsup.memory.policy.pressure import relieve
from llmsup.memory.policy.rivals import Rivals
from tools.simulate_engine import Engine
from tools.simulate_world import Policy, World


@define
class Llmsup:
    """The policy of llmsup.memory, on snapshots of the world.

    Attributes:
        knows: It knows what computing lost prompts costs. The product doesn't.
    """

    rules: Rules = RULES
    name: str = "llmsup"
    reserves: bool = True
    knows: bool = False
    rivals: Rivals = Factory(Rivals)
    paused: dict[str, frozenset[str]] = Factory(dict)

    def admit(self, world: World) -> Sequence[Decision]:
        needs = []
        for since, name in world.waiting():
            model = world.host.models[name]
            cost, load = world.past[name].cost, world.expected(model)
            needs.append(
                Need(name, by_pool(cost), model.priority, since, load, paused=self.paused.get(name, frozenset()))
            )
        loaded_models = self.loaded_models(world)
        self.rivals = self.rivals.seen(needs, loaded_models, world.now)
        loaded_models = [evolve(each, rivals=self.rivals.of(each.name)) for each in loaded_models]
        decisions = admit_all(needs, machine(world), loaded_models, rules=self.rules)
        self.paused = {each.model: frozenset(each.paused) for each in decisions}
        return decisions

    def relieve(self, world: World) -> Decision:
        shortfall = Amounts({HOST: max(world.host.reserve // 2 - world.available, 0)})
        return relieve(machine(world), self.loaded_models(world), world.relief, shortfall=shortfall, rules=self.rules)

    def loaded_models(self, world: World) -> list[LoadedModel]:
        loaded_models = []
        for name, engine in world.engines.items():
            past = world.past[name]
            loaded = LoadedModel(
                name,
                cost=by_pool(max(engine.reserved, engine.taken)),
                freeable=by_pool(engine.taken),
                priority=engine.model.priority,
                pinned=engine.model.pinned,
                in_flight=engine.in_flight,
                loading=engine.state in ("waiting", "loading"),
                leaving=engine.state == "leaving",
                first_served=engine.first_served,
                last_used=engine.last_used,
                rate=past.rate.per_second(world.now),
                reload_seconds=world.price(engine.model) if self.knows else world.expected(engine.model),
                refaults=past.refaults.by(world.now, world.expected(engine.model)).count,
                waiting=sum(world.serves(name, since) for since, _ in world.queues.get(name, ())),
                last_asked=past.last_asked,
                ready_since=engine.ready_since,
                wanted_since=engine.wanted_since,
            )
            loaded_models.append(loaded)
        return loaded_models


def machine(world: World) -> Machine:
    """The world as a snapshot."""
    host = world.host
    return Machine(host_pools(host.ceiling, host.reserve, world.available), world.level, world.now)


@define
class Lru:
    """Evict the least recently used idle models, one after the other, until the next model fits.

    As in Ollama, llama-swap and llama-server's router: a busy model is waited for, requests for a loaded model
    overtake the queue, and the queue is one, first come, first served.

    Attributes:
        most: How many may be loaded together; None: as many as fit in memory.
        fair: No overtaking: the least recently used busy model gets no more requests while the queue waits for it.
            (None of them does that; without it a steady stream to one model starves another.)
    """

    name: str
    most: int | None = None
    fair: bool = False
    reserves: bool = field(default=False, init=False)

    def admit(self, world: World) -> Sequence[Decision]:
        decisions: list[Decision] = []
        for _, name in world.waiting():
            decision = self._one(world, name, [each.model for each in decisions])
            decisions.append(decision)
            if decision.kind in ("wait", "evict"):
                break
        return decisions

    def relieve(self, world: World) -> None:
        """Does nothing: none of them checks the machine again once a model is loaded."""

    def _one(self, world: World, name: str, before: Sequence[str]) -> Decision:
        cost = world.past[name].cost
        if self.most is None and cost > world.host.ceiling:
            return Decision("refuse", "", name)
        there = list(world.engines.values())
        if self._fits(world, cost, there, before):
            return Decision("admit", "", name)
        remain = [each for each in there if each.state != "leaving"]
        idle = [each for each in remain if each.state == "ready" and not each.in_flight and not each.model.pinned]
        if self._fits(world, cost, remain, before) or not idle:
            busy = [each for each in remain if each.state == "ready" and not each.model.pinned]
            paused = min(busy, key=lambda each: each.last_used, default=None) if self.fair and not idle else None
            return Decision("wait", "", name, paused=(paused.model.name,) if paused else ())
        oldest = min(idle, key=lambda each: each.last_used)
        return Decision("evict", "", name, victims=(oldest.model.name,))

    def _fits(self, world: World, cost: int, engines: Sequence[Engine], before: Sequence[str]) -> bool:
        if self.most is not None:
            return len(engines) + len(before) < self.most
        taken = sum(max(each.reserved, each.taken) for each in engines) + sum(world.past[each].cost for each in before)
        return taken + cost <= world.host.ceiling


def ways() -> tuple[Policy, ...]:
    """All policies, llmsup's first."""
    return (
        Llmsup(),
        Lru("LRU by bytes"),
        Lru("LRU by bytes, fair", fair=True),
        Lru("LRU by count (4)", 4),
        Lru("one at a time", 1),
    )
