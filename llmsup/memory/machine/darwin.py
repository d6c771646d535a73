"""A reading of a Mac: the kernel's pressure level, its page counts, its swap, and what the GPU may wire.

The system calls themselves are in `mach`.
"""

from __future__ import annotations

from ...units import Bytes
from .mach import Mach, parse_integer, parse_swap, parse_vm_statistics
from .reading import Level, Reading

MiB = 1024**2

LEVELS: dict[int, Level] = {1: "normal", 2: "warn", 4: "critical"}
"""sys/event.h's NOTE_MEMORYSTATUS_PRESSURE_NORMAL, _WARN and _CRITICAL, which are also libdispatch's."""

PRESSURE = "kern.memorystatus_vm_pressure_level"
FREE_PERCENT = "kern.memorystatus_level"
TOTAL = "hw.memsize"
PAGE_SIZE = "hw.pagesize"
WIRED_LIMIT = "iogpu.wired_limit_mb"
SWAP = "vm.swapusage"

_AVAILABLE = ("free_count", "inactive_count", "purgeable_count")
_SHOWN = (
    *_AVAILABLE,
    *("active_count", "wire_count", "speculative_count", "compressor_page_count", "swapouts", "decompressions"),
    *("external_page_count", "internal_page_count"),
)


class Darwin:
    """Reads a Mac through a few calls of the system library; no process is started."""

    def __init__(self, mach: Mach) -> None:
        self._mach = mach

    def reading(self) -> Reading:
        """Read all of it."""
        raw: dict[str, str] = {}
        numbers = {name: self._number(name, raw) for name in (PRESSURE, FREE_PERCENT, TOTAL, PAGE_SIZE, WIRED_LIMIT)}
        pages = parse_vm_statistics(self._mach.vm_statistics())
        raw |= {f"host_statistics64 {name}": f"{pages[name]} pages" for name in _SHOWN if name in pages}
        answer = self._mach.sysctl(SWAP)
        swap = parse_swap(answer)
        if swap:
            raw[SWAP] = f"total {swap.total}, free {swap.free}"

        total, page = numbers[TOTAL] or None, numbers[PAGE_SIZE] or None

        def size(*names: str) -> Bytes | None:
            """The sum of these page counts in bytes; None if any of them is unknown."""
            if page is None or not all(name in pages for name in names):
                return None
            return Bytes(sum(pages[name] for name in names) * page)

        available = size(*_AVAILABLE)
        if available is not None and total is not None:
            available = Bytes(min(available, total))
        wired = numbers[WIRED_LIMIT] or None  # 0 means the driver's default
        values = {
            "total": (total, TOTAL),
            "available": (available, f"host_statistics64 {' + '.join(_AVAILABLE)}"),
            "level": (LEVELS.get(numbers[PRESSURE] or 0), PRESSURE),
            "swap_total": (swap and swap.total, SWAP),
            "swap_free": (swap and swap.free, SWAP),
            "swapped_out": (size("swapouts"), "host_statistics64 swapouts"),
            "compressed": (size("compressor_page_count"), "host_statistics64 compressor_page_count"),
            "gpu_limit": (wired and wired * MiB, WIRED_LIMIT),
        }
        return Reading.of(values, raw)

    def _number(self, name: str, raw: dict[str, str]) -> int | None:
        value = parse_integer(self._mach.sysctl(name))
        if value is not None:
            raw[name] = str(value)
        return value
