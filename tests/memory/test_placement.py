"""Where a model would be put: by hand, as llama.cpp's source says, and what always holds."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from llmsup.engines.offload import Offload
from llmsup.memory.amounts import HOST, Amounts
from llmsup.memory.cost.placement import MARGIN, Layout, Room, divided, place

GiB, MiB = 1024**3, 1024**2

MODEL = Layout(
    weights=(GiB,) * 8,
    caches=(GiB // 4,) * 8,
    output=GiB // 2,
    copied=0,
    host=GiB // 4,
    compute=GiB // 8,
)
"""Ten and three quarters of a GiB of layers with their caches and the output, and what comes with them."""

LAYERS = 10 * GiB + GiB // 2


def room(pool: str, gib: float, driver: int = 0) -> Room:
    return Room(pool, round(gib * GiB), round(gib * GiB), driver)


def test_without_devices_all_is_in_the_machines_memory() -> None:
    """That is what is estimated today."""
    assert place(MODEL, ()) == Amounts({HOST: MODEL.total})


def test_what_has_room_is_on_the_device() -> None:
    """All layers and the output with one set of buffers; the embeddings and the process are not."""
    assert place(MODEL, [room("a", 16)]) == Amounts({"a": LAYERS + GiB // 8, HOST: GiB // 4})


def test_a_driver_takes_its_part() -> None:
    """It is no part of the model, and comes on top."""
    took = place(MODEL, [room("a", 16, 300 * MiB)])
    assert took == Amounts({"a": LAYERS + GiB // 8 + 300 * MiB, HOST: GiB // 4})


def test_fit_leaves_room_for_others() -> None:
    """1 GiB; with that much less, the first layer stays, and needs buffers of its own."""
    least = LAYERS + GiB // 8 + MARGIN
    assert place(MODEL, [Room("a", least)])["a"] == LAYERS + GiB // 8
    first = GiB + GiB // 4
    assert place(MODEL, [Room("a", least - 1)]) == Amounts(
        {"a": LAYERS + GiB // 8 - first, HOST: GiB // 4 + GiB // 8 + first}
    )


def test_a_smaller_context_comes_before_fewer_layers() -> None:
    """As much smaller as it must be."""
    loose = evolve(MODEL, gives=GiB)
    short = LAYERS + GiB // 8 + MARGIN - GiB // 2
    took = place(loose, [Room("a", short)])
    assert took == Amounts({"a": short - MARGIN, HOST: GiB // 4})


def test_a_number_of_layers_is_obeyed() -> None:
    """Counted from the end; the output is the first of them. There is no margin."""
    took = place(MODEL, [room("a", 2)], Offload(layers=3))
    assert took["a"] == 2 * (GiB + GiB // 4) + GiB // 2 + GiB // 8
    assert took[HOST] == 6 * (GiB + GiB // 4) + GiB // 4 + GiB // 8


def test_no_layers_still_take_buffers_on_the_first_device() -> None:
    """Large batches are computed there, if it is a GPU."""
    took = place(MODEL, [room("a", 8, MiB), room("b", 8)], Offload(layers=0))
    assert took == Amounts({"a": GiB // 8 + MiB, HOST: MODEL.total})
    assert place(MODEL, [room("a", 8), room("b", 8)], Offload(layers=0)) == Amounts({HOST: MODEL.total})


def test_several_devices_share_by_what_is_free() -> None:
    """12 and 24 GiB: nine slots, of which the first three are on the first device."""
    took = place(MODEL, [room("a", 12), room("b", 24)])
    assert took["a"] == 3 * (GiB + GiB // 4) + GiB // 8
    assert took["b"] == 5 * (GiB + GiB // 4) + GiB // 2 + GiB // 8


def test_a_split_of_their_own() -> None:
    """`--tensor-split 1,0` puts everything on the first; too many shares don't matter, and no shares are none."""
    rooms = [room("a", 12), room("b", 24)]
    assert place(MODEL, rooms, Offload(split=(1.0, 0.0, 5.0)))["a"] == LAYERS + GiB // 8
    assert place(MODEL, rooms, Offload(split=(0.0, 0.0), layers=99)) == place(MODEL, rooms, Offload(layers=99))


def test_only_the_main_device() -> None:
    """`--split-mode none --main-gpu 1`; one that isn't there leaves none."""
    rooms = [room("a", 24), room("b", 24)]
    assert place(MODEL, rooms, Offload(one=True, main=1)) == Amounts({"b": LAYERS + GiB // 8, HOST: GiB // 4})
    assert place(MODEL, rooms, Offload(one=True, main=7)) == Amounts({HOST: MODEL.total})


def test_caches_may_stay() -> None:
    """`--no-kv-offload`."""
    took = place(MODEL, [room("a", 24)], Offload(caches=False))
    assert took == Amounts({"a": 8 * GiB + GiB // 2 + GiB // 8, HOST: 2 * GiB + GiB // 4})


def test_a_projector_is_on_the_first_device() -> None:
    """However many layers there are; unless it is told not to, or doesn't fit."""
    seeing = evolve(MODEL, beside=GiB)
    two = [room("a", 12), room("b", 12)]
    bare = place(MODEL, two)
    assert place(seeing, two) - bare == Amounts({"a": GiB})
    assert place(seeing, two, Offload(projector=False)) - bare == Amounts({HOST: GiB})
    assert place(evolve(MODEL, beside=13 * GiB), two) - bare == Amounts({HOST: 13 * GiB})


def test_shared_embeddings_are_copied() -> None:
    """To the device that has the output."""
    tied = evolve(MODEL, output=0, copied=GiB // 2, host=MODEL.host + GiB // 2)
    assert place(tied, [room("a", 16)]) == Amounts({"a": LAYERS + GiB // 8, HOST: 3 * GiB // 4})
    assert place(tied, []) == Amounts({HOST: MODEL.total})


def test_experts_fill_what_whole_layers_leave() -> None:
    """Up to the margin."""
    mixture = evolve(MODEL, experts=True)
    took = place(mixture, [room("a", 8)])
    assert took["a"] == 7 * GiB
    assert place(MODEL, [room("a", 8)])["a"] < 7 * GiB


def test_a_device_without_room_is_not_used() -> None:
    """Not even for the driver and the buffers, as far as they don't fit."""
    took = place(MODEL, [room("a", 0.1, 300 * MiB)])
    assert took["a"] <= GiB // 10 + 1
    assert took.total == MODEL.total + GiB // 8 + 300 * MiB


BYTES = st.integers(0, 40)
LAYOUTS = st.integers(0, 6).flatmap(
    lambda layers: st.builds(
        Layout,
        weights=st.lists(BYTES, min_size=layers, max_size=layers).map(tuple),
        caches=st.lists(BYTES, min_size=layers, max_size=layers).map(tuple),
        output=BYTES,
        copied=BYTES,
        host=BYTES,
        compute=BYTES,
        beside=BYTES,
        gives=BYTES,
        experts=st.booleans(),
    )
)
ROOMS = st.lists(st.integers(0, 150), max_size=4).map(
    lambda sizes: [Room(f"gpu{number}", MARGIN + size, driver=size % 7) for number, size in enumerate(sizes)]
)
WAYS = st.builds(
    Offload,
    layers=st.just("auto") | st.integers(0, 9),
    split=st.just(()) | st.lists(st.floats(0, 9), min_size=1, max_size=5).map(tuple),
    main=st.integers(0, 4),
    one=st.booleans(),
    caches=st.booleans(),
    projector=st.booleans(),
)


@given(LAYOUTS, ROOMS, WAYS)
def test_everything_is_somewhere(layout: Layout, rooms: list[Room], how: Offload) -> None:
    """Nothing is negative, nothing is where it may not be, and nothing is lost or made up."""
    took = place(layout, rooms, how)
    allowed = {room.pool for room in (rooms[how.main : how.main + 1] if how.one else rooms)}
    assert set(took) <= allowed | {HOST}
    assert all(took[pool] >= 0 for pool in took)
    least = layout.total - (layout.gives if how.layers == "auto" and not how.split else 0)
    around = len(allowed) * layout.compute + layout.copied + sum(room.driver for room in rooms if room.pool in allowed)
    assert least <= took.total <= layout.total + around


@given(LAYOUTS, ROOMS, st.builds(Offload, caches=st.booleans(), projector=st.booleans()))
def test_fit_puts_nowhere_more_than_there_is(layout: Layout, rooms: list[Room], how: Offload) -> None:
    """So a model is never refused for the sake of a device that it needn't use."""
    took = place(layout, rooms, how)
    assert all(took[each.pool] <= each.free for each in rooms)


@given(LAYOUTS, st.integers(0, 150), st.integers(0, 150))
def test_more_room_is_never_used_less(layout: Layout, size: int, more: int) -> None:
    """Of one device."""
    assert place(layout, [Room("a", MARGIN + size)])["a"] <= place(layout, [Room("a", MARGIN + size + more)])["a"]


@given(st.integers(0, 10**12), st.integers(1, 100))
def test_equal_parts(size: int, parts: int) -> None:
    """They add up, and differ by one byte at most."""
    each = divided(size, parts)
    assert sum(each) == size
    assert max(each) - min(each) <= 1
    assert divided(0, 0) == ()


@pytest.mark.parametrize(("free", "total", "usable"), [(5, 0, 5), (5, 4, 4), (-1, 9, 0), (3, 9, 3)])
def test_usable(free: int, total: int, usable: int) -> None:
    """No more than there is, and no less than nothing."""
    assert Room("a", free, total).usable == usable
