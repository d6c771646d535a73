"""One reading of the machine's memory. What is unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from attrs import Factory, frozen

from ...units import Bytes

Level = Literal["normal", "warn", "critical"]


@frozen
class Stall:
    """How much of the time tasks waited for memory (Linux Documentation/accounting/psi.rst).

    Attributes:
        avg10: In percent, over the last 10 s.
        avg60: In percent, over the last minute.
        avg300: In percent, over the last five minutes.
        total_us: Microseconds since boot.
    """

    avg10: float
    avg60: float
    avg300: float
    total_us: int


@frozen
class Gpu:
    """The memory of one device.

    Attributes:
        name: As its driver calls it.
        total: In bytes.
        free: In bytes.
        shared_total: Host memory that it may use as well, in bytes (AMD's GTT).
        shared_free: What is left of that, in bytes.
        source: Where the values come from.
        id: What tells it from others of its name: NVML's UUID, AMD's place on the PCI bus; "" if unknown.
    """

    name: str
    total: Bytes | None = None
    free: Bytes | None = None
    shared_total: Bytes | None = None
    shared_free: Bytes | None = None
    source: str = ""
    id: str = ""

    @property
    def own(self) -> bool:
        """Whether its memory is one for models. An integrated one has a corner of the host's, if any, and engines use
        the host's itself.
        """
        return self.total is not None and self.total >= INTEGRATED


INTEGRATED = Bytes(1024**3)
"""A device with less than this many bytes is taken for an integrated one (Ollama's discover/amd_linux.go does so)."""

_DEVICE = "gpu"


def device_pool(number: int) -> str:
    """The pool that is the memory of a device, by its place in `Reading.gpus`."""
    return f"{_DEVICE}{number}"


def is_device(pool: str) -> bool:
    """Whether a pool is the memory of a device of this machine."""
    return pool.startswith(_DEVICE)


@frozen(kw_only=True)
class Reading:
    """One reading. Sizes are in bytes, rates in bytes a second.

    Attributes:
        total: This machine's memory, or our control group's limit.
        own_group: Whether that is the limit of our own control group, in which nothing else runs.
        available: What can be allocated now without swapping; in a control group, no more than is left there.
        level: The system's own word for the state: only macOS and a probe have one.
        some: Stalls of at least one task.
        full: Stalls of all tasks at once.
        swap_total: Size of the swap space.
        swap_free: What is left of that.
        swapped_out: What was written there since boot.
        compressed: What the compressed pages take now (macOS).
        swap_out_rate: How fast `swapped_out` grew since the last reading; None for the first.
        compressor_rate: How fast `compressed` grew since the last reading; negative if it shrank.
        gpu_limit: What the GPU may wire of the host's memory, if the user has set that (macOS).
        gpus: Devices with their own memory; None if they can't be read at the moment.
        oom_kills: How many processes of our control group, or else of the machine, were killed for lack of memory.
        sources: Where each of the above comes from.
        raw: All raw values, in the system's own form, by where they were read.
    """

    total: Bytes | None = None
    own_group: bool = False
    available: Bytes | None = None
    level: Level | None = None
    some: Stall | None = None
    full: Stall | None = None
    swap_total: Bytes | None = None
    swap_free: Bytes | None = None
    swapped_out: Bytes | None = None
    compressed: Bytes | None = None
    swap_out_rate: float | None = None
    compressor_rate: float | None = None
    gpu_limit: Bytes | None = None
    gpus: tuple[Gpu, ...] | None = None
    oom_kills: int | None = None
    sources: Mapping[str, str] = Factory(dict)
    raw: Mapping[str, str] = Factory(dict)

    @classmethod
    def of(cls, values: Mapping[str, tuple[Any, str]], raw: Mapping[str, str]) -> Self:
        """Build a reading from each field's value and source; a value of None has no source."""
        known = {name: value for name, (value, _) in values.items() if value is not None}
        return cls(**known, sources={name: values[name][1] for name in known}, raw=raw)
