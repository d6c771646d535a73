"""How fast memory falls, and that a fast fall is acted on before nothing is left."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.schema import GiB, MiB
from llmsup.memory.machine.gauge import Gauge
from llmsup.memory.machine.reading import Reading
from llmsup.memory.machine.trends import Trend, trend
from llmsup.units import Bytes

TOTAL, RESERVE = Bytes(64 * GiB), 4 * GiB
LOW = RESERVE * 3 // 8


def look(gauge: Gauge, available: int, now: float) -> Gauge:
    return gauge.look(Reading(total=TOTAL, available=Bytes(available)), now, RESERVE)


def test_a_steady_fall_is_told_within_seconds() -> None:
    """After 3 s the mean is within 5 % of it."""
    seen = trend(1000, None, None)
    for second in range(1, 4):
        seen = trend(1000 - 100 * second, seen, 1.0)
    assert seen is not None
    assert seen.rate == pytest.approx(100, rel=0.06)


def test_what_rises_does_not_fall() -> None:
    """The rate ends when the fall does; it is never negative."""
    seen = trend(2000, Trend(100.0, 1000), 5.0)
    assert seen is not None
    assert 0 <= seen.rate < 1


@pytest.mark.parametrize("seconds", [None, -5.0])
def test_a_clock_that_went_back_is_a_beginning(seconds: float | None) -> None:
    """No rate follows from it."""
    assert trend(10, Trend(100.0, 10**9), seconds) == Trend(0.0, 10)


def test_two_looks_at_once_say_nothing_new() -> None:
    """No division by nothing."""
    before = Trend(100.0, 1000)
    assert trend(10, before, 0.0) == before


def test_unknown_is_unknown() -> None:
    """And a fall begins anew after it."""
    assert trend(None, Trend(100.0, 1000), 1.0) is None


@given(st.lists(st.tuples(st.integers(0, 2**40), st.floats(0, 1000)), max_size=20))
def test_it_is_never_faster_than_the_fastest_step(looks: list[tuple[int, float]]) -> None:
    """A mean is within what it is the mean of."""
    seen, fastest, last = None, 0.0, None
    for available, seconds in looks:
        if last is not None and seconds:
            fastest = max(fastest, (last - available) / seconds)
        seen = trend(available, seen, seconds)
        last = seen.available if seen else None
        assert seen is not None
        assert 0 <= seen.rate <= fastest * (1 + 1e-9)


def test_a_fast_fall_below_the_mark_is_critical_at_once() -> None:
    """One second later, and not only when half of what is left is gone."""
    gauge, now, available = Gauge(), 0.0, LOW + GiB
    while available > LOW - GiB * 6 // 10:
        gauge = look(gauge, available, now)
        assert gauge.pressure.level == "normal" or available < LOW
        now, available = now + 0.25, available - 100 * MiB  # 400 MiB a second: gone in less than 4
    assert gauge.pressure.level == "critical"
    assert "falls by" in gauge.pressure.reason


def test_a_small_group_is_gone_sooner() -> None:
    """1.2 GiB, of which 64 MiB are to stay free, and somebody takes 80 MiB a second: that is acted on while there is
    anything left at all.
    """
    gauge, now, available = Gauge(), 0.0, 200 * MiB
    while gauge.pressure.level != "critical":
        assert available > 0
        reading = Reading(total=Bytes(1200 * MiB), available=Bytes(available))
        gauge = gauge.look(reading, now, 64 * MiB)
        now, available = now + 0.1, available - 8 * MiB
    assert 0.1 < gauge.gone_in < 1


def test_how_long_it_lasts() -> None:
    """Nothing that falls is never gone."""
    assert Gauge().gone_in == float("inf")
    assert look(look(Gauge(), 4 * GiB, 0.0), 3 * GiB, 1.0).gone_in == pytest.approx(3 / (1 - math.exp(-1)))


def test_a_slow_fall_below_the_mark_has_time() -> None:
    """It is a warning after its 3 s, no more."""
    gauge, now, available = Gauge(), 0.0, LOW + 10 * MiB
    for _ in range(60):
        gauge = look(gauge, available, now)
        assert gauge.pressure.level != "critical"
        now, available = now + 0.25, available - 2 * MiB
    assert gauge.pressure.level == "warn"


def test_one_large_bite_is_no_fall() -> None:
    """What came to rest has time, however fast it came there."""
    gauge = look(Gauge(), 40 * GiB, 0.0)
    for step in range(1, 12):
        gauge = look(gauge, LOW - 10 * MiB, step * 0.25)
        assert gauge.pressure.level == "normal"


def test_a_fast_fall_above_the_mark_is_nothing() -> None:
    """A model that loads takes gigabytes a second; it was let in because they are there."""
    gauge = Gauge()
    for step in range(10):
        gauge = look(gauge, 60 * GiB - step * 5 * GiB, step * 1.0)
    assert gauge.pressure.level == "normal"
    assert gauge.pressure.shortfall == 0
