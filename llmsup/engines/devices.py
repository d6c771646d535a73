"""The devices that an engine can compute on, as `llama-server --list-devices` names them.

On a Mac the Metal device's total is what the GPU may wire (its `recommendedMaxWorkingSetSize`). It differs with the
Mac's model and the release of macOS, and is available nowhere else. Its "free" is what the asking process has left of
that, so it means nothing to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from ..process.inheritance import Inheritance
from ..process.programs import run
from ..units import Bytes, Seconds, format_bytes

LIST_DEVICES = "--list-devices"

MiB = 1024**2

# llama.cpp common/arg.cpp: printf("  %s: %s (%zu MiB, %zu MiB free)\n", ...). A device may have ")" or ":" in its name.
_LINE = re.compile(r"^[ \t]{1,8}([A-Za-z][\w.-]{0,31}): (.{1,200}) \(([0-9]{1,12}) MiB, ([0-9]{1,12}) MiB free\)\s*$")
_METAL = re.compile(r"(MTL|Metal)\d*")  # the older spelling was "Metal" alone


@frozen
class Device:
    """One device.

    Attributes:
        id: What `--device` calls it: "CUDA0", "MTL0".
        name: The product's name.
        total: In bytes; None for a device without its own memory (BLAS reports 0).
        free: In bytes, as seen by the process that was asked.
    """

    id: str
    name: str
    total: Bytes | None = None
    free: Bytes | None = None

    def __str__(self) -> str:
        return f"{self.id} ({self.name}{f', {format_bytes(self.total)}' if self.total else ''})"

    @property
    def metal(self) -> bool:
        """Whether it is a Mac's GPU."""
        return _METAL.fullmatch(self.id) is not None


def parse_devices(text: str) -> tuple[Device, ...]:
    """Parse such a list; whatever else a build prints around it is skipped."""
    found: dict[str, Device] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            total, free = int(match[3]) * MiB, int(match[4]) * MiB
            device = Device(match[1], match[2], Bytes(total), Bytes(free)) if total else Device(match[1], match[2])
            found.setdefault(device.id, device)
    return tuple(found.values())


def working_set(devices: Iterable[Device]) -> Bytes | None:
    """What a Mac's GPU may wire of the host's memory, in bytes; None if there is no such device."""
    return next((device.total for device in devices if device.metal), None)


CUDA_ORDER = "CUDA_DEVICE_ORDER"
"""By default CUDA counts devices from the fastest to the slowest, by a heuristic of its own; with PCI_BUS_ID as NVML,
`nvidia-smi` and llmsup do (NVIDIA's CUDA Programming Guide, "CUDA Environment Variables").
"""


def ordered(names: Iterable[str], *environments: Mapping[str, str]) -> dict[str, str]:
    """What to add to an engine's environment so that the devices named in a config are those that `nvidia-smi` shows
    under these numbers; nothing if none is CUDA's, or the user has set that.
    """
    if not any(name.startswith("CUDA") for name in names) or any(CUDA_ORDER in each for each in environments):
        return {}
    return {CUDA_ORDER: "PCI_BUS_ID"}


async def list_devices(
    command: Sequence[str],
    *,
    timeout: Seconds = Seconds(20),
    inheritance: Inheritance | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[Device, ...]:
    """Ask a llama-server. Its GPU libraries take a while when they are cold.

    Args:
        command: The binary, with any arguments that are always passed.
        env: What to add to its environment.

    Raises:
        SetupError: It can't be run, failed, or took too long.
    """
    argv = (*command, LIST_DEVICES)
    inherited = (inheritance or Inheritance()).environment()
    output = await run(argv, name=" ".join(argv), timeout=timeout, env={**inherited, **(env or {})})
    return parse_devices(output.decode(errors="replace"))
