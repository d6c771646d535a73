"""Which way a model is loaded, by what is known of its earlier loads; and what its next load should take."""

from __future__ import annotations

from typing import Any

import pytest

from llmsup.config.load_modes import LOAD_MODES, LoadMode
from llmsup.config.schema import GiB
from llmsup.memory.cost.load_mode import Choice, Load, Loads, Measured, choose

SIZE = 20 * GiB
BUFFERED: tuple[LoadMode, ...] = ("mmap", "read")


def past(*loads: tuple[str, float, float], tried: tuple[str, ...] = ()) -> Loads:
    """Loads of 20 GiB in this order: the mode, the seconds, the share that was cached."""
    known = Loads(tried=tried)
    for mode, seconds, cached in loads:
        known = known.seen(mode, Load(SIZE, seconds, cached))
    return known


SLOW_MAP, QUICK_READ = ("mmap", 29.0, 0.0), ("read", 3.3, 0.0)  # llama.cpp 9244, on an M3 Max

TABLE: dict[str, tuple[Loads, dict[str, Any], str, bool]] = {
    "the first load is the engine's own way": (past(), {}, "", False),
    "cold and slow: the other way is tried": (past(SLOW_MAP), {}, "read", True),
    "the faster stays": (past(SLOW_MAP, QUICK_READ), {}, "read", False),
    "also if it is the one that was there first": (past(("mmap", 5.9, 0), ("read", 29, 0)), {}, "mmap", False),
    "if both are slow, the third is tried": (past(SLOW_MAP, ("read", 20, 0)), {"able": LOAD_MODES}, "direct", True),
    "and then no more": (past(SLOW_MAP, ("read", 20, 0), ("direct", 25, 0)), {"able": LOAD_MODES}, "read", False),
    "where the build has the third": (past(SLOW_MAP, ("read", 20, 0)), {}, "read", False),
    "cold, but as fast as disks are": (past(("mmap", 4.0, 0)), {"able": LOAD_MODES}, "mmap", False),
    "a quick load is not worth a try": (Loads().seen("mmap", Load(GiB, 1.5, 0)), {}, "mmap", False),
    "a warm file is no time to try": (past(SLOW_MAP), {"cached": 1.0}, "mmap", False),
    "nor is one that is half there": (past(SLOW_MAP), {"cached": 0.5}, "mmap", False),
    "a warm load says nothing of the disk": (past(("mmap", 29, 1)), {}, "mmap", False),
    "what is in between says nothing at all": (past(("mmap", 29, 0.5)), {}, "", False),
    "a try that was not survived is not repeated": (past(SLOW_MAP, tried=("read",)), {}, "mmap", False),
    "but another is": (past(SLOW_MAP, tried=("read",)), {"able": LOAD_MODES}, "direct", True),
    "a little faster is not faster": (past(("mmap", 20, 0), ("read", 19, 0)), {}, "mmap", False),
    "no memory for weights of its own: no try": (past(SLOW_MAP), {"room": False}, "mmap", False),
    "nor what is known to be faster": (past(SLOW_MAP, QUICK_READ), {"room": False}, "mmap", False),
    "who can't see the page cache can't compare": (past(SLOW_MAP), {"cached": None}, "", False),
    "nothing to choose from": (past(SLOW_MAP), {"able": ()}, "", False),
    "warm, what is past the cache loses": (
        past(SLOW_MAP, ("read", 20, 0), ("direct", 4, 0), ("mmap", 1, 1)),
        {"able": LOAD_MODES, "cached": 1.0},
        "mmap",
        False,
    ),
    "cold, it wins": (
        past(SLOW_MAP, ("read", 20, 0), ("direct", 4, 0), ("mmap", 1, 1)),
        {"able": LOAD_MODES},
        "direct",
        False,
    ),
    "a build whose default is to read": (past(("read", 20, 0)), {}, "mmap", True),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_choice(case: str) -> None:
    loads, given, mode, tries = TABLE[case]
    choice = choose(loads, **{"able": BUFFERED, "cached": 0.0, "room": True, **given})
    assert (choice.mode, choice.tries) == (mode, tries), choice
    assert bool(choice.why) == (given.get("able") != ())


def test_the_reasons_are_for_people() -> None:
    assert choose(past(SLOW_MAP), BUFFERED, cached=0.0, room=True) == Choice(
        "read", "its last cold load took 29 s at 0.74 GB/s (mmap): this is tried once", tries=True
    )
    kept = choose(past(SLOW_MAP, QUICK_READ), BUFFERED, cached=0.0, room=True)
    assert kept.why == "it should take 3.3 s this way (mmap 29 s)"


@pytest.mark.parametrize(
    ("loads", "mode", "cached", "expected"),
    [
        (past(("mmap", 20, 0), ("mmap", 2, 1)), "mmap", 0.0, 20),
        (past(("mmap", 20, 0), ("mmap", 2, 1)), "mmap", 1.0, 2),
        (past(("mmap", 20, 0), ("mmap", 2, 1)), "mmap", 0.5, 11),
        (past(("mmap", 20, 0)), "mmap", 1.0, 5),  # 4 GiB a second is assumed of the page cache
        (past(("mmap", 3, 0)), "mmap", 1.0, 3),  # unless the disk is faster than that
        (past(("direct", 8, 0)), "direct", 1.0, 8),  # which goes past the page cache
        (past(("mmap", 2, 1)), "mmap", 0.0, 20),  # 1 GiB a second is assumed of the disk
        (past(("mmap", 2, 1), ("read", 9, 0)), "mmap", 0.0, 9),  # unless another way has shown what it can
        (past(), "mmap", 0.0, None),
        (past(("read", 2, 0)), "mmap", 0.0, None),
        (past(("mmap", 2, 0.5)), "mmap", 0.5, None),
    ],
)
def test_the_next_load_takes_as_long_as_what_is_missing(
    loads: Loads, mode: str, cached: float, expected: float | None
) -> None:
    assert loads.expected(mode, cached) == (None if expected is None else pytest.approx(expected))


def test_a_load_as_people_read_it() -> None:
    told = "0.73 GB/s (mmap, 4% of its file was in the page cache)"
    assert str(Measured(Load(29_200_000_000, 40.0, 0.04), "mmap")) == told
    assert str(Measured(Load(64_000_000_000, 10.0), "read")) == "6.4 GB/s (read)"
    assert str(Measured(Load(130_000_000_000, 10.0))) == "13 GB/s"
