"""How hard the machine is pressed: levels that only what lasts enters and leaves, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st
from looks import LINUX, MAC, RESERVE, held, shown, stalling, with_free

from llmsup.config.schema import GiB
from llmsup.memory.machine.gauge import CALM, GAP, UNREADABLE, Gauge, Pressure, higher
from llmsup.memory.machine.reading import Level, Reading
from llmsup.memory.machine.signals import LEAST, marks, signals
from llmsup.units import Bytes

LOW, VERY_LOW, EASING = with_free(1.4), with_free(0.5), with_free(1.7)


def after(*spells: tuple[Reading, float], step: float = 1.0, start: float = 0.0) -> Gauge:
    """A gauge after each reading was held for so many seconds, one spell right after the other."""
    gauge, now = Gauge(), start
    for reading, seconds in spells:
        gauge = shown(gauge, held(reading, seconds, now, step))
        now += seconds + step
    return gauge


def test_before_the_first_look() -> None:
    """Normal, since ever, and nothing is missing."""
    assert Gauge().pressure == Pressure("normal", float("-inf"), "", 0)


@pytest.mark.parametrize(
    ("reading", "seconds", "level"),
    [
        (LINUX, 3600, "normal"),
        (LOW, 2, "normal"),
        (LOW, 3, "warn"),
        (LOW, 600, "warn"),
        (VERY_LOW, 0, "normal"),
        (VERY_LOW, 1, "critical"),
        (evolve(MAC, level="warn"), 2, "normal"),
        (evolve(MAC, level="warn"), 3, "warn"),
        (evolve(MAC, level="critical"), 1, "critical"),
        (evolve(MAC, available=Bytes(2 * GiB), compressor_rate=2e7), 4, "normal"),
        (evolve(MAC, available=Bytes(2 * GiB), compressor_rate=2e7), 5, "warn"),
        (evolve(MAC, available=Bytes(2 * GiB), swap_out_rate=1e8), 2, "normal"),
        (evolve(MAC, available=Bytes(2 * GiB), swap_out_rate=1e8), 3, "critical"),
    ],
)
def test_a_level_is_entered_by_what_lasts(reading: Reading, seconds: float, level: Level) -> None:
    """Each sign has its own time."""
    assert after((reading, seconds)).pressure.level == level


def test_what_comes_and_goes_is_no_level() -> None:
    """A file is read, a program starts: it is over before it counts."""
    gauge = Gauge()
    for second in range(0, 300, 3):
        gauge = shown(gauge, [(second, LOW), (second + 1, LOW), (second + 2, LINUX)])
        assert gauge.pressure.level == "normal"


def test_what_is_missing_is_said_from_the_first_look() -> None:
    """So that looks can hurry; the level takes its time."""
    pressure = after((LOW, 0)).pressure
    assert (pressure.level, pressure.shortfall) == ("normal", round(1.875 * GiB) - round(1.4 * GiB))
    assert "1.4 GiB of 32.0 GiB" in pressure.reason


def test_it_falls_step_by_step() -> None:
    """Critical, after 5 s of calm warn, after 10 s of calm, counted from the end of the signs, normal."""
    gauge = after((VERY_LOW, 10))
    levels = []
    for second in range(13):
        gauge = shown(gauge, [(11.0 + second, LINUX)])
        levels.append(gauge.pressure.level)
        assert gauge.pressure.shortfall == 0
    assert levels == ["critical"] * 5 + ["warn"] * 5 + ["normal"] * 3
    assert gauge.pressure == Pressure("normal", 21.0, "", 0)


def test_it_says_that_it_is_easing() -> None:
    """A level that is only kept to be sure has no cause any more."""
    reason = after((LOW, 5), (LINUX, 2)).pressure.reason
    assert "easing" in reason
    assert "20.0 GiB of 32.0 GiB" in reason


def test_in_between_a_level_is_kept_and_something_is_missing() -> None:
    """Nothing can stay where a level is kept and nobody is unloaded for it."""
    gauge = after((LOW, 5), (EASING, 600))
    assert gauge.pressure.level == "warn"
    assert gauge.pressure.shortfall == round(1.875 * GiB) - round(1.7 * GiB)
    assert after((EASING, 600)).pressure == Pressure("normal", float("-inf"), "", 0)


def test_critical_becomes_warn_where_it_is_only_low() -> None:
    """And stays that."""
    gauge = after((VERY_LOW, 5), (LOW, 4))
    assert gauge.pressure.level == "critical"
    gauge = after((VERY_LOW, 5), (LOW, 600))
    assert (gauge.pressure.level, gauge.pressure.shortfall > 0) == ("warn", True)


def test_a_relapse_begins_the_calm_anew() -> None:
    """Nine calm seconds, a bad one, nine calm ones: still warn."""
    gauge = after((LOW, 5), (LINUX, 8), (LOW, 0), (LINUX, 8))
    assert gauge.pressure.level == "warn"


def test_since_is_when_the_level_came() -> None:
    """And not when it was last seen."""
    assert after((LOW, 50)).pressure.since == 3.0
    gauge = after((VERY_LOW, 5), (LINUX, 30))
    assert gauge.pressure.since == 16.0


def test_stalls_are_over_when_they_are_over() -> None:
    """The kernel's mean over 10 s is high for a quarter of a minute after the end; nothing is missing by then."""
    gauge, total = Gauge(), 0
    for second in range(20):
        total += 600_000
        gauge = shown(gauge, [(second, stalling(min(6.0 * second, 55.0), total))])
    assert gauge.pressure.level == "critical"
    assert gauge.pressure.shortfall == LEAST
    for second in range(20, 24):
        gauge = shown(gauge, [(second, stalling(45.0, total))])
    assert gauge.pressure.shortfall == 0
    assert gauge.pressure.level == "critical"  # the mean has not fallen below its lower mark yet


def test_a_machine_that_is_as_full_as_it_may_be() -> None:
    """Half of the reserve is left, some of it is compressed, a little is swapped: not under pressure, ever."""
    full = with_free(RESERVE / 2 / GiB)
    assert after((full, 3600)).pressure.level == "normal"
    assert after((full, 3600)).pressure.shortfall == 0
    mac = evolve(MAC, available=Bytes(RESERVE // 2), compressor_rate=1e6, swap_out_rate=1e6)
    assert after((mac, 3600)).pressure.shortfall == 0


def test_a_load_that_was_let_in_does_not_bring_the_pressure_back() -> None:
    """It leaves half of the reserve, and that also ends a level that is there."""
    gauge = after((LOW, 5), (with_free(RESERVE / 2 / GiB), 30))
    assert gauge.pressure.level == "normal"


def test_nothing_can_be_read() -> None:
    """That is no pressure, and what was before has come to an end."""
    gauge = after((VERY_LOW, 10)).unread(20.0)
    assert gauge.pressure == Pressure("normal", 20.0, UNREADABLE, 0)
    assert gauge.look(VERY_LOW, 21.0, RESERVE).pressure.level == "normal"
    assert after((VERY_LOW, 10), (Reading(), 0)).pressure.reason == UNREADABLE


def test_without_stall_information() -> None:
    """Available memory alone is enough."""
    assert after((evolve(LOW, some=None, full=None), 3)).pressure.level == "warn"


def test_stall_information_that_vanishes() -> None:
    """Its control group is gone; what can't be seen any more keeps no level."""
    gauge, total = Gauge(), 0
    for second in range(20):
        total += 900_000
        gauge = shown(gauge, [(second, stalling(80.0, total))])
    assert gauge.pressure.level == "critical"
    gauge = shown(gauge, held(with_free(3.0, some=None, full=None), 12, start=20))
    assert gauge.pressure.level == "normal"


def test_a_bad_look_after_a_sleep() -> None:
    """The lid was closed for eight hours, and everything is being paged in."""
    gauge = after((LINUX, 60))
    gauge = shown(gauge, [(30_000.0, VERY_LOW)])
    assert (gauge.pressure.level, gauge.pressure.shortfall > 0) == ("normal", True)
    assert shown(gauge, [(30_001.0, LINUX)]).pressure.level == "normal"


def test_a_sleep_amid_the_signs() -> None:
    """They have not lasted for those eight hours."""
    gauge = after((LOW, 2))
    assert shown(gauge, [(30_000.0, LOW)]).pressure.level == "normal"


def test_a_level_survives_a_sleep_and_then_falls_as_usual() -> None:
    """One good look doesn't end it at once."""
    gauge = shown(after((VERY_LOW, 5)), [(30_000.0, LINUX)])
    assert gauge.pressure.level == "critical"
    assert shown(gauge, held(LINUX, 12, start=30_001)).pressure.level == "normal"


def test_a_machine_that_looks_only_now_and_then() -> None:
    """So pressed that looks come every 20 s: it still gets to its level, and out of it again."""
    gauge = shown(Gauge(), held(VERY_LOW, 100, step=20))
    assert gauge.pressure.level == "critical"
    assert shown(gauge, held(LINUX, 1000, start=200, step=20)).pressure.level == "normal"


def test_an_interval_that_is_long_by_intent() -> None:
    """With looks every 30 s two of them in a row are 30 s, and no gap."""
    gauge = Gauge().look(LOW, 0.0, RESERVE, every=30.0).look(LOW, 30.0, RESERVE, every=30.0)
    assert gauge.pressure.level == "warn"
    gauge = gauge.look(LINUX, 60.0, RESERVE, every=30.0).look(LINUX, 90.0, RESERVE, every=30.0)
    assert gauge.pressure.level == "normal"


def test_a_clock_that_goes_back() -> None:
    """Nothing is negative, nothing hangs; `since` is never in the future."""
    gauge = after((LOW, 10), start=1000.0)
    gauge = shown(gauge, [(10.0, LOW)])
    assert gauge.pressure.level == "warn"
    assert gauge.pressure.since == 10.0
    assert shown(gauge, held(LINUX, 12, start=11)).pressure.level == "normal"


def test_two_looks_at_one_moment_are_one() -> None:
    """However often somebody looks, a second is a second."""
    gauge = shown(Gauge(), [(5.0, VERY_LOW)] * 100)
    assert gauge.pressure.level == "normal"


def test_which_level_is_higher() -> None:
    """Critical, warn, normal; none is higher than itself."""
    assert higher("critical", "warn")
    assert higher("warn", "normal")
    assert not higher("normal", "normal")
    assert not higher("warn", "critical")


LOOK = st.tuples(
    st.sampled_from((0.0, 0.2, 1.0, 1.0, 2.0, 6.0, 3600.0, -50.0)),
    st.sampled_from(
        (
            *(LINUX, LOW, VERY_LOW, EASING, Reading(), Reading(total=Bytes(GiB)), Reading(level="critical")),
            *(MAC, evolve(MAC, level="warn"), evolve(MAC, level="critical"), evolve(MAC, available=Bytes(GiB))),
            evolve(MAC, available=Bytes(GiB), compressor_rate=1e9, swap_out_rate=1e9),
            *(stalling(avg10, total) for avg10 in (1.0, 5.0, 60.0) for total in (0, 10**6, 10**8)),
        )
    ),
)


@given(st.lists(LOOK, max_size=40))
@example([(0.0, LINUX), (0.2, EASING), (0.0, LOW), (0.2, LOW)])  # two looks at once in a fall: the trend is the signal
def test_what_holds_of_any_looks(looks: Sequence[tuple[float, Reading]]) -> None:
    """Something is missing exactly while there are signs, which the level's lower marks prolong; the level rises only
    by signs that were there in the look before too; and it never falls from critical to normal but by step.
    """
    gauge, now, before = Gauge(), 0.0, Reading()
    for step, reading in looks:
        now += step
        was, gauge = gauge, gauge.look(reading, now, RESERVE)
        level, shortfall = gauge.pressure.level, gauge.pressure.shortfall
        rate, falls = (gauge.fall.rate, gauge.fall.falls) if gauge.fall else (0.0, False)
        seen = signals(reading, marks(reading.total, RESERVE), gauge.some, gauge.full, rate, falls=falls)
        pressing = any(each.there for each in seen)
        if level == "normal":
            assert (shortfall > 0) == pressing
        else:
            assert (shortfall > 0) == any(each.moves and not each.eased for each in seen)
            assert gauge.pressure.reason
        assert shortfall >= 0
        if higher(level, was.pressure.level):
            assert any(each.there and each.level == level for each in seen)
            assert any(was.lasted)
            assert before not in (LINUX, MAC, Reading())
        if was.pressure.level == "critical" and seen:
            assert level in ("critical", "warn")
        assert gauge.pressure.since <= now
        before = reading


@pytest.mark.slow
@given(
    st.floats(GAP + 1.001, 1e9), st.sampled_from((LOW, VERY_LOW, evolve(MAC, level="critical"), stalling(90.0, 10**9)))
)
def test_no_level_comes_of_a_single_look_after_a_sleep(asleep: float, bad: Reading) -> None:
    """However long it was, and however bad the look."""
    gauge = shown(after((LINUX, 20)), [(21.0 + asleep, bad)])
    assert gauge.pressure.level == "normal"
    assert gauge.pressure.shortfall > 0 or bad is not LOW


@given(st.lists(LOOK, max_size=20))
def test_calm_ends_everything(looks: Sequence[tuple[float, Reading]]) -> None:
    """Whatever was, after a little more than 10 s of a good machine all is normal, and nothing is missing."""
    gauge, now = Gauge(), 0.0
    for step, reading in looks:
        now += step
        gauge = gauge.look(reading, now, RESERVE)
    gauge = shown(gauge, held(LINUX, CALM["normal"] + 1, start=now + 1))
    assert gauge.pressure.level == "normal"
    assert gauge.pressure.shortfall == 0
