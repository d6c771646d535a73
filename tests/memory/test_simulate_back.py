"""What a reload costs in the simulator beyond its load: conversations and the page cache, reckoned by hand."""

from __future__ import annotations

import pytest
from attrs import evolve

from llmsup.config.schema import GiB
from tools import simulate_back as tool
from tools.simulate_engine import Engine
from tools.simulate_machine import Host, Model, Request, Talk, Trace, read_host
from tools.simulate_pages import Pages
from tools.simulate_talks import DISK, RESTORING, SLOWEST, WRITES, Held, Shelf, again, with_talks
from tools.simulate_ways import Llmsup
from tools.simulate_world import UNLOAD, Prompts, World

TALK = Talk(system=1000, turn=1000, most=9000)
MB = 10**6


def model(name: str = "a", gib: int = 20, kv: int = MB // 10, talk: Talk | None = TALK) -> Model:
    """It loads in 10 s, computes 1,000 tokens a second, and a token takes 0.1 MB."""
    return Model(name, gib * GiB, load_seconds=10.0, talk=talk, active=4.0, kv=kv)


def there_and_back(*, idle: float, a: Model | None = None, b: Model | None = None) -> Trace:
    """One client asks a (5 s), goes to b when a was idle for so long, and comes back to a. Only one fits at a time."""
    models = {"a": a or model(), "b": b or model("b", talk=None)}
    asked = (Request(0, "a", 5, "c"), Request(15 + idle, "b", 5, "c"), Request(200, "a", 5, "c"))
    return Trace("t", Host(32 * GiB, models, disk=100 * MB), asked)


def waits(trace: Trace, prompts: Prompts, pages: Pages | None = None) -> list[float]:
    return World(trace, Llmsup(), prompts, pages).run().waits


# --- conversations ------------------------------------------------------------------------------------------------


def test_a_conversation_grows_until_it_is_too_long_or_its_client_was_away() -> None:
    """What a prompt shares with the last one: all of it, or what every one begins with."""
    talk = Talk(system=100, turn=50, most=250)
    times = (0, 10, 20, 30, 2000, 2001)
    asked = [Request(time, "a", 1, "c") for time in times] + [Request(2002, "a", 1, "other"), Request(2003, "b", 1)]
    models = {"a": model(talk=talk), "b": model("b", talk=None)}
    seen = [(each.talk, each.shared, each.tokens) for each in with_talks(asked, models)]
    assert seen[:4] == [(1, 0, 150), (1, 150, 200), (1, 200, 250), (2, 100, 150)]
    assert seen[4:] == [(3, 100, 150), (3, 150, 200), (1, 0, 150), (0, 0, 0)]


def test_only_what_an_engine_does_not_have_is_computed_again() -> None:
    """It may have nothing, all, an older state, or another conversation with the same beginning."""
    request = Request(0, "a", 1, "c", talk=2, shared=3000)
    held = (None, Held(2, 3000), Held(2, 2000), Held(1, 5000))
    assert [again(request, each, TALK) for each in held] == [3000, 0, 1000, 2000]


def test_without_a_prompt_cache_the_next_turn_computes_all_that_came_before() -> None:
    """2,000 tokens: two seconds more until the answer begins, and until it is over."""
    free, computed = (World(there_and_back(idle=50), Llmsup(), each).run() for each in ("free", "computed"))
    assert free.waits == [10.0, UNLOAD + 10.0, UNLOAD + 10.0]
    assert computed.waits == [10.0, UNLOAD + 10.0, UNLOAD + 10.0 + 2.0]
    assert (free.again_seconds, computed.again_seconds) == (0.0, 2.0)
    assert computed.duration == free.duration


def test_a_restored_conversation_costs_its_bytes_over_the_rate_of_the_disk() -> None:
    """2,000 tokens of 0.1 MB at 100 MB/s: two seconds to save while it was idle, which nobody waits for; two to
    restore.
    """
    tally = World(there_and_back(idle=50), Llmsup(), "restored").run()
    assert tally.waits == [10.0, UNLOAD + 10.0, UNLOAD + 10.0 + 2.0]
    assert (tally.again_seconds, tally.restore_seconds, tally.save_seconds) == (0.0, 2.0, 0.0)
    assert tally.written == 200 * MB + 300 * MB  # and after its second turn, while it was idle
    assert tally.reload_seconds == 10.0


def test_what_was_not_saved_while_idle_is_saved_before_the_unload_which_takes_longer() -> None:
    """The next model waits for that."""
    tally = World(there_and_back(idle=10), Llmsup(), "restored").run()
    assert tally.waits[1] == UNLOAD + 2.0 + 10.0
    assert tally.save_seconds == 2.0


def test_a_model_whose_conversations_can_not_be_saved_computes_them_again() -> None:
    """A sliding window."""
    trace = there_and_back(idle=50, a=model(kv=0))
    assert waits(trace, "restored") == waits(trace, "computed")


# --- the limits of what is saved ----------------------------------------------------------------------------------


def test_a_short_conversation_is_not_saved_and_neither_is_one_that_would_take_too_long() -> None:
    """By what the disk has been seen to write, which is little at first."""
    shelf, long = Shelf(rate=5e9), int(SLOWEST * 5 / (MB // 10))
    assert shelf.save(model(), {"c": Held(1, 511)}) == shelf.save(model(), {"c": Held(1, long + 1)}) == 0.0
    assert shelf.save(model(), {"c": Held(1, long)}) == 1.0
    assert shelf.expects == (SLOWEST + 5e9) / 2
    assert shelf.save(model(), {"c": Held(1, long + 1)}) == pytest.approx(1.0, rel=0.01)


def test_what_did_not_change_is_not_saved_again() -> None:
    """The last used first, four of them; a conversation takes its predecessor's place."""
    shelf, held = Shelf(rate=1e9, expects=1e9), {str(number): Held(1, 1000) for number in range(6)}
    assert shelf.save(model(), held) == pytest.approx(0.4)
    assert [client for _, client in shelf.saved] == ["5", "4", "3", "2"]
    assert shelf.save(model(), {**held, "5": Held(1, 2000)}) == pytest.approx(0.2)
    assert shelf.written == 600 * MB
    assert len(shelf.saved) == 4


def test_a_save_while_idle_may_take_less_time_and_half_of_the_days_writes() -> None:
    """Each of at most two seconds."""
    held, slow, fast = {"c": Held(1, 3000)}, Shelf(rate=1e8, expects=1e8), Shelf(rate=1e9, expects=1e9)
    assert (slow.save(model(), held, idle=True), slow.save(model(), held)) == (0.0, 3.0)
    fast.written = WRITES // 2
    assert (fast.save(model(), held, idle=True), fast.save(model(), held)) == (0.0, 0.3)
    fast.written = WRITES
    assert fast.save(model(), {"c": Held(1, 4000)}) == 0.0


def test_a_full_shelf_loses_what_was_used_least_recently() -> None:
    """Restoring is using."""
    shelf, size = Shelf(rate=1e10, expects=1e10), 3 * 10**9
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        shelf.save(model(name), {"x": Held(1, size // (MB // 10))})
    assert 7 * size <= DISK < 8 * size
    assert shelf.restore(model("a")) == (0.3, {"x": Held(1, 30_000)})
    shelf.save(model("h"), {"x": Held(1, size // (MB // 10))})
    assert [name for name, _ in shelf.saved] == ["c", "d", "e", "f", "g", "a", "h"]


def test_restoring_begins_nothing_more_after_some_seconds_and_the_last_used_comes_first() -> None:
    """Three of two seconds each, where the limit is five; what an engine has is in the order of use."""
    shelf = Shelf(rate=100 * MB, expects=1e9)
    for number in range(4):
        shelf.save(model(), {str(number): Held(1, 2000)})
    seconds, held = shelf.restore(model())
    assert (seconds, list(held)) == (6.0, ["1", "2", "3"])
    assert RESTORING == 5.0
    assert shelf.restore(model("other")) == (0.0, {})


# --- the page cache -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("other", "cached"), [(20, 1.0), (25, 0.5)])
def test_an_evicted_model_whose_file_is_still_in_memory_comes_back_faster(other: int, cached: float) -> None:
    """Of 32 GiB, 2 are the system's; what the other leaves of 10 is there: at 4 GiB/s, and 2 s for the start."""
    trace = there_and_back(idle=50, a=model(gib=10), b=model("b", gib=other, talk=None))
    assert waits(trace, "free")[2] == UNLOAD + 10.0
    assert waits(trace, "free", Pages())[2] == UNLOAD + cached * 4.5 + (1 - cached) * 10.0


def test_the_policy_expects_what_is_in_the_page_cache_as_the_product_does() -> None:
    """Of a loaded model: what could stay there."""
    trace = there_and_back(idle=50, a=model(gib=10), b=model("b", gib=20, talk=None))
    world = World(trace, Llmsup(), "free", Pages())
    world.run()
    a, b = trace.host.models.values()
    assert world.expected(a) == 4.5  # loaded: all of it would stay, and its last load was a warm one
    assert world.expected(b) == 5.0  # it was never loaded warm; all of it still lies beside a
    world.pages = Pages({"b": 10 * GiB})
    assert world.expected(b) == 7.5


def test_those_evicted_first_are_pushed_out_first() -> None:
    """Part by part."""
    pages = Pages()
    for name in "abc":
        pages.left(name, 10)
    pages.left("a", 10)
    pages.shrink(15)
    assert pages.files == {"c": 5, "a": 10}
    assert (pages.taken("a"), pages.taken("a")) == (10, 0)
    pages.shrink(-1)
    assert pages.files == {}


# --- what a policy could know -------------------------------------------------------------------------------------


def test_the_price_of_an_eviction_includes_what_nothing_is_kept_of() -> None:
    """Two thousand tokens, unless they would be saved; of one-off requests only what they all begin with."""
    once = evolve(TALK, most=0)
    cases: list[tuple[Talk, Prompts, float]] = [
        (TALK, "computed", 2.0),
        (TALK, "restored", 0.0),
        (once, "computed", 1.0),
    ]
    for talk, prompts, more in cases:
        world = World(there_and_back(idle=50, a=model(talk=talk)), Llmsup(), prompts)
        world.run()
        a = world.host.models["a"]
        world.engines["a"] = Engine(a, a.bytes, held={"c": Held(1, 2000)}, state="ready")
        assert world.price(a) - world.expected(a) == more
    spent = World(there_and_back(idle=50), Llmsup(), "restored")
    spent.run()
    assert spent.shelf
    spent.shelf.written = WRITES
    a = spent.engines["a"].model
    assert spent.price(a) == spent.expected(a)  # it was saved while it was idle
    spent.shelf.saved.clear()
    assert spent.price(a) == spent.expected(a) + 3.0


def test_models_are_as_fast_and_as_large_as_others_measured() -> None:
    """Eight billion parameters in 4.8 GiB; of a mixture of experts those count that work."""
    table = {
        "total": "32GiB",
        "disk": "6GiB",
        "models": {
            "dense": {"memory": "4.8GiB", "talk": [1, 2, 3]},
            "experts": {"memory": "18GiB", "active": 4, "kv": "96KiB"},
        },
    }
    host = read_host(table)
    dense, experts = host.models.values()
    assert (round(dense.tokens_per_second), round(dense.token_bytes / 1024)) == (500, 128)
    assert (experts.tokens_per_second, experts.token_bytes) == (1000.0, 96 * 1024)
    assert (dense.talk, experts.talk, host.disk) == (Talk(1, 2, 3), None, 6.0 * GiB)


# --- what is printed ----------------------------------------------------------------------------------------------


def test_the_tables_have_each_trace_without_and_with() -> None:
    """As many cells as heads; a policy that loses something is marked."""
    heads, _, *rows = tool.lines([there_and_back(idle=50)])
    assert {each.count("|") for each in rows} == {heads.count("|")}
    assert rows == [
        "| t | without | 10.8 | 11.5 | 2 | 2 | 0 | 0 | 0 |",
        "| t | with | 10.8 | 11.5 | 2 | 0 | 2 | 0 | 0 |",
        "| t | no limits | 10.8 | 11.5 | 2 | 0 | 2 | 0 | 0 |",
    ]
    _, _, row, *_ = tool.lines([there_and_back(idle=50)], cold=True)
    assert row == "| t | without | 11.3 | 13.0 | 2 | 2 | 0 | 0 | 0 |"
    heads, _, row = tool.variants([there_and_back(idle=50)], "with")
    assert heads.count("|") == row.count("|")
    assert row.startswith("| t | ")
    huge = there_and_back(idle=50, b=model("b", gib=40, talk=None))
    assert list(tool.variants([huge], "without"))[-1].startswith("| t (!) | ")
