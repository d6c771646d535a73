"""Several simulated machines, on a small scene: llmsup's rule keeps what it promises, better than simpler ones."""

from __future__ import annotations

import json
from functools import cache

import pytest

from llmsup.peers.choice import HERE
from tools import simulate
from tools.simulate_peers import Scene, at_random, by_rule, compare, lines, ways
from tools.simulate_peers_herd import herd

SMALL = Scene(machines=3, models=6, clients=24, hours=0.1, memory=64, think=20)


@cache
def played() -> dict[str, dict[str, float]]:
    return dict(compare(SMALL, ways()))


def test_nobody_waits_as_little_but_with_one_big_machine() -> None:
    ours = played()["llmsup"]
    assert ours["answered"] > 250
    assert ours["refused"] == 0
    for name, row in played().items():
        if name != "one big machine":
            assert ours["mean s"] <= row["mean s"], name
    assert played()["one big machine"]["mean s"] <= ours["mean s"]


def test_conversations_stay_where_they_are() -> None:
    assert played()["llmsup"]["computed again %"] < 5 < played()["random"]["computed again %"]


def test_a_machine_without_peers_sends_nothing_away() -> None:
    assert played()["no peers"]["sent away %"] == 0
    assert played()["random"]["sent away %"] == pytest.approx(67, abs=5)


def test_all_of_them_work() -> None:
    assert played()["llmsup"]["busiest / mean"] < 1.8


def test_the_same_seed_says_the_same() -> None:
    again = dict(compare(SMALL, {"llmsup": by_rule}))
    assert again["llmsup"] == played()["llmsup"]


def test_with_one_machine_all_rules_are_one() -> None:
    one = Scene(machines=1, models=4, clients=8, hours=0.05, memory=64)
    rows = dict(compare(one, {"llmsup": by_rule, "random": at_random, "none": lambda *_: HERE}))
    assert rows["llmsup"] == rows["random"] == rows["none"] == rows["one big machine"]


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    head, rule, *rows = lines(played().items())
    assert {line.count("|") for line in (head, rule, *rows)} == {len(played()["llmsup"]) + 2}
    small = ["--peers", "--machines", "2", "--models", "3", "--clients", "4", "--hours", "0.01", "--only", "llmsup"]
    assert simulate.main([*small, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"llmsup", "one big machine"}


def test_no_herd_on_the_first_that_becomes_free() -> None:
    """However many requests come before the next poll: each front sends it one, and reckons that the others do, too."""
    assert max(herd(by_rule, requests) for requests in (10, 20, 40, 80)) <= 6
    assert herd(by_rule, 40, reckons=False) == 36  # what it would be otherwise
