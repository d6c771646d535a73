"""Which memory "CUDA1" is: by what an engine lists, what drivers tell, and what the environment hides."""

from __future__ import annotations

import pytest

from llmsup.engines.devices import Device
from llmsup.memory.machine.device_names import pools_by_name, pools_of
from llmsup.memory.machine.reading import Gpu
from llmsup.units import Bytes

MiB, GiB = 1024**2, 1024**3


def nvidia(name: str, mib: int | None, uuid: str = "") -> Gpu:
    return Gpu(name, None if mib is None else Bytes(mib * MiB), source="nvml", id=uuid)


def amd(mib: int) -> Gpu:
    return Gpu("card1", Bytes(mib * MiB), source="/sys/class/drm/card1/device/mem_info_*")


def listed(id_: str, name: str, mib: int) -> Device:
    return Device(id_, name, Bytes(mib * MiB), Bytes(mib * MiB)) if mib else Device(id_, name)


L4, T4, SECOND_L4 = (
    nvidia("NVIDIA L4", 23034, "GPU-aa11"),
    nvidia("NVIDIA T4", 15360, "GPU-bb22"),
    nvidia("NVIDIA L4", 23034),
)


def test_by_name_whatever_the_order() -> None:
    """CUDA may count from the fastest; drivers don't agree on sizes to the byte."""
    found = (listed("CUDA0", "NVIDIA L4", 22565), listed("CUDA1", "NVIDIA T4", 14913))
    assert pools_by_name(found, (T4, L4), {}) == {"CUDA0": "gpu1", "CUDA1": "gpu0"}


def test_those_that_are_alike_go_by_order() -> None:
    two = (listed("CUDA0", "NVIDIA L4", 22565), listed("CUDA1", "NVIDIA L4", 22565))
    assert pools_by_name(two, (L4, SECOND_L4), {}) == {"CUDA0": "gpu0", "CUDA1": "gpu1"}


def test_amd_goes_by_size() -> None:
    """Its driver often doesn't know a name; other vendors' devices don't count."""
    found = (listed("ROCm0", "AMD Radeon RX 7900 XTX", 24560), listed("ROCm1", "AMD Radeon RX 6600", 8176))
    cards = (amd(8176), nvidia("NVIDIA RTX", 24564), amd(24560))
    assert pools_by_name(found, cards, {}) == {"ROCm0": "gpu2", "ROCm1": "gpu0"}


def test_two_backends_for_one_device() -> None:
    """They are one memory."""
    found = (
        listed("CUDA0", "NVIDIA L4", 22565),
        listed("Vulkan0", "NVIDIA L4", 23034),
        listed("Vulkan1", "llvmpipe", 9),
    )
    names = pools_by_name(found, (L4,), {})
    assert names == {"CUDA0": "gpu0", "Vulkan0": "gpu0"}
    assert pools_of(None, names) == ("gpu0",)
    assert pools_of(("Vulkan0", "CUDA9"), names) == ("gpu0",)
    assert pools_of((), names) == ()


@pytest.mark.parametrize(
    "device",
    [
        listed("BLAS", "Accelerate", 0),
        listed("MTL0", "Apple M5 Pro", 53084),
        listed("RPC0", "127.0.0.1:50052", 23034),
        listed("Vulkan0", "AMD Radeon Graphics (RADV)", 16000),
        listed("0", "NVIDIA L4", 23034),
    ],
)
def test_what_has_no_memory_of_its_own_here(device: Device) -> None:
    """A Mac's GPU, a worker elsewhere, an integrated one, whose memory is the host's."""
    assert pools_by_name((device,), (L4, amd(512)), {}) == {}


def test_unified_memory() -> None:
    """GB10 and Jetson don't tell a size: the host's memory counts."""
    spark = nvidia("NVIDIA GB10", None)
    assert pools_by_name((listed("CUDA0", "NVIDIA GB10", 122000),), (spark,), {}) == {}
    assert pools_by_name(None, (spark,), {}) == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", {"CUDA0": "gpu1"}),
        ("1,0", {"CUDA0": "gpu1", "CUDA1": "gpu0"}),
        ("GPU-bb", {"CUDA0": "gpu1"}),
        (" 1 , 7, 0", {"CUDA0": "gpu1"}),
        ("-1", {}),
        ("", {}),
        ("MIG-1", {}),
    ],
)
def test_hidden_devices(value: str, expected: dict[str, str]) -> None:
    """As CUDA reads the variable: what follows something wrong is ignored."""
    assert pools_by_name(None, (L4, T4), {"CUDA_VISIBLE_DEVICES": value}) == expected


def test_hidden_devices_of_amd() -> None:
    """One variable after the other; HIP takes CUDA's only without its own."""
    cards = (amd(8176), amd(16368), amd(24560))
    assert pools_by_name(None, cards, {"ROCR_VISIBLE_DEVICES": "1,2", "HIP_VISIBLE_DEVICES": "1"}) == {"ROCm0": "gpu2"}
    assert pools_by_name(None, cards, {"CUDA_VISIBLE_DEVICES": "2"}) == {"ROCm0": "gpu2"}
    both = {"CUDA_VISIBLE_DEVICES": "2", "HIP_VISIBLE_DEVICES": "0"}
    assert pools_by_name(None, cards, both) == {"ROCm0": "gpu0"}


def test_an_engine_that_lists_nothing_has_no_devices() -> None:
    """A build for the CPU, on a machine with a GPU."""
    assert pools_by_name((), (L4,), {}) == {}
    assert pools_by_name(None, (L4,), {}) == {"CUDA0": "gpu0"}
