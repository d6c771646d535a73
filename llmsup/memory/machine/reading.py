"""One look at the machine's memory, and what it is made of.

It does not know who was asked. What is unknown is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from attrs import Factory, frozen

from ...units import Bytes

Level = Literal["normal", "warn", "critical"]


@frozen
class Stall:
    """How much of the time somebody waited for memory (Linux Documentation/accounting/psi.rst).

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
        shared_total: The host's memory that it may use too, in bytes (AMD's GTT).
        shared_free: What is left of that.
        source: Who was asked.
    """

    name: str
    total: Bytes | None = None
    free: Bytes | None = None
    shared_total: Bytes | None = None
    shared_free: Bytes | None = None
    source: str = ""


@frozen(kw_only=True)
class Reading:
    """One look. Sizes are in bytes, rates in bytes a second.

    Attributes:
        total: This machine's memory, or what a control group lets us have of it.
        own_group: That is the limit of a control group of our own, in which nothing else lives.
        available: What could be had now without swapping; within a control group, no more than is left there.
        level: What the system itself calls the state: only macOS and a command have a word for it.
        some: At least one task waited for memory.
        full: All tasks did.
        swap_total: Where memory may be swapped to.
        swap_free: What is left of that.
        swapped_out: What was ever written there since boot.
        compressed: What the compressed pages take now (macOS).
        swap_out_rate: How fast `swapped_out` grew since the reading before; None for a first one.
        compressor_rate: How fast `compressed` grew since the reading before; negative if it shrank.
        gpu_limit: What the GPU may wire of the host's memory, where somebody set that (macOS).
        gpus: Devices with a memory of their own; None if they can't be asked just now.
        oom_kills: How many processes of our control group, or else of the machine, were killed for want of memory.
        sources: For each of the above, who said it.
        raw: All that was read, in the system's own words, by its place.
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
        """From each field's value and who said it; what is None has no source."""
        known = {name: value for name, (value, _) in values.items() if value is not None}
        return cls(**known, sources={name: values[name][1] for name in known}, raw=raw)
