"""The simulator plays a trace as it should, and llmsup's policy reaches its numbers on the traces that are shipped."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from llmsup.config.schema import GiB
from tools import simulate as tool
from tools.simulate import BEST, KNOWN, bounds, simulate, verdicts
from tools.simulate_future import POWERS, TURNS, Clairvoyant, clairvoyant
from tools.simulate_machine import Host, Model, Request, Trace, read_trace
from tools.simulate_seeds import Scene, play
from tools.simulate_tally import Tally, table
from tools.simulate_traces import SCENES, TRACES, requests, write
from tools.simulate_ways import Llmsup, Lru
from tools.simulate_world import QUEUE_TIMEOUT, UNLOAD, World

HOURS = {
    "agent": 3,
    "chat": 4,
    "batch": 1,
    "pingpong": 0.5,
    "neighbour": 2,
    "swift": 1 / 60,
    "person": 1,
    "agent-small": 0.25,
    "crowd": 1,
    "overnight": 7,
}
"""How much of each trace is played here; the tool plays all of it."""


@cache
def played(scene: str) -> dict[str, Tally]:
    """The beginning of a shipped trace, under every policy."""
    return simulate(read_trace(TRACES / f"{scene}.csv").until(HOURS[scene] * 3600))


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_nothing_dies_nobody_is_refused_and_no_eviction_is_futile(scene: str) -> None:
    """On every trace."""
    ours = played(scene)["llmsup"]
    assert (ours.deaths, ours.refusals, ours.futile) == (0, 0, 0)
    assert ours.loads >= 3


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_no_other_that_survives_makes_people_wait_less(scene: str) -> None:
    """Survives: nothing dies and everybody is answered. The sum of the waits, and their 95 % quantile."""
    ours, *others = played(scene).values()
    survivors = [each for each in others if not each.deaths and not each.refusals]
    assert survivors
    assert sum(ours.waits) <= BEST * min(sum(each.waits) for each in survivors)
    assert ours.waited(0.95) <= BEST * min(each.waited(0.95) for each in survivors)


def test_on_the_agent_trace_a_count_of_models_costs_far_more() -> None:
    """At most 60 %."""
    tallies = played("agent")
    assert tallies["LRU by count (4)"].reload_seconds > 0
    assert tallies["llmsup"].reload_seconds <= 0.6 * tallies["LRU by count (4)"].reload_seconds


@pytest.mark.slow  # two traces, simulated under seven policies
def test_nobody_waits_for_long_while_two_take_turns() -> None:
    """No request waits for more than two turns of the other and the loads, far less than the queue's timeout."""
    for scene in ("pingpong", "batch"):
        assert max(played(scene)["llmsup"].waits) < QUEUE_TIMEOUT / 2


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_knowing_the_future_helps(scene: str) -> None:
    """Nobody does better where all fits. Belady with sizes is no optimum: what it finds is within a tenth of any."""
    trace = read_trace(TRACES / f"{scene}.csv").until(HOURS[scene] * 3600)
    seen = bounds(trace)
    known, fits = sum(seen["clairvoyant"].waits), sum(seen["everything fits"].waits)
    survivors = [each for each in played(scene).values() if not each.deaths and not each.refusals]
    assert sum(played(scene)["llmsup"].waits) <= KNOWN * known
    assert seen["clairvoyant"].deaths == seen["clairvoyant"].refusals == 0
    assert known <= 1.1 * min(sum(each.waits) for each in survivors)
    assert fits <= known


@pytest.mark.slow
def test_the_search_finds_what_belady_misses() -> None:
    """Two clients of two models that don't fit together: who goes is clear, and when is not."""
    asked = [Request(t, name, 2, name) for name in "ab" for t in range(0, 200, 4)]
    trace = world(*sorted(asked, key=lambda each: each.time), a=20, b=20)
    by_rule = min(sum(World(trace, Clairvoyant(turn=t, power=p)).run().waits) for t in TURNS for p in POWERS)
    searched = [sum(clairvoyant(trace, replays=number).waits) for number in (0, 10)]
    assert searched[0] == by_rule < sum(World(trace, Clairvoyant()).run().waits)
    assert searched[1] <= searched[0]


def test_the_shipped_traces_are_those_that_the_script_writes(tmp_path: Path) -> None:
    """And the same each time."""
    write(tmp_path, seed=1)
    for scene in SCENES:
        assert (tmp_path / f"{scene}.csv").read_text() == (TRACES / f"{scene}.csv").read_text()
        assert requests(scene, 1) != requests(scene, 2)


def test_a_trace_without_its_models_is_refused(tmp_path: Path) -> None:
    """By name."""
    (tmp_path / "x.csv").write_text("time,model,seconds\n0,a,1\n1,b,1\n")
    (tmp_path / "x.toml").write_text('total = "8GiB"\n[models]\na = { memory = "1GiB" }\n')
    with pytest.raises(ValueError, match=r"no such model in x\.toml: b"):
        read_trace(tmp_path / "x.csv")


# --- the world, on traces that can be reckoned by hand ------------------------------------------------------------


def world(*asked: Request, total: int = 32, neighbour: tuple[tuple[float, int], ...] = (), **models: int) -> Trace:
    known = {name: Model(name, gib * GiB, load_seconds=10.0) for name, gib in models.items()}
    return Trace("t", Host(total * GiB, known, neighbour), asked)


def test_requests_that_wait_for_a_load_go_out_together() -> None:
    """One load of ten seconds for both."""
    tally = World(world(Request(0, "a", 5), Request(4, "a", 5), a=10), Llmsup()).run()
    assert (tally.loads, tally.waits, tally.duration) == (1, [10.0, 6.0], QUEUE_TIMEOUT + 4)


def test_an_idle_model_makes_way_and_its_memory_is_back_before_the_load() -> None:
    """The wait of the second: the first one's residency is long over, an unload, a load."""
    tally = World(world(Request(0, "a", 5), Request(100, "b", 5), a=20, b=20), Llmsup()).run()
    assert tally.waits == [10.0, UNLOAD + 10.0]
    assert (tally.evictions, tally.reload_seconds) == (1, 0.0)
    assert max(size for _, size, _ in tally.memory) == 20 * GiB


def test_a_client_sends_one_request_at_a_time() -> None:
    """The second waits for the first one's answer."""
    trace = world(Request(0, "a", 50, "c"), Request(1, "b", 1, "c"), a=5, b=5)
    assert World(trace, Llmsup()).run().duration == 60 + QUEUE_TIMEOUT


def test_what_can_not_fit_is_refused_and_none_is_unloaded_for_it() -> None:
    """A 507."""
    tally = World(world(Request(0, "a", 5), Request(100, "huge", 5), a=10, huge=40), Llmsup()).run()
    assert (tally.refusals, tally.evictions, tally.loads) == (1, 0, 1)


def test_a_count_of_models_is_not_memory() -> None:
    """Two that don't fit together: one of them is killed."""
    trace = world(Request(0, "a", 50), Request(20, "b", 5), a=20, b=20)
    assert World(trace, Lru("count", 4)).run().deaths > 0
    assert World(trace, Llmsup()).run().deaths == 0


def test_lru_evicts_in_vain_what_llmsup_lets_be() -> None:
    """A small idle model doesn't make room while the large one is busy for longer than anybody waits."""
    asked = [Request(0, "large", 5000), Request(0, "small", 1), Request(100, "other", 5)]
    trace = world(*asked, large=20, small=3, other=10)
    lru, ours = World(trace, Lru("lru")).run(), World(trace, Llmsup()).run()
    assert (lru.evictions, lru.futile, lru.refusals) == (1, 1, 1)
    assert (ours.evictions, ours.futile, ours.refusals) == (0, 0, 1)


def test_models_make_way_for_another_program_and_stay_when_it_is_gone() -> None:
    """One goes, the other stays; nothing dies."""
    steps = tuple((300.0 + 5 * i, i * GiB // 2) for i in range(28))
    trace = world(
        Request(0, "a", 1), Request(0, "b", 1), Request(900, "b", 1), neighbour=(*steps, (600.0, 0)), a=9, b=9
    )
    tally = World(trace, Llmsup()).run()
    assert (tally.deaths, tally.pressure, tally.loads) == (0, 1, 2 + (tally.waits[-1] > 0))
    assert World(trace, Lru("lru")).run().deaths > 0


def test_pressure_that_is_not_ours_does_not_unload_everything() -> None:
    """The neighbour takes at once whatever is freed: after two steps the rest is left alone."""
    names = dict.fromkeys("abcdefgh", 2)
    trace = world(*(Request(0, name, 1) for name in names), neighbour=((300.0, 13 * GiB), (900.0, 0)), **names)

    class Greedy(World):
        @property
        def available(self) -> int:
            return min(super().available, GiB // 4) if self._neighbour else super().available

    assert 2 <= Greedy(trace, Llmsup()).run().pressure <= 10


# --- what is printed ----------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_policy() -> None:
    """Markdown, all columns as wide as their widest cell."""
    lines = table("agent", {"ours": Tally(loads=3, waits=[1.0, 2.0]), "theirs": Tally(loads=12345)})
    assert len({len(line) for line in lines}) == 1
    assert lines[0].startswith("| agent  | loads | reload s |")
    assert lines[3].startswith("| theirs | 12345 |")


def test_a_missed_target_is_said() -> None:
    """Each of them can be missed."""
    bad = Tally(deaths=1, futile=1, refusals=1, reload_seconds=10, waits=[10.0])
    other = Tally(reload_seconds=9, waits=[7.9])
    lines = verdicts("agent", {"llmsup": bad, "LRU by count (4)": other}, Tally(waits=[4.9]))
    assert [line[:6] for line in lines] == ["MISSED"] * 7
    good = {"llmsup": Tally(), "LRU by count (4)": Tally()}
    assert {line[:6] for line in verdicts("agent", good, Tally())} == {"met   "}


@pytest.mark.slow
def test_the_tool_prints_json_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace of one's own, with a picture."""
    (tmp_path / "x.csv").write_text("time,model,seconds\n0,a,1\n40,b,1\n")
    (tmp_path / "x.toml").write_text(
        'total = "16GiB"\n[models]\na = { memory = "8GiB" }\nb = { memory = "7GiB", load = 3 }\n'
    )
    monkeypatch.setattr("sys.argv", ["simulate", str(tmp_path / "x.csv"), "--json", "--plot", str(tmp_path)])
    assert tool.main() == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["x"]["llmsup"]["loads"] == 2
    assert numbers["x"]["LRU by count (4)"]["OOM deaths"] > 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_are_judged_together() -> None:
    """A row, and no target missed on the beginning of a scene's seeds; each can be."""
    scene = play("agent-small", range(2, 4), hours=0.02)
    assert scene.missed() == []
    assert scene.row().startswith("| agent-small | ")
    bad = Scene("x", Tally(refusals=1, waits=[10.0]), best_sum=7.9, best_p95=7.9, known=4.9)
    assert len(bad.missed()) == 4
