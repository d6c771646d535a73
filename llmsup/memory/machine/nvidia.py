"""NVIDIA's devices, through NVML and its Python binding (nvidia-ml-py, optional)."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ...units import Bytes
from .reading import Gpu

log = logging.getLogger(__name__)

SOURCE = "nvml"

DRIVER = Path("/proc/driver/nvidia/version")
"""There where NVIDIA's driver is loaded."""

UNREAD = (
    "this machine has an NVIDIA device, but its memory can't be read, so nothing keeps models from filling it: "
    "pip install 'llmsup[nvidia]'"
)

_NOT_AVAILABLE = 2**64 - 1  # nvml.h: NVML_VALUE_NOT_AVAILABLE, as an unsigned number


class Nvml:
    """A session with NVML. Its calls may block while the driver wakes a device up: not for the event loop."""

    def __init__(self, library: Any, handles: tuple[Any, ...]) -> None:
        self._library = library
        self._handles = handles

    def gpus(self) -> tuple[Gpu, ...]:
        """Every device; the sizes are None where a device doesn't report them (GB10, Jetson: memory is the host's)."""
        return tuple(map(self._gpu, self._handles))

    def used_by(self, pids: Collection[int]) -> tuple[Bytes, ...]:
        """What some processes use together on each device, in bytes; 0 where NVML doesn't report it, and on a device
        whose memory is the host's.
        """
        return tuple(self._used(handle, pids) if self._gpu(handle).total else Bytes(0) for handle in self._handles)

    def _used(self, handle: Any, pids: Collection[int]) -> Bytes:
        """A process that computes and draws (Vulkan does both) is on both lists with the same figure."""
        used = dict[int, int]()
        for question in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            for process in self._ask(question, handle) or ():
                if process.pid in pids:
                    used[process.pid] = max(used.get(process.pid, 0), _size(process.usedGpuMemory) or 0)
        return Bytes(sum(used.values()))

    def _gpu(self, handle: Any) -> Gpu:
        name = self._ask("nvmlDeviceGetName", handle)
        # The second version reports the driver's own reserve separately; older drivers only have the first, with the
        # same figure for free memory.
        memory = self._ask("nvmlDeviceGetMemoryInfo", handle, self._library.nvmlMemory_v2)
        memory = memory or self._ask("nvmlDeviceGetMemoryInfo", handle)
        total = _size(getattr(memory, "total", None)) or None
        free = None if total is None else _size(getattr(memory, "free", None))
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name or "unknown")
        uuid = self._ask("nvmlDeviceGetUUID", handle) or ""
        return Gpu(text, total, free, source=SOURCE, id=uuid.decode() if isinstance(uuid, bytes) else str(uuid))

    def _ask(self, function: str, *arguments: Any) -> Any:
        """A call's result; None if it fails: not supported, no permission, the device fell off the bus."""
        try:
            return getattr(self._library, function)(*arguments)
        except self._library.NVMLError:
            return None


def open_nvml(load: Callable[[str], Any] = importlib.import_module) -> Nvml | None:
    """Initialise NVML; None if the binding isn't installed, or there is no driver or no device."""
    try:
        library = load("pynvml")
    except ImportError:
        if DRIVER.exists():
            log.warning("%s", UNREAD)
        return None
    try:
        library.nvmlInit()
        handles = tuple(library.nvmlDeviceGetHandleByIndex(n) for n in range(library.nvmlDeviceGetCount()))
    except library.NVMLError:
        return None
    return Nvml(library, handles) if handles else None


def _size(value: Any) -> Bytes | None:
    return Bytes(value) if type(value) is int and 0 <= value < _NOT_AVAILABLE else None
