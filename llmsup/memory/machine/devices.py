"""The devices that an engine computes on, as `llama-server --list-devices` names them.

It does not know which of them a model will use. On a Mac the total of the Metal device is what the GPU may wire (its
`recommendedMaxWorkingSetSize`), which differs with the model and the release of macOS and is told nowhere else; what it
calls free is what the asking process has left of that, so it is of no use to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import frozen

from ...process.inheritance import Inheritance
from ...process.programs import run
from ...units import Bytes, Seconds

MiB = 1024**2

# llama.cpp common/arg.cpp: printf("  %s: %s (%zu MiB, %zu MiB free)\n", ...). A device may have ")" or ":" in its name.
_LINE = re.compile(r"^[ \t]{1,8}([A-Za-z][\w.-]{0,31}): (.{1,200}) \(([0-9]{1,12}) MiB, ([0-9]{1,12}) MiB free\)\s*$")
_METAL = re.compile(r"(MTL|Metal)\d*")  # the older spelling was "Metal" alone


@frozen
class Device:
    """One device.

    Attributes:
        id: What `--device` calls it: "CUDA0", "MTL0".
        name: What it is.
        total: In bytes; None for one that has no memory of its own (BLAS says 0).
        free: In bytes, as seen by the process that was asked.
    """

    id: str
    name: str
    total: Bytes | None = None
    free: Bytes | None = None

    @property
    def metal(self) -> bool:
        """Whether it is a Mac's GPU."""
        return _METAL.fullmatch(self.id) is not None


def parse_devices(text: str) -> tuple[Device, ...]:
    """The devices of such a list; whatever else a build prints around it is passed over."""
    found: dict[str, Device] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            total, free = int(match[3]) * MiB, int(match[4]) * MiB
            device = Device(match[1], match[2], Bytes(total), Bytes(free)) if total else Device(match[1], match[2])
            found.setdefault(device.id, device)
    return tuple(found.values())


def working_set(devices: Iterable[Device]) -> Bytes | None:
    """What a Mac's GPU may wire of the host's memory, in bytes; None where there is no such device."""
    return next((device.total for device in devices if device.metal), None)


async def list_devices(
    command: Sequence[str], *, timeout: Seconds = Seconds(20), inheritance: Inheritance | None = None
) -> tuple[Device, ...]:
    """Ask a llama-server. Its GPU libraries take a while when they are cold.

    Args:
        command: The binary, and any arguments that it always gets.

    Raises:
        SetupError: It can't be run, failed, or took too long.
    """
    argv = (*command, "--list-devices")
    env = None if inheritance is None else inheritance.environment()
    output = await run(argv, name=" ".join(argv), timeout=timeout, env=env)
    return parse_devices(output.decode(errors="replace"))
