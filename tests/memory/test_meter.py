"""What one running engine costs, by what it said and what was seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.amounts import Amounts
from llmsup.memory.cost.meter import Meter
from llmsup.memory.cost.process import Footprint
from llmsup.units import Bytes

MiB = 1024**2
SIZES = st.integers(0, 2**40)


def seen(held: float, droppable: float | None = None) -> Footprint:
    """In MiB."""
    return Footprint(Bytes(round(held * MiB)), None if droppable is None else Bytes(round(droppable * MiB)))


def told(*lines: str) -> Meter:
    meter = Meter()
    for line in lines:
        meter.line(line)
    return meter


def mib(size: Bytes | None) -> float | None:
    return None if size is None else size / MiB


MAPPED = "load_tensors: CPU_Mapped model buffer size = 100.00 MiB"
CACHE = "llama_kv_cache: CPU KV buffer size = 300.00 MiB"


def test_before_the_first_measurement() -> None:
    """Nothing is known, whatever the engine has said of itself: it may not have got that far."""
    meter = told(MAPPED, CACHE)
    assert (meter.cost, meter.freeable, meter.peak) == (None, None, None)


def test_what_it_holds_and_what_it_has_mapped() -> None:
    """Both count under the ceiling; only the first comes back."""
    meter = told()
    meter.saw(seen(50, 90))
    assert (mib(meter.cost), mib(meter.freeable), mib(meter.peak)) == (140, 50, 140)


def test_weights_that_were_read_or_locked_come_back_with_the_rest() -> None:
    """The system calls locked pages of a file the file's, but can't drop them."""
    meter = told(MAPPED, CACHE)
    meter.private = True
    meter.saw(seen(350, 90))
    assert (mib(meter.cost), mib(meter.freeable), mib(meter.peak)) == (440, 440, 440)


def test_what_neither_the_log_nor_the_system_tells_is_what_should_be_mapped() -> None:
    """A Mac with a build that says nothing of its buffers: `phys_footprint` lacks mapped files."""
    meter = told()
    meter.file = 100 * MiB
    meter.saw(seen(50))
    assert (mib(meter.cost), mib(meter.freeable), mib(meter.peak)) == (150, 50, 150)
    meter.private = True
    assert (mib(meter.cost), mib(meter.peak)) == (50, 50), "what was read is in its own memory"
    spoke = told(CACHE)
    spoke.file = 100 * MiB
    spoke.saw(seen(350))
    assert mib(spoke.cost) == 350, "it has told of its buffers, and none is mapped"


def test_how_the_weights_were_loaded_is_in_the_log() -> None:
    assert told(MAPPED, CACHE).buffers.mode == "mmap"
    assert told("load_tensors: CPU model buffer size = 100.00 MiB").buffers.mode == "read"
    assert told(CACHE).buffers.mode == ""


def test_the_highest_counts() -> None:
    """What it took once it takes again; what comes back is what it has now."""
    meter = told()
    for held in (50, 400, 70):
        meter.saw(seen(held, 90))
    assert (mib(meter.cost), mib(meter.freeable), mib(meter.peak)) == (490, 70, 490)


def test_a_cache_that_was_promised_and_not_touched_yet() -> None:
    """The engine's own word counts if it is the higher one; nothing of that would come back yet."""
    meter = told(MAPPED, CACHE)
    meter.saw(seen(20, 90))
    assert (mib(meter.cost), mib(meter.freeable), mib(meter.peak)) == (390, 20, 400)


def test_a_file_that_two_share() -> None:
    """Now it costs this one the half; for the next time, when it may be alone, the whole."""
    meter = told()
    meter.saw(seen(50, 90))
    meter.saw(seen(50, 45))
    assert (mib(meter.cost), mib(meter.peak)) == (95, 140)


def test_where_the_system_does_not_tell_of_files() -> None:
    """macOS: what the engine says that it has mapped."""
    meter = told("load_tensors: MTL0_Mapped model buffer size = 4403.50 MiB")
    meter.saw(seen(200))
    assert (mib(meter.cost), mib(meter.freeable)) == (4603.5, 200)


def test_a_measurement_that_once_lacks_the_files() -> None:
    """They are taken to be what they were."""
    meter = told()
    meter.saw(seen(50, 90))
    meter.saw(seen(60))
    assert mib(meter.cost) == 150


def test_a_gpu_with_a_memory_of_its_own() -> None:
    """It is held like the rest; where it can't be measured, the engine's word stands in for it."""
    meter = told()
    meter.saw(seen(50, 0), Amounts({"gpu0": 1000 * MiB}))
    assert (mib(meter.cost), mib(meter.freeable)) == (1050, 1050)
    meter = told("llama_kv_cache: CUDA0 KV buffer size = 900.00 MiB")
    meter.saw(seen(50, 0))
    assert mib(meter.cost) == 900


@given(st.lists(st.tuples(SIZES, st.none() | SIZES, st.none() | SIZES), min_size=1), st.booleans())
def test_what_holds_of_any_life(looks: list[tuple[int, int | None, int | None]], told_of_buffers: bool) -> None:
    """What comes back is part of the cost, the cost is at most the peak, and the peak never shrinks."""
    meter, peak = told(*([MAPPED, CACHE] if told_of_buffers else [])), 0
    for held, droppable, gpu in looks:
        part = None if droppable is None else Bytes(droppable)
        meter.saw(Footprint(Bytes(held), part), Amounts({"gpu0": gpu or 0}))
        assert meter.freeable is not None
        assert meter.cost is not None
        assert meter.peak is not None
        assert meter.freeable == held + (gpu or 0)
        assert meter.freeable <= meter.cost <= meter.peak
        assert meter.peak >= peak
        peak = meter.peak


ON_DEVICES = (
    "load_tensors: CPU_Mapped model buffer size = 100.00 MiB",
    "load_tensors: CUDA0 model buffer size = 4000.00 MiB",
    "llama_kv_cache: CUDA0 KV buffer size = 500.00 MiB",
    "llama_kv_cache: CUDA1 KV buffer size = 300.00 MiB",
    "sched_reserve: CUDA_Host compute buffer size = 10.00 MiB",
)


def test_where_a_driver_does_not_tell_the_log_does() -> None:
    """In a container NVML's numbers of processes aren't ours. What is pinned for the device is the host's."""
    meter = told(*ON_DEVICES)
    meter.pools = {"CUDA0": "gpu1", "CUDA1": "gpu0"}
    meter.saw(seen(60, 90), Amounts())
    assert meter.devices == Amounts({"gpu1": 4500 * MiB, "gpu0": 300 * MiB})
    assert mib(meter.freeable) == 4860
    meter.saw(seen(60, 90), Amounts({"gpu1": 4900 * MiB}))
    assert meter.devices == Amounts({"gpu1": 4900 * MiB, "gpu0": 300 * MiB})
    meter.saw(seen(60, 90), None)
    assert meter.devices == Amounts({"gpu1": 4900 * MiB, "gpu0": 300 * MiB}), "a driver that hangs changes nothing"


def test_devices_whose_memory_is_the_hosts() -> None:
    """There is no pool for them: nothing is counted twice."""
    meter = told(*ON_DEVICES)
    meter.saw(seen(4900, 90), Amounts())
    assert meter.devices == Amounts()
    assert mib(meter.freeable) == 4900


WORKERS = """\
load_tensors:   CPU_Mapped model buffer size =    28.69 MiB
load_tensors: RPC0[127.0.0.1:50917] model buffer size =    60.00 MiB
load_tensors: RPC1[127.0.0.1:50917] model buffer size =    32.00 MiB
load_tensors: RPC2[[::1]:50052] model buffer size =     8.00 MiB
llama_kv_cache: RPC0[127.0.0.1:50917] KV buffer size =    11.25 MiB
sched_reserve: RPC0[127.0.0.1:50917] compute buffer size =    12.75 MiB
sched_reserve:        CPU compute buffer size =     2.75 MiB
"""
"""As b10068 writes it with one worker; the other devices are made."""


def test_what_is_on_workers() -> None:
    """By their addresses, all devices of one together; it is part of the model's cost, though not of its process."""
    meter = Meter(workers={"127.0.0.1:50917": "rpc:box", "[::1]:50052": "rpc:near"})
    for line in WORKERS.splitlines():
        meter.line(line)
    meter.saw(Footprint(Bytes(50 * MiB), Bytes(28 * MiB)))
    there = Amounts({"rpc:box": 116 * MiB, "rpc:near": 8 * MiB})
    assert meter.devices == there
    assert meter.freeable == 50 * MiB + there.total
    meter.saw(Footprint(Bytes(60 * MiB), Bytes(28 * MiB)), Amounts({"gpu0": 5 * MiB}))
    assert meter.devices == there + Amounts({"gpu0": 5 * MiB})
    meter.saw(Footprint(Bytes(60 * MiB), Bytes(28 * MiB)), None)
    assert meter.devices == there + Amounts({"gpu0": 5 * MiB})
    assert meter.cost == (60 + 28 + 5) * MiB + there.total
