"""When a peer is taken out, and how long the pauses between two probes are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmsup.peers.health import LONGEST, SOON, SPREAD, Health


def after(steps: str, health: Health | None = None) -> Health:
    """What becomes of one: m a missed question, b a broken request, t an answered question, s a served request."""
    health = health or Health()
    for step in steps:
        health = {"m": health.miss, "b": health.broke, "t": health.told, "s": health.served}[step]()
    return health


def pause(health: Health, luck: float = 0.5) -> float:
    """In the middle of what it may be, unless `luck` says otherwise."""
    return health.pause(luck)


def test_three_in_a_row_take_it_out() -> None:
    assert [after("t" + "m" * count).down for count in range(4)] == [False, False, False, True]
    assert [after("t" + "b" * count).down for count in range(4)] == [False, False, False, True]
    assert not after("tmmtmm").down
    assert not after("tbbsbb").down


def test_one_that_has_never_answered_has_no_credit() -> None:
    assert after("m").down
    assert not after("").down
    assert not after("t").down


def test_an_answer_to_a_question_does_not_excuse_requests() -> None:
    assert after("tbtbtb").down


def test_the_pauses_double_up_to_a_minute() -> None:
    pauses = [pause(after("tmm" + "m" * count)) for count in range(1, 10)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause(after("tm")) == SOON


def test_a_success_brings_it_back_with_full_credit() -> None:
    back = after("tmmmmmmt")
    assert not back.down
    assert pause(after("mmm", back)) == 1


def test_who_fails_its_requests_again_and_again_stays_out_for_longer() -> None:
    """Although it answers questions each time."""
    health, pauses = after("t"), list[float]()
    for _ in range(4):
        health = after("bbb", health)
        assert health.down
        pauses.append(pause(health))
        health = health.told()
        assert not health.down
    assert pauses == [1, 2, 4, 8]
    assert pause(after("sbbb", health)) == 1


@given(st.text("mbts", max_size=60), st.floats(0, 1))
def test_whatever_happens(steps: str, luck: float) -> None:
    """Pauses are bounded, and whoever has answered the last question or request is not down."""
    health = after(steps)
    assert 0 < pause(health, luck) <= LONGEST * (1 + SPREAD)
    if steps[-1:] in ("t", "s"):
        assert not health.down
    assert health.failures == health.missed + health.broken
