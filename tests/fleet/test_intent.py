"""What is wanted of a model: each wish makes a new one of the last."""

from __future__ import annotations

import pytest

from llmsup.fleet.model.intent import Intent, StopRequest
from llmsup.fleet.model.states import Cause

CHANGED = StopRequest("its settings changed", Cause.CHANGED, patient=True)
NOTHING = Intent()


@pytest.mark.parametrize(
    ("before", "no_eviction", "kept"),
    [
        (NOTHING, True, True),
        (NOTHING, False, False),
        (Intent.of_new(preload=True), True, True),
        (Intent.of_new(preload=True), False, False),  # asked for outright by now
        (Intent(load=True), True, False),  # and stays so, whoever asks less
    ],
)
def test_whether_others_go_for_a_load(before: Intent, no_eviction: bool, kept: bool) -> None:
    after = before.load_asked(no_eviction=no_eviction, loaded=False)
    assert (after.load, after.no_eviction) == (True, kept)


def test_a_load_is_over_once_it_is_there() -> None:
    assert not NOTHING.load_asked(no_eviction=False, loaded=True).load
    assert not Intent(load=True).load_over().load
    assert NOTHING.once_more().load


@pytest.mark.parametrize(("load", "pinned"), [(False, False), (True, False), (False, True), (True, True)])
def test_who_comes_back(load: bool, pinned: bool) -> None:
    assert Intent(load=load).back(pinned=pinned).load == (load or pinned)


def test_the_first_reason_stays_but_for_who_cannot_wait() -> None:
    stopping = Intent(load=True).stopping(CHANGED)
    assert stopping.load, "one run ends, and the next is wanted"
    assert stopping.stopping(StopRequest("another")).stop is CHANGED
    unloading = stopping.unload_asked("by hand", force=True)
    assert unloading.stop == StopRequest("by hand", Cause.ASKED, force=True)
    assert unloading.unload_asked("by hand again", force=False).stop == StopRequest("by hand again", force=True)
    assert unloading.run_over() == Intent(load=True)


def test_one_that_retires_may_be_kept() -> None:
    retired = Intent(load=True).retired("its file is gone")
    assert (retired.load, retired.retiring) == (False, "its file is gone")
    assert retired.stopping(CHANGED).run_over().kept() == NOTHING
