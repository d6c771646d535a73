"""Levels of pressure: entered by what lasts, left by what lasts, and never by a single look."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB, MiB
from llmsup.memory.machine.gauge import UNREADABLE, Gauge, higher
from llmsup.memory.machine.reading import Reading, Stall
from llmsup.memory.machine.signals import marks
from llmsup.units import Bytes

TOTAL, RESERVE = 64 * GiB, 5 * GiB
MARKS = marks(TOTAL, RESERVE)
PLENTY = 30 * GiB


def reading(available: float | None = PLENTY, **more: Any) -> Reading:
    size = None if available is None else Bytes(round(available))
    return Reading(total=Bytes(TOTAL), available=size, **more)


def stall(avg10: float, total: float = 0) -> Stall:
    return Stall(avg10, 0, 0, round(total * 1e6))


class Run:
    """Looks in a row; each `for` so many seconds of the same reading, every half second."""

    def __init__(self) -> None:
        self.gauge, self.now = Gauge(), 1000.0

    def see(self, seen: Reading, seconds: float = 0.0, step: float = 0.5) -> str:
        for _ in range(round(seconds / step) + 1):
            self.now += step
            self.gauge = self.gauge.look(seen, self.now, RESERVE)
        return self.gauge.pressure.level

    @property
    def shortfall(self) -> int:
        return self.gauge.pressure.shortfall


def test_marks_leave_room_for_a_full_machine() -> None:
    """What an admission leaves (half of the reserve) ends any shortage."""
    assert MARKS.very_low < MARKS.low < MARKS.enough < RESERVE / 2


@given(total=st.integers(0, 2**44), reserve=st.integers(0, 2**44))
def test_marks_are_in_order_on_every_machine(total: int, reserve: int) -> None:
    """Whatever the reserve, and also where the total isn't known."""
    found = marks(total, reserve)
    assert 0 <= found.very_low <= found.low <= found.enough
    if total:
        assert found.low <= total * 0.10


@pytest.mark.parametrize("gibibytes", [8, 16, 32, 64, 128, 512])
def test_a_machine_as_full_as_it_may_be_is_not_pressed(gibibytes: int) -> None:
    """With the reserve that "auto" has there."""
    total = gibibytes * GiB
    reserve = min(max(round(total * 0.08), 4 * GiB), 12 * GiB, total // 2)
    gauge = Gauge()
    for second in range(60):
        gauge = gauge.look(Reading(total=Bytes(total), available=Bytes(reserve // 2)), float(second), reserve)
    assert gauge.pressure.level == "normal"
    assert gauge.pressure.shortfall == 0


def test_a_warning_needs_three_seconds() -> None:
    """Less than the mark for a moment is nothing yet, but is told as something to come."""
    run = Run()
    run.see(reading())
    assert run.see(reading(MARKS.low - MiB), 2) == "normal"
    assert run.shortfall > 0
    assert run.see(reading(MARKS.low - MiB), 1.5) == "warn"
    assert "are available" in run.gauge.pressure.reason


def test_it_is_left_by_a_higher_mark_and_after_a_while() -> None:
    """Between the two marks it stays; above the second it takes 10 s."""
    run = Run()
    assert run.see(reading(MARKS.low - MiB), 5) == "warn"
    assert run.see(reading(MARKS.low + MiB), 60) == "warn"
    assert run.shortfall == MARKS.enough - MARKS.low - MiB, "what is missing until it ends"
    assert run.see(reading(MARKS.enough), 5) == "warn"
    assert run.shortfall == 0, "nobody needs to go for what is only easing"
    assert run.see(reading(MARKS.enough), 6) == "normal"


def test_critical_comes_sooner_and_falls_back_to_a_warning_first() -> None:
    """After one second; and down by one level at a time."""
    run = Run()
    assert run.see(reading(MARKS.very_low - MiB), 1) == "critical"
    assert run.see(reading(PLENTY), 4) == "critical"
    assert run.see(reading(PLENTY), 2) == "warn"
    assert run.see(reading(PLENTY), 6) == "normal"


def test_stalls_count_where_memory_is_scarce() -> None:
    """A file that is read through a full cache stalls, too."""
    run = Run()
    for second in range(20):
        assert run.see(reading(0.5 * TOTAL, some=stall(50, second)), step=1) == "normal"
    scarce = Run()
    levels = [scarce.see(reading(0.14 * TOTAL, some=stall(50, second)), step=1) for second in range(20)]
    assert levels[3] == "normal"
    assert levels[-1] == "warn"


def test_stalls_that_are_over_press_nobody() -> None:
    """The kernel's mean falls slowly; its total says that nobody waits any more."""
    run = Run()
    for second in range(10):
        run.see(reading(0.14 * TOTAL, some=stall(50, second)), step=1)
    assert run.gauge.pressure.level == "warn"
    run.see(reading(0.14 * TOTAL, some=stall(40, 9)), 5)
    assert run.shortfall == 0


def test_all_tasks_stalled_is_critical() -> None:
    """PSI's "full" line."""
    run = Run()
    for second in range(6):
        run.see(reading(0.10 * TOTAL, full=stall(30, second)), step=1)
    assert run.gauge.pressure.level == "critical"
    assert "all tasks waited" in run.gauge.pressure.reason


def test_without_stall_information_the_amount_is_enough() -> None:
    """PSI is off on many machines."""
    run = Run()
    assert run.see(reading(MARKS.low - MiB, some=None, full=None), 4) == "warn"


def test_a_mac_is_believed() -> None:
    """Little that is free and inactive is usual there: the kernel's own level says when that matters."""
    run = Run()
    assert run.see(reading(MARKS.very_low - MiB, level="normal"), 60) == "normal"
    assert run.see(reading(3 * GiB, level="warn", sources={"level": "kern.x"}), 4) == "warn"
    assert "kern.x says warn" in run.gauge.pressure.reason
    assert run.see(reading(3 * GiB, level="critical"), 1) == "critical"
    assert run.see(reading(3 * GiB, level="normal"), 6) == "warn"


def test_a_macs_compressor_and_swap_count_where_memory_is_scarce() -> None:
    """Before the kernel has a word for it; with plenty available both are housekeeping."""
    busy = {"level": "normal", "compressor_rate": 100.0 * MiB, "swap_out_rate": 500.0 * MiB}
    assert Run().see(reading(0.3 * TOTAL, **busy), 30) == "normal"
    assert Run().see(reading(0.05 * TOTAL, **busy), 4) == "critical"
    compressing = {**busy, "swap_out_rate": 0.0}
    assert Run().see(reading(0.05 * TOTAL, **compressing), 7) == "warn"


def test_nothing_known_is_no_pressure() -> None:
    """Unknown is not 0."""
    run = Run()
    run.see(reading(MARKS.low - MiB), 10)
    assert run.see(Reading(), 1) == "normal"
    assert run.gauge.pressure.reason == UNREADABLE


@pytest.mark.parametrize("jump", [3600.0, 86400.0, -3600.0])
def test_a_clock_that_jumps_is_no_lasting_sign(jump: float) -> None:
    """One bad look before a sleep and one after it are two looks, not an hour of pressure; nor is an hour of calm."""
    run = Run()
    run.see(reading())
    run.see(reading(MARKS.low - MiB))
    run.now += jump
    assert run.see(reading(MARKS.low - MiB)) == "normal"
    pressed = Run()
    assert pressed.see(reading(MARKS.low - MiB), 5) == "warn"
    pressed.see(reading(PLENTY))
    pressed.now += jump
    assert pressed.see(reading(PLENTY)) == "warn"


def test_a_machine_that_is_looked_at_rarely_comes_to_its_level() -> None:
    """One that is so pressed that a look takes ten seconds."""
    run = Run()
    for _ in range(10):
        run.see(reading(MARKS.very_low - MiB), step=10)
    assert run.gauge.pressure.level == "critical"


@given(
    looks=st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, TOTAL)),
            st.sampled_from([None, "normal", "warn", "critical"]),
            st.floats(0, 200),
        ),
        max_size=40,
    )
)
def test_what_holds_whatever_is_seen(looks: list[tuple[int | None, Any, float]]) -> None:
    """A calm look never raises a level; a shortfall is never negative; `since` never lies in the future."""
    gauge, now = Gauge(), 0.0
    for available, level, step in looks:
        now += step
        before, gauge = gauge, gauge.look(reading(available, level=level), now, RESERVE)
        pressure = gauge.pressure
        assert pressure.shortfall >= 0
        assert pressure.since <= now
        calm = (available or 0) >= MARKS.enough and level in (None, "normal")
        if calm:
            assert not higher(pressure.level, before.pressure.level)
            assert pressure.shortfall == 0
