"""What others may know of the memory: the machine, who has how much of it, who waits for what.

It does not decide anything: `Governor` does.
"""

from __future__ import annotations

import trio
from attrs import evolve

from ..config.schema import Memory
from ..memory.costs import Cost, Source
from ..memory.decision import Decision
from ..memory.pressure import Pressure
from ..memory.readings.reading import Reading
from ..memory.relief import stays_under_pressure
from ..memory.snapshot import RULES, Machine, Resident, Rules
from ..memory.standing import stays
from ..memory.worth import most_worth_first
from ..process.watched import Watched
from ..units import Seconds
from .model import Model
from .reservation import Ask
from .reserved import Reserved
from .returning import Watch


class Overview(Watched):
    """The memory as it is now.

    Attributes:
        settings: [memory] of the config in force.
        left: Why nobody goes, though memory is short; None: somebody does, or it isn't.
    """

    def __init__(self, settings: Memory, watch: Watch) -> None:
        super().__init__()
        self.settings = settings
        self.left: Decision | None = None
        self._watch = watch
        self._reserved = Reserved()
        self._asks: dict[Model, Ask] = {}

    @property
    def reading(self) -> Reading | None:
        """The last look at the machine, or None."""
        return self._watch.reading

    @property
    def pressure(self) -> Pressure:
        """How hard the machine is pressed."""
        return self._watch.pressure

    @property
    def problem(self) -> str:
        """Why the machine can't be read just now, or ""."""
        return self._watch.problem

    @property
    def asks(self) -> list[Ask]:
        """Those that wait for memory."""
        return [ask for ask in self._asks.values() if not ask.granted and not ask.refusal]

    @property
    def rules(self) -> Rules:
        """The policy's constants, with what the config says."""
        busy = self.settings.evict_busy == "critical"
        return evolve(RULES, min_residency=self.settings.min_residency, evict_busy=busy)

    def machine(self) -> Machine:
        """The machine now."""
        return self._watch.machine(trio.current_time())

    def residents(self) -> list[Resident]:
        """Who has memory, the most worth keeping first."""
        now = trio.current_time()
        return most_worth_first(self._reserved.residents(now, self.settings.min_residency), now, self.rules)

    def by_worth(self, models: list[Model]) -> list[Model]:
        """Some models, the most worth keeping first; those that wait to be let in come before all that are in."""
        place = {resident.name: number for number, resident in enumerate(self.residents())}
        return sorted(models, key=lambda model: place.get(model.spec.name, -1))

    def footprint(self, model: Model) -> Cost | None:
        """What a loaded model counts for, and how that is known."""
        reservation = self._reserved.of(model)
        return None if reservation is None else reservation.known

    def source(self, name: str) -> Source | None:
        """How it is known what a loaded model counts for."""
        return next((each.known.source for each in self._reserved.named((name,))), None)

    def stays(self, resident: Resident) -> str:
        """Why it would not be unloaded now if its memory were wanted, or ""."""
        short = self.pressure.level != "normal"
        return (stays_under_pressure if short else stays)(resident, self.machine(), self.rules)

    def residency(self, model: Model) -> Seconds:
        """How long it may stay at least, by now, in seconds."""
        return Seconds(model.residency.seconds(trio.current_time(), self.settings.min_residency))
