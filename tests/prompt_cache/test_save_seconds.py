"""How long a save is expected to take, before anything is known of the disk and after, and how long a restore may."""

from __future__ import annotations

from llmsup.fleet.model.hooks import AFTER_READY, BEFORE_STOP
from llmsup.prompt_cache.limits import SLOWEST, Rate
from llmsup.prompt_cache.restoring import ONE, limit_of

LONG = 32_000 * 128 * 1024
"""Bytes of a long conversation with an 8B model, its K and V as f16."""


def test_a_long_conversation_is_tried_before_anything_is_known() -> None:
    """In the time that an unload gives it by default."""
    assert Rate().seconds(LONG) < BEFORE_STOP


def test_what_was_given_up_is_not_tried_again() -> None:
    """It takes more than the time that it had; what was written since is believed again."""
    rate = Rate()
    rate.gave_up(LONG, 5.0)
    assert rate.seconds(LONG) > 5
    assert rate.seconds(LONG // 4) < 5
    for _ in range(10):
        rate.saw(LONG // 4, 0.5)
    assert rate.seconds(LONG) < 5


def test_giving_up_for_another_reason_says_little_of_the_disk() -> None:
    """Somebody was in a hurry, or an engine hung: conversations that any disk takes in time are still tried."""
    rate = Rate()
    rate.gave_up(LONG, 0.2)
    assert rate.seconds(LONG) < 5
    rate.gave_up(2_000_000, 1000.0)
    assert rate.seconds(int(SLOWEST)) == 1.0


def test_a_long_conversation_has_time_to_come_back() -> None:
    """On a disk that does 500 MB/s; one that hangs is given up before the engine's whole preparation is cut off."""
    assert limit_of(LONG) > LONG / 500e6
    assert limit_of(0) == ONE
    assert limit_of(10 * LONG) < AFTER_READY
