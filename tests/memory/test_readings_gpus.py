"""Devices with a memory of their own: NVIDIA's against a fake binding, AMD's against files as amdgpu writes them."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from llmsup.memory.amounts import ZERO, Amounts
from llmsup.memory.machine import amd
from llmsup.memory.machine.nvidia import open_nvml
from llmsup.memory.machine.reading import Gpu, device_pool
from llmsup.memory.machine.sampler import Gpus
from llmsup.units import Bytes

MiB, GiB = 1024**2, 1024**3


def size(number: int | None) -> Bytes | None:
    return None if number is None else Bytes(number)


def gpu(
    name: str,
    total: int | None = None,
    free: int | None = None,
    shared_total: int | None = None,
    shared_free: int | None = None,
    *,
    source: str,
) -> Gpu:
    """A device from plain numbers."""
    return Gpu(name, size(total), size(free), size(shared_total), size(shared_free), source)


class Refused(Exception):
    """NVMLError."""


class FakeBinding:
    """pynvml, with devices as dicts; a missing value is refused as NVML does."""

    NVMLError = Refused
    nvmlMemory_v2 = 0x2000028  # noqa: N815 -- the binding's name

    def __init__(self, *devices: dict[str, Any], driver: bool = True, second: bool = True) -> None:
        self.devices, self.driver, self.second = devices, driver, second
        self.started = self.asked = 0
        self.go: threading.Event | None = None

    def __call__(self, name: str) -> FakeBinding:
        assert name == "pynvml"
        return self

    def nvmlInit(self) -> None:  # noqa: N802 -- the binding's name
        self.started += 1
        if not self.driver:
            raise Refused("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 -- the binding's name
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802 -- the binding's name
        return self.devices[index]

    def nvmlDeviceGetName(self, device: dict[str, Any]) -> Any:  # noqa: N802 -- the binding's name
        return self._given(device, "name")

    def nvmlDeviceGetMemoryInfo(self, device: dict[str, Any], version: int | None = None) -> Any:  # noqa: N802 -- the binding's name
        self.asked += 1
        if self.go:
            self.go.wait(10)
        if version and not self.second:
            raise Refused("Function Not Found")
        return self._given(device, "memory")

    def nvmlDeviceGetComputeRunningProcesses(self, device: dict[str, Any]) -> Any:  # noqa: N802 -- the binding's name
        return self._given(device, "processes")

    def nvmlDeviceGetGraphicsRunningProcesses(self, device: dict[str, Any]) -> Any:  # noqa: N802 -- the binding's name
        return self._given(device, "drawing")

    def nvmlDeviceGetUUID(self, device: dict[str, Any]) -> Any:  # noqa: N802 -- the binding's name
        return self._given(device, "uuid")

    def _given(self, device: dict[str, Any], key: str) -> Any:
        if key not in device:
            raise Refused("Not Supported")
        return device[key]


def memory(total: int, free: int) -> SimpleNamespace:
    return SimpleNamespace(total=total, free=free, used=total - free)


H200 = {"name": "NVIDIA H200", "memory": memory(150_754_820_096, 150_000_000_000)}
GB10 = {"name": b"NVIDIA GB10"}


@pytest.mark.parametrize("second", [True, False])
def test_nvidia_devices(second: bool) -> None:
    """Both versions of the call; one whose memory is the host's doesn't tell, and is there all the same."""
    nvml = open_nvml(FakeBinding(H200, GB10, second=second))
    assert nvml is not None
    assert nvml.gpus() == (
        gpu("NVIDIA H200", 150_754_820_096, 150_000_000_000, source="nvml"),
        gpu("NVIDIA GB10", source="nvml"),
    )


@pytest.mark.parametrize(
    ("told", "total", "free"),
    [(memory(2**64 - 1, 2**64 - 1), None, None), (memory(0, 0), None, None), (memory(GiB, 0), GiB, 0)],
)
def test_values_that_are_not_available(told: Any, total: int | None, free: int | None) -> None:
    """NVML's mark for them, and a device of no memory, are unknown; a full device is not."""
    nvml = open_nvml(FakeBinding({"name": "x", "memory": told}))
    assert nvml is not None
    assert nvml.gpus() == (gpu("x", total, free, source="nvml"),)


def test_a_device_that_is_lost() -> None:
    """It says nothing any more."""
    nvml = open_nvml(FakeBinding({}))
    assert nvml is not None
    assert nvml.gpus() == (gpu("unknown", source="nvml"),)


def test_what_processes_use_on_each_device() -> None:
    """Summed over the processes asked about; what isn't available (WDDM, a container) adds nothing, and neither does a
    device whose memory is the host's.
    """

    def process(pid: int, used: int | None) -> SimpleNamespace:
        return SimpleNamespace(pid=pid, usedGpuMemory=used)

    first = {**H200, "processes": [process(7, GiB), process(8, None), process(9, MiB), process(10, 5)]}
    nvml = open_nvml(FakeBinding(first, {**GB10, "processes": [process(7, MiB)]}, H200))
    assert nvml is not None
    assert nvml.used_by({7, 8, 9}) == (GiB + MiB, 0, 0)


def test_a_process_that_draws() -> None:
    """Vulkan's are on the other list, or on both with one figure."""

    def process(pid: int, used: int | None) -> SimpleNamespace:
        return SimpleNamespace(pid=pid, usedGpuMemory=used)

    both = {**H200, "processes": [process(7, GiB), process(9, None)], "drawing": [process(7, GiB), process(8, MiB)]}
    nvml = open_nvml(FakeBinding(both, {**H200, "drawing": [process(7, 5)]}))
    assert nvml is not None
    assert nvml.used_by({7, 8, 9}) == (GiB + MiB, 5)


@pytest.mark.parametrize("uuid", ["GPU-5d1c", b"GPU-5d1c"])
def test_what_tells_devices_apart(uuid: object) -> None:
    """Older bindings answer in bytes."""
    nvml = open_nvml(FakeBinding({**H200, "uuid": uuid}))
    assert nvml is not None
    assert [gpu.id for gpu in nvml.gpus()] == ["GPU-5d1c"]


def missing(name: str) -> Any:
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("load", [missing, FakeBinding(H200, driver=False), FakeBinding()])
def test_machines_without(load: Any) -> None:
    """No binding, no driver, no device."""
    assert open_nvml(load) is None


@pytest.mark.parametrize("driver", [True, False])
def test_a_driver_without_the_binding(
    driver: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That models may fill the device unseen is said, with what to install; where there is none, nothing is."""
    file = tmp_path / "version"
    if driver:
        file.touch()
    monkeypatch.setattr("llmsup.memory.machine.nvidia.DRIVER", file)
    assert open_nvml(missing) is None
    assert ("pip install 'llmsup[nvidia]'" in caplog.text) is driver


def card(root: Path, name: str, **values: object) -> None:
    device = root / name / "device"
    device.mkdir(parents=True)
    for key, value in values.items():
        (device / key).write_text(f"{value}\n")


def vram(total: object, used: object) -> dict[str, object]:
    return {"mem_info_vram_total": total, "mem_info_vram_used": used}


def test_amd_devices(tmp_path: Path) -> None:
    """A card, an APU whose models live in the host's memory, and what is none of amdgpu's."""
    card(tmp_path, "card0", **vram(25753026560, 1073741824), mem_info_gtt_total=33554432000, mem_info_gtt_used=1024)
    card(tmp_path, "card1", **vram(536870912, 536870913), product_name="Radeon 8060S")
    card(tmp_path, "card0-HDMI-A-1", **vram(1, 1))
    card(tmp_path, "card2", vendor="0x8086")
    assert [amd.gpu(device) for device in amd.cards(tmp_path)] == [
        gpu("card0", 25753026560, 24679284736, 33554432000, 33554430976, source=f"{tmp_path}/card0/device/mem_info_*"),
        gpu("Radeon 8060S", 536870912, 0, source=f"{tmp_path}/card1/device/mem_info_*"),
    ]
    assert amd.cards(tmp_path / "none") == ()


@pytest.mark.parametrize(("total", "used"), [("", ""), ("N/A", "5"), ("-1", "0"), ("0", "0"), ("9" * 40, "1")])
def test_amd_values_that_are_not_understood(tmp_path: Path, total: str, used: str) -> None:
    """They are unknown."""
    card(tmp_path, "card0", **vram(total, used))
    (device,) = amd.cards(tmp_path)
    assert (amd.gpu(device).total, amd.gpu(device).free) == (None, None)


def test_amd_use_that_is_not_told(tmp_path: Path) -> None:
    """The total is, and what is free isn't zero."""
    card(tmp_path, "card0", **vram(GiB, ""))
    (device,) = amd.cards(tmp_path)
    assert (amd.gpu(device).total, amd.gpu(device).free) == (GiB, None)


async def test_all_of_them_together(tmp_path: Path) -> None:
    """NVML is started once."""
    card(tmp_path, "card0", **vram(GiB, 0))
    binding = FakeBinding(H200)
    gpus = Gpus(cards=amd.cards(tmp_path), load=binding)
    first = await gpus.read()
    assert first is not None
    assert [one.name for one in first] == ["card0", "NVIDIA H200"]
    assert await gpus.read() == first
    assert binding.started == 1


async def test_what_an_engine_has_on_which_device(tmp_path: Path) -> None:
    """By the place that the device has in the reading."""
    card(tmp_path, "card0", **vram(GiB, 0))
    busy = {**H200, "processes": [SimpleNamespace(pid=7, usedGpuMemory=GiB)]}
    gpus = Gpus(cards=amd.cards(tmp_path), load=FakeBinding(H200, busy))
    assert await gpus.used_by({7}) == Amounts({device_pool(2): GiB})
    assert await gpus.used_by({8}) == ZERO
    assert await Gpus(cards=(), load=missing).used_by({7}) == ZERO


FDINFO = """pos:\t0
flags:\t02100002
mnt_id:\t27
ino:\t1096
drm-driver:\tamdgpu
drm-client-id:\t{client}
drm-pdev:\t{place}
pasid:\t32780
drm-total-cpu:\t0 KiB
drm-total-vram:\t{vram} KiB
drm-resident-vram:\t{vram} KiB
drm-memory-vram:\t{vram} KiB
drm-memory-gtt: \t1024 KiB
drm-engine-compute:\t118320 ns
"""
"""As amdgpu of Linux 6.13 writes it (Documentation/gpu/drm-usage-stats.rst, amdgpu_fdinfo.c)."""


def process_with(root: Path, pid: int, **files: tuple[str, str]) -> None:
    """A process with these files: where each leads, and what the kernel says of it."""
    for number, (where, said) in files.items():
        for folder in ("fd", "fdinfo"):
            (root / str(pid) / folder).mkdir(parents=True, exist_ok=True)
        (root / str(pid) / "fd" / number.removeprefix("n")).symlink_to(where)
        (root / str(pid) / "fdinfo" / number.removeprefix("n")).write_text(said)


def test_what_processes_use_of_amds_devices(tmp_path: Path) -> None:
    """Of each client once, whatever files it has, in whichever process; other devices and other files don't count."""
    devices: list[Path] = []
    for place in ("0000:03:00.0", "0000:0b:00.0"):
        (tmp_path / "pci" / place).mkdir(parents=True)
        link = tmp_path / "drm" / f"card{len(devices)}" / "device"
        link.parent.mkdir(parents=True)
        link.symlink_to(tmp_path / "pci" / place)
        devices.append(link)

    def first(client: int, kib: int) -> tuple[str, str]:
        return "/dev/dri/renderD128", FDINFO.format(client=client, place="0000:03:00.0", vram=kib)

    def second(client: int, kib: int) -> tuple[str, str]:
        return "/dev/dri/renderD129", FDINFO.format(client=client, place="0000:0b:00.0", vram=kib)

    proc = tmp_path / "proc"
    process_with(proc, 7, n3=first(1, 2048), n4=first(1, 2048), n5=second(2, 512), n6=("/dev/null", FDINFO))
    process_with(proc, 8, n3=first(1, 2048), n4=first(3, 1024))
    process_with(proc, 9, n3=first(9, 4096))
    assert amd.used_by({7, 8, 10}, devices, proc) == (3 * MiB, MiB // 2)
    assert amd.used_by({7}, (tmp_path / "elsewhere",), proc) == (0,)
    assert amd.gpu(devices[0]).id == "0000:03:00.0"


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("drm-memory-vram:\t3 MiB", 3 * MiB),
        ("drm-resident-vram:\t4096", 4096),
        ("drm-memory-vram:\t-3 KiB", 0),
        ("drm-memory-vram:\t3 furlongs", 0),
        ("drm-memory-vram:\t" + "9" * 40 + " KiB", 0),
        ("", 0),
    ],
)
def test_what_drivers_write(tmp_path: Path, line: str, size: int) -> None:
    """In any unit of the document; what isn't understood counts as nothing. Older ones only know the older name."""
    (tmp_path / "0000:03:00.0").mkdir()
    said = f"drm-driver:\tamdgpu\ndrm-client-id:\t1\ndrm-pdev:\t0000:03:00.0\n{line}\n"
    process_with(tmp_path / "proc", 7, n3=("/dev/dri/renderD128", said))
    assert amd.used_by({7}, (tmp_path / "0000:03:00.0",), tmp_path / "proc") == (size,)


async def test_a_machine_with_neither() -> None:
    """No devices is an answer: there are none."""
    gpus = Gpus(cards=(), load=missing)
    assert await gpus.read() == ()
    assert await gpus.read() == ()


async def test_a_driver_that_hangs_does_not_hang_us() -> None:
    """Unknown while it does, without another thread that hangs too; then it is asked again."""
    binding = FakeBinding(H200)
    binding.go = threading.Event()
    gpus = Gpus(cards=(), load=binding, patience=0.05)
    with trio.fail_after(5):
        assert await gpus.read() is None
        assert await gpus.read() is None
        assert binding.asked == 1
        binding.go.set()
        while await gpus.read() is None:
            await trio.lowlevel.checkpoint()
    assert await gpus.read() == (gpu("NVIDIA H200", 150_754_820_096, 150_000_000_000, source="nvml"),)
