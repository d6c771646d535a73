"""The signs of pressure in one reading, by what the reading has."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from looks import LINUX, MAC, RESERVE, stalling, with_free

from llmsup.config.schema import GiB
from llmsup.memory.machine.reading import Reading, Stall
from llmsup.memory.machine.signals import LEAST, Signal, marks, say_available, signals
from llmsup.memory.machine.trends import RecentStall
from llmsup.units import Bytes

MiB = 1024**2
SIZES = st.none() | st.integers(0, 2**42)
STALLS = st.none() | st.builds(Stall, *[st.floats(0, 100)] * 3, st.integers(0, 2**50))
RECENT = st.none() | st.builds(RecentStall, st.floats(0, 100), st.integers(0, 2**50))
READINGS = st.builds(
    Reading,
    total=SIZES,
    available=SIZES,
    level=st.none() | st.sampled_from(("normal", "warn", "critical")),
    some=STALLS,
    full=STALLS,
    swap_out_rate=st.none() | st.floats(0, 1e12),
    compressor_rate=st.none() | st.floats(-1e12, 1e12),
)


def found(reading: Reading, some: float | None = None, full: float | None = None) -> dict[str, Signal]:
    """The signs by name; `some` and `full` are the shares of just now."""
    now_some, now_full = (None if share is None else RecentStall(share, 1) for share in (some, full))
    seen = signals(reading, marks(reading.total, RESERVE), now_some, now_full)
    assert len({each.name for each in seen}) == len(seen)
    return {each.name: each for each in seen}


AMOUNTS = {"low", "very low", "falling", "gone"}
"""The signs in what is available, without any other reading."""


def there(reading: Reading, some: float | None = None, full: float | None = None) -> set[str]:
    return {each.name for each in found(reading, some, full).values() if each.there}


def test_nothing_is_known() -> None:
    """No sign at all, there or not."""
    assert found(Reading()) == {}
    assert found(Reading(total=Bytes(32 * GiB))) == {}


@pytest.mark.parametrize(
    ("gib", "names"),
    [
        (20.0, set()),
        (1.5, set()),
        (1.4, {"low"}),
        (0.75, {"low"}),
        (0.7, {"low", "very low"}),
        (0, {"low", "very low"}),
    ],
)
def test_little_memory(gib: float, names: set[str]) -> None:
    """Alone enough, where the system has no word for its state; each mark is left at a quarter more."""
    assert there(with_free(gib)) == names


def test_what_is_entered_is_left_later() -> None:
    """Between the two marks it is neither there nor gone."""
    between = found(with_free(1.7))["low"]
    assert (between.there, between.eased) == (False, False)
    assert found(with_free(1.9))["low"].eased
    between = found(with_free(0.8))["very low"]
    assert (between.there, between.eased) == (False, False)
    assert found(with_free(0.95))["very low"].eased


def test_what_is_missing_ends_it() -> None:
    """With so much more available every sign of little memory is gone."""
    low = found(with_free(0.5))["low"]
    assert found(with_free(0.5 + low.missing / GiB))["low"].eased
    assert "512 MiB of 32.0 GiB" in low.reason


def test_a_system_that_has_a_word_for_it_is_believed() -> None:
    """A Mac makes use of all of its memory: little of it available is no sign."""
    full = evolve(MAC, available=Bytes(100 * MiB))
    assert there(full) == set()
    assert there(evolve(full, level="warn")) == {"said warn"}
    assert there(evolve(full, level="critical")) == {"said warn", "said critical"}
    said = found(evolve(full, level="critical"))["said critical"]
    for fact in ("kern.memorystatus_vm_pressure_level", "critical", "100 MiB of 64.0 GiB"):
        assert fact in said.reason


def test_a_level_alone() -> None:
    """A probe may say no more than that; how much is missing nobody can tell, so it is what ends a small shortage."""
    seen = found(Reading(level="warn"))
    assert seen["said warn"].there
    assert seen["said warn"].missing == marks(None, RESERVE).low
    assert "warn" in seen["said warn"].reason
    assert "available" not in seen["said warn"].reason, "that is unknown"
    enough = found(evolve(MAC, level="warn"))["said warn"]
    assert enough.missing == LEAST


@pytest.mark.parametrize(
    ("avg10", "share", "gib", "names"),
    [
        (40, 40, 3.0, {"stalled", "all stalled"}),
        (40, 40, 6.0, set()),  # plenty: it is files that they wait for
        (40, 3, 3.0, {"stalled", "all stalled"}),
        (40, 1, 3.0, set()),  # it is over, the mean is only slow to fall
        (9, 40, 3.0, set()),  # it has just begun
    ],
)
def test_stalls(avg10: float, share: float, gib: float, names: set[str]) -> None:
    """They count where memory is scarce as well, and while they last."""
    assert there(stalling(avg10, 1, gib), share, share) == names


def test_stalls_ease() -> None:
    """When the mean is nearly nothing, or there is plenty."""
    assert not found(stalling(5, 1, 3.0), 5, 5)["stalled"].eased
    assert found(stalling(1.9, 1, 3.0), 5, 5)["stalled"].eased
    assert found(stalling(50, 1, 6.1), 50, 50)["stalled"].eased
    assert "tasks waited for memory in 50 % of the last 10 s" in found(stalling(50, 1, 3.0), 50, 50)["stalled"].reason


def test_stalls_without_their_reading() -> None:
    """PSI is not compiled in, or there is no amount to compare with."""
    assert set(found(evolve(LINUX, some=None, full=None))) == AMOUNTS
    assert set(found(evolve(stalling(90, 1), available=None), 90, 90)) == set()
    assert set(found(evolve(stalling(90, 1), total=None), 90, 90)) == AMOUNTS


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"compressor_rate": 50.0 * MiB}, {"compressing"}),
        ({"compressor_rate": 50.0 * MiB, "available": Bytes(6 * GiB)}, set()),  # enough is available
        ({"compressor_rate": 1.0 * MiB}, set()),
        ({"compressor_rate": -50.0 * MiB, "swap_out_rate": 1e9}, {"swapping"}),
        ({"swap_out_rate": 1e9, "available": Bytes(6 * GiB)}, set()),  # it swaps out what is idle
        ({"swap_out_rate": 10.0 * MiB}, set()),
        ({"compressor_rate": None, "swap_out_rate": 1e9}, set()),  # no compressor: not a Mac
    ],
)
def test_the_compressor_and_swap_of_a_mac(given: dict[str, Any], names: set[str]) -> None:
    """Only while little is available; 3 of 64 GiB here."""
    assert there(evolve(MAC, **{"available": Bytes(3 * GiB), **given})) == names


def test_a_mac_eases() -> None:
    """When the compressor shrinks and little is swapped out, or when enough is available again, whatever they do."""
    busy: dict[str, Any] = {"compressor_rate": 5e8, "swap_out_rate": 5e8}
    little = evolve(MAC, available=Bytes(3 * GiB), **busy)
    calm = evolve(little, compressor_rate=0.0, swap_out_rate=15.0 * MiB)
    plenty = evolve(MAC, available=Bytes(5 * GiB), **busy)
    for name in ("compressing", "swapping"):
        assert [found(each)[name].eased for each in (little, calm, plenty)] == [False, True, True]


def test_swapping_on_a_system_without_a_compressor() -> None:
    """It shows in the stalls; the rate of swapping alone says nothing there."""
    assert set(found(evolve(with_free(1.0), swap_out_rate=1e10))) == AMOUNTS


def test_what_is_said_of_the_available() -> None:
    """As much as is known of it."""
    assert say_available(Reading()) == ""
    assert say_available(Reading(available=Bytes(GiB))) == "1.0 GiB are available"
    assert say_available(with_free(1)) == "1.0 GiB of 32.0 GiB are available"


@given(READINGS, RECENT, RECENT, st.integers(0, 2**40))
def test_what_holds_of_every_sign(
    reading: Reading, some: RecentStall | None, full: RecentStall | None, reserve: int
) -> None:
    """What is there is not gone, and something is missing; a sign that doesn't move is not there."""
    for sign in signals(reading, marks(reading.total, reserve), some, full):
        assert not (sign.there and sign.eased)
        assert sign.moves or not sign.there
        assert sign.missing > 0
        assert sign.reason
        assert sign.level != "normal"


@given(READINGS, RECENT, RECENT)
def test_there_are_signs_as_soon_as_anything_is_known(
    reading: Reading, some: RecentStall | None, full: RecentStall | None
) -> None:
    """Whoever finds none has read nothing."""
    nothing = reading.available is None and reading.level is None
    assert (not signals(reading, marks(reading.total, RESERVE), some, full)) == nothing


@given(st.integers(0, 2**40), st.integers(1, 2**40))
def test_more_memory_is_never_worse(available: int, more: int) -> None:
    """What is there with more is there with less, too."""
    less, much = (evolve(LINUX, total=Bytes(2**41), available=Bytes(size)) for size in (available, available + more))
    assert there(much) <= there(less)
