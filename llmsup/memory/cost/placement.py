"""Where llama.cpp would put a model: how much of it on which device, and how much in the machine's own memory.

It doesn't matter what a device is: a GPU here, or a worker on another host. It has a name, so much free, and a place in
the engine's order.

Read in llama.cpp's source (b10434 and later):

- src/llama-model.cpp, `load_tensors`: n layers are offloaded counting from the end, and the output counts as the last.
  Each offloaded layer i goes to the first device whose share of the running sum of free memory (or of `--tensor-split`)
  is above i/n. The input embeddings always stay on the CPU; where there is no output of its own they are copied to the
  output's device.
- src/llama-kv-cache.cpp, src/llama-memory-recurrent.cpp: a layer's cache is where its weights are, unless
  `--no-kv-offload`.
- src/llama-context.cpp: every device in use, and the CPU if it computes layers, has its own compute buffers.
- common/fit.cpp (`--fit`, the default): if all of it fits and leaves 1 GiB free on each device, nothing is changed.
  Else the context shrinks, if it wasn't set, to no less than 4096 tokens. Else the devices are filled from the last
  layer to the first and from the last device to the first, with whole layers; a model with experts leaves only those in
  the CPU's memory, so that what is left of a device is filled with parts of layers. It gives up if the number of layers
  or the split was set.
- src/llama.cpp, `llama_prepare_model_devices`: RPC workers come first, then GPUs; integrated ones only without others.
- tools/mtmd/clip.cpp: a projector is on the first device, whatever the number of layers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from attrs import evolve, frozen

from ...config.schema import GiB, MiB
from ...engines.offload import OFFLOAD, Offload
from ..amounts import HOST, Amounts

MARGIN = 1 * GiB
"""Bytes that `--fit` leaves free on each device (common/common.h, `fit_params_target`)."""

LEAST_CONTEXT = 4096
"""Tokens below which `--fit` doesn't shrink a context (common/common.h, `fit_params_min_ctx`)."""

DRIVER = 457 * MiB
"""Bytes that a GPU's driver takes for a process that uses it (Ollama's discover/gpu.go keeps as much free)."""


@frozen
class Room:
    """A device that an engine may use.

    Attributes:
        pool: The pool that its memory is.
        free: Bytes that the engine may find free there.
        total: Its size in bytes; 0: unknown.
        driver: Bytes that it takes by being used at all.
    """

    pool: str
    free: int
    total: int = 0
    driver: int = 0

    @property
    def usable(self) -> int:
        """Bytes that an engine may take."""
        return max(min(self.free, self.total) if self.total else self.free, 0)


@frozen
class Layout:
    """A model in the parts that are placed one by one, in bytes.

    Attributes:
        weights: Of each layer, from the first to the last.
        caches: Of each layer.
        output: The output layer's weights.
        copied: What is copied beside them if they are on a device, because the model has no output of its own.
        host: What is always in the machine's own memory: input embeddings, the process itself.
        compute: The buffers for one batch, wherever layers are computed.
        beside: What goes to the first device as a whole: a projector, a draft model.
        gives: How much of the caches can be given up by a smaller context.
        experts: Whether it has experts, so that parts of a layer can be placed.
    """

    weights: tuple[int, ...] = ()
    caches: tuple[int, ...] = ()
    output: int = 0
    copied: int = 0
    host: int = 0
    compute: int = 0
    beside: int = 0
    gives: int = 0
    experts: bool = False

    @property
    def total(self) -> int:
        """All of it if it is computed in one place, and that isn't a device."""
        return sum(self.weights) + sum(self.caches) + self.output + self.host + self.compute + self.beside


def divided(size: int, parts: int) -> tuple[int, ...]:
    """A size in equal parts, which add up to it."""
    return tuple(end - start for start, end in pairwise(size * n // parts for n in range(parts + 1))) if parts else ()


def place(layout: Layout, rooms: Sequence[Room], how: Offload = OFFLOAD) -> Amounts:
    """What an engine takes of each device and of the machine's own memory, if it is started now.

    Every part of the layout is somewhere, less what of `gives` had to be given up. Beyond that each place that computes
    layers has the compute buffers, each device what its driver takes, and the output's device the copied embeddings.

    A number of layers is obeyed, even if a device then gets more than it has room for: the engine would fail.

    Args:
        rooms: The devices that it may use, in the engine's order: without those that `how.devices` leaves out.
    """
    rooms = rooms[how.main : how.main + 1] if how.one else rooms
    if not rooms:
        return Amounts({HOST: layout.total})
    slots = len(layout.weights) + 1
    if how.layers != "auto" or how.split:
        layers = slots if how.layers == "auto" else min(how.layers, slots)
        shares = how.split[: len(rooms)]
        at = _divide(slots, layers, shares if any(shares) else [room.usable for room in rooms])
        return _amounts(layout, rooms, how, at)
    return _fitted(layout, rooms, how)


Assignment = tuple[int | None, ...]
"""For each layer, and for the output as the last, its device's place; None: the machine's own memory."""


def _divide(slots: int, layers: int, shares: Sequence[float]) -> Assignment:
    """The last so many slots, by the devices' shares (`load_tensors`)."""
    ends, start = list(accumulate(shares)), slots - layers
    if not ends[-1]:
        ends = list(accumulate(1 for _ in ends))  # nothing is free anywhere; it divides by zero there
    last = len(ends) - 1
    on = (min(bisect_right(ends, (slot - start) / layers * ends[-1]), last) for slot in range(start, slots))
    return (*(None,) * start, *on)


def _fitted(layout: Layout, rooms: Sequence[Room], how: Offload) -> Amounts:
    """As `--fit` does it: all layers, if need be with a smaller context; else as many layers as there is room for."""
    if layout.beside > rooms[0].usable - rooms[0].driver:
        how = evolve(how, projector=False)
    slots = len(layout.weights) + 1
    everything = _divide(slots, slots, [room.usable for room in rooms])
    sizes = _amounts(layout, rooms, how, everything)
    if _fits(sizes, rooms):
        return sizes
    if layout.gives:
        over = sum(sizes[room.pool] - room.usable + MARGIN for room in rooms)
        if len(rooms) > 1:  # whole layers leave gaps
            over += (len(rooms) + 1) * max(layout.weights, default=0) // (6 if layout.experts else 2)
        layout = _smaller(layout, max(over, 0))
        sizes = _amounts(layout, rooms, how, everything)
        if _fits(sizes, rooms):
            return sizes
    return _filled(layout, rooms, how)


def _filled(layout: Layout, rooms: Sequence[Room], how: Offload) -> Amounts:
    """The devices filled from the last layer to the first, from the last device to the first."""
    slots = len(layout.weights) + 1
    at: list[int | None] = [None] * slots
    gaps = dict[int, int]()
    rest = slots
    for place in reversed(range(len(rooms))):
        room = rooms[place]
        left = room.usable - MARGIN - room.driver - layout.compute
        if place == 0 and how.projector:
            left -= layout.beside
        while rest and (size := _slot(layout, how, rest - 1)) <= left:
            rest -= 1
            at[rest] = place
            left -= size
        gaps[place] = max(left, 0)
    parts = dict[int, int]()
    if layout.experts and rest < slots:
        remain = sum(layout.weights[:rest])
        for place, gap in gaps.items():
            parts[place] = min(gap, remain)
            remain -= parts[place]
    sizes = _amounts(layout, rooms, how, tuple(at), parts)
    # What doesn't even have room for its buffers isn't used.
    over = Amounts({room.pool: max(sizes[room.pool] - room.usable, 0) for room in rooms})
    return sizes - over + Amounts({HOST: over.total})


def _slot(layout: Layout, how: Offload, slot: int) -> int:
    """What a device takes for one layer, or for the output."""
    if slot == len(layout.weights):
        return layout.output + layout.copied
    return layout.weights[slot] + (layout.caches[slot] if how.caches else 0)


def _amounts(
    layout: Layout, rooms: Sequence[Room], how: Offload, at: Assignment, parts: Mapping[int, int] | None = None
) -> Amounts:
    """What is where. `parts`: bytes of a layer's weights that are on a device although the layer isn't."""
    on_host = layout.host
    on = [room.driver for room in rooms]
    for slot, place in enumerate(at):
        if place is None:
            on_host += layout.output if slot == len(layout.weights) else layout.weights[slot] + layout.caches[slot]
        else:
            on[place] += _slot(layout, how, slot)
            if not how.caches and slot < len(layout.caches):
                on_host += layout.caches[slot]
    for place, size in (parts or {}).items():
        on[place] += size
        on_host -= size
    # With no layer on any device a GPU that is the first still computes large batches (ggml-backend.cpp, `op_offload`);
    # a worker elsewhere doesn't (seen with b10068).
    for place in {each for each in at if each is not None} or ({0} if rooms[0].driver else ()):
        on[place] += layout.compute
    if None in at:
        on_host += layout.compute
    if how.projector:
        on[0] += layout.beside
    else:
        on_host += layout.beside
    sizes = {HOST: on_host}
    for room, size in zip(rooms, on, strict=True):
        sizes[room.pool] = sizes.get(room.pool, 0) + size  # a worker on this host may take from a pool of ours
    return Amounts(sizes)


def _fits(sizes: Amounts, rooms: Sequence[Room]) -> bool:
    return all(sizes[room.pool] <= room.usable - MARGIN for room in rooms)


def _smaller(layout: Layout, over: int) -> Layout:
    """With a context that saves so much, or as much as it can."""
    caches = sum(layout.caches)
    kept = caches - min(over, layout.gives, caches)
    ends = [end * kept // caches if caches else 0 for end in accumulate(layout.caches, initial=0)]
    return evolve(layout, caches=tuple(end - start for start, end in pairwise(ends)), gives=0)
