"""What an engine costs: by its own log lines, and by what the system counts."""

from __future__ import annotations

import random

import pytest

from llmsup.config.schema import MiB
from llmsup.memory.buffers import Buffers
from llmsup.memory.footprints import Footprint
from llmsup.memory.meter import Meter
from llmsup.units import Bytes

# As llama.cpp 10068 and others print them; the prefix differs between builds and settings.
LINES = {
    "0.00.532.919 I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB": (92.10, 0),
    "load_tensors: MTL0_Mapped model buffer size =  4403.49 MiB": (4403.49, 0),
    "load_tensors:        CUDA0 model buffer size =  3577.56 MiB": (0, 3577.56),
    "load_tensors:    Vulkan0 model buffer size =  3577.56 MiB": (0, 3577.56),
    "0.00.535.635 I llama_context:        CPU  output buffer size =     0.19 MiB": (0, 0.19),
    "llama_kv_cache:       MTL0 KV buffer size =   512.00 MiB": (0, 512),
    "llama_kv_cache_unified:      CUDA0 KV buffer size =  4096.00 MiB": (0, 4096),
    "llama_memory_recurrent:        CPU RS buffer size =     7.50 MiB": (0, 7.5),
    "sched_reserve:  CUDA_Host compute buffer size =    16.01 MiB": (0, 16.01),
}


@pytest.mark.parametrize("line", LINES)
def test_the_lines_of_many_back_ends(line: str) -> None:
    """What is mapped is told apart from what is the engine's own."""
    buffers = Buffers()
    buffers.line(line)
    mapped, own = LINES[line]
    assert (buffers.mapped, buffers.own) == (round(mapped * MiB), round(own * MiB))
    assert buffers.known


@pytest.mark.parametrize(
    "line",
    [
        "",
        "buffer size",
        "load_tensors: CPU model buffer size = lots MiB",
        "load_tensors: CPU model buffer size = 99999999999999.00 MiB",
        "x: y model buffer size = -1.00 MiB",
        "slot print_timing: id 0 | prompt eval time = 216.69 ms",
    ],
)
def test_other_lines_are_nothing(line: str) -> None:
    """Nor is rubbish."""
    buffers = Buffers()
    buffers.line(line)
    assert not buffers.known
    assert (buffers.mapped, buffers.own) == (0, 0)


def test_the_last_word_on_a_buffer_counts() -> None:
    """`--fit` tries several sizes out."""
    buffers = Buffers()
    for size in (900, 700, 500):
        buffers.line(f"llama_kv_cache: CUDA0 KV buffer size = {size}.00 MiB")
    buffers.line("llama_kv_cache: CPU KV buffer size = 10.00 MiB")
    assert buffers.own == 510 * MiB


def test_an_engine_that_writes_for_ever_is_bounded() -> None:
    """A million made-up devices are no memory leak."""
    buffers, dice = Buffers(), random.Random(1)  # noqa: S311 -- a test's
    for _ in range(5000):
        buffers.line(f"a: D{dice.randrange(10**9)} KV buffer size = 1.00 MiB")
    assert buffers.own <= 1000 * MiB


def footprint(held: int, droppable: int | None = None) -> Footprint:
    return Footprint(Bytes(held * MiB), None if droppable is None else Bytes(droppable * MiB))


def test_nothing_is_known_before_the_first_look() -> None:
    """Not 0."""
    meter = Meter()
    meter.line("llama_kv_cache: CPU KV buffer size = 10.00 MiB")
    assert (meter.cost, meter.freeable, meter.peak) == (None, None, None)


def test_the_highest_counts_and_what_it_has_now_comes_back() -> None:
    """What prompts took once they take again."""
    meter = Meter()
    for held in (100, 300, 200):
        meter.saw(footprint(held, 50))
    assert (meter.cost, meter.freeable) == (350 * MiB, 200 * MiB)


def test_the_engines_word_counts_if_it_is_the_higher_one() -> None:
    """Pages that were promised to it and never touched."""
    meter = Meter()
    meter.line("llama_kv_cache: CPU KV buffer size = 500.00 MiB")
    meter.saw(footprint(100, 50))
    assert meter.cost == 550 * MiB
    meter.saw(footprint(700, 50))
    assert meter.cost == 750 * MiB


def test_a_file_that_is_shared_counts_in_parts_now_and_whole_the_next_time() -> None:
    """The system divides it between those who have it mapped; the next time it may be alone."""
    meter = Meter()
    meter.line("load_tensors: CPU_Mapped model buffer size = 92.00 MiB")
    meter.saw(footprint(100, 46))
    assert (meter.cost, meter.peak) == (146 * MiB, 192 * MiB)


def test_a_mac_does_not_tell_of_mapped_files() -> None:
    """Then the engine's own word on them counts."""
    meter = Meter()
    meter.line("load_tensors: MTL0_Mapped model buffer size = 4000.00 MiB")
    meter.saw(footprint(600))
    assert (meter.cost, meter.freeable, meter.peak) == (4600 * MiB, 600 * MiB, 4600 * MiB)


def test_a_gpus_memory_is_its_own() -> None:
    """Where somebody can tell how much it has there."""
    meter = Meter()
    meter.saw(footprint(100, 0), gpu=Bytes(900 * MiB))
    assert (meter.cost, meter.freeable) == (1000 * MiB, 1000 * MiB)
