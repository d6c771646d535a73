"""Calls to macOS's system library and the layouts of their results: all use of ctypes for it, with sources.

Written without a Mac at hand: `llmsup check --memory` shows each value, to compare with `sysctl NAME`, `vm_stat` and
`footprint PID`.

The layouts are those of Apple's open-source xnu, the same on arm64 and x86_64, both little-endian.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from attrs import frozen

from ...units import Bytes

HOST_VM_INFO64 = 4  # mach/host_info.h
RUSAGE_INFO_V4 = 4  # sys/resource.h

_LIBRARY = "/usr/lib/libSystem.B.dylib"  # libproc is a part of it
_KERN_SUCCESS = 0
_MOST_INTEGERS = 256
"""The longest result that host_statistics64's interface can carry (mach/mach_host.defs: `array[*:256]`). We offer the
kernel all of it: given less than its newest structure, it may fill in only the fields of an older one
(osfmk/kern/host.c). It reports how much it filled in."""


class VmStatistics64(ctypes.Structure):
    """`struct vm_statistics64` of mach/vm_statistics.h. All counts are of pages.

    The first two thirds are "revision 0"; the compressor's fields came with OS X 10.9. Newer kernels append more.
    """

    _fields_ = (
        ("free_count", ctypes.c_uint32),  # includes the speculative ones
        ("active_count", ctypes.c_uint32),
        ("inactive_count", ctypes.c_uint32),
        ("wire_count", ctypes.c_uint32),
        ("zero_fill_count", ctypes.c_uint64),
        ("reactivations", ctypes.c_uint64),
        ("pageins", ctypes.c_uint64),
        ("pageouts", ctypes.c_uint64),
        ("faults", ctypes.c_uint64),
        ("cow_faults", ctypes.c_uint64),
        ("lookups", ctypes.c_uint64),
        ("hits", ctypes.c_uint64),
        ("purges", ctypes.c_uint64),
        ("purgeable_count", ctypes.c_uint32),
        ("speculative_count", ctypes.c_uint32),
        ("decompressions", ctypes.c_uint64),
        ("compressions", ctypes.c_uint64),
        ("swapins", ctypes.c_uint64),
        ("swapouts", ctypes.c_uint64),
        ("compressor_page_count", ctypes.c_uint32),
        ("throttled_count", ctypes.c_uint32),
        ("external_page_count", ctypes.c_uint32),
        ("internal_page_count", ctypes.c_uint32),
        ("total_uncompressed_pages_in_compressor", ctypes.c_uint64),
    )


class SwapUsage(ctypes.Structure):
    """`struct xsw_usage` of sys/sysctl.h, the answer of `vm.swapusage`. Sizes in bytes."""

    _fields_ = (
        ("total", ctypes.c_uint64),
        ("avail", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
        ("pagesize", ctypes.c_uint32),
        ("encrypted", ctypes.c_uint32),  # boolean_t
    )


_PHYS_FOOTPRINT, _RUSAGE_SIZE = 72, 296
"""In `struct rusage_info_v4` of sys/resource.h: ri_uuid of 16 bytes, then 35 numbers of 8 bytes; ri_phys_footprint
is the eighth of them."""


@frozen
class Swap:
    """Sizes in bytes."""

    total: Bytes
    free: Bytes


def parse_vm_statistics(data: bytes) -> dict[str, int]:
    """The fields of `struct vm_statistics64` in a result; a shorter result lacks the later ones."""
    whole = VmStatistics64.from_buffer_copy(data.ljust(ctypes.sizeof(VmStatistics64), b"\0"))
    fields = {name: getattr(VmStatistics64, name) for name, *_ in VmStatistics64._fields_}
    return {name: int(getattr(whole, name)) for name, place in fields.items() if place.offset + place.size <= len(data)}


def parse_swap(data: bytes) -> Swap | None:
    """Parse the value of `vm.swapusage`; None if it is too short."""
    if len(data) < SwapUsage.pagesize.offset:
        return None
    usage = SwapUsage.from_buffer_copy(data.ljust(ctypes.sizeof(SwapUsage), b"\0"))
    return Swap(Bytes(usage.total), Bytes(usage.avail))


def parse_integer(data: bytes) -> int | None:
    """Parse a sysctl number of 4 or 8 bytes: the size of some differs between systems."""
    return int.from_bytes(data, "little") if len(data) in (4, 8) else None


class Mach:
    """The system library behind a Python interface. Each call takes microseconds and starts no process.

    Args:
        library: Has sysctlbyname, mach_host_self, host_statistics64 and proc_pid_rusage as C functions.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._host: int | None = None

    def sysctl(self, name: str) -> bytes:
        """The result of sysctlbyname(3); b"" if this system doesn't know the name."""
        buffer = ctypes.create_string_buffer(64)
        size = ctypes.c_size_t(len(buffer))
        if self._library.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0) != 0:
            return b""
        return buffer.raw[: size.value]

    def vm_statistics(self) -> bytes:
        """As much of `struct vm_statistics64` as the kernel filled in; b"" if the call fails."""
        if self._host is None:
            self._host = int(self._library.mach_host_self())  # each call would add a reference to the port
        buffer = (ctypes.c_int32 * _MOST_INTEGERS)()
        count = ctypes.c_uint32(_MOST_INTEGERS)
        code = self._library.host_statistics64(self._host, HOST_VM_INFO64, buffer, ctypes.byref(count))
        return bytes(buffer)[: count.value * 4] if code == _KERN_SUCCESS else b""

    def phys_footprint(self, pid: int) -> Bytes | None:
        """What Activity Monitor shows as a process's memory, in bytes; None if it can't be read.

        It includes compressed pages and the GPU's, but not clean pages of mapped files. libproc.h declares the buffer
        as a pointer to a pointer, but means the address of the structure.
        """
        buffer = ctypes.create_string_buffer(_RUSAGE_SIZE)
        if self._library.proc_pid_rusage(pid, RUSAGE_INFO_V4, buffer) != 0:
            return None
        return Bytes(int.from_bytes(buffer.raw[_PHYS_FOOTPRINT : _PHYS_FOOTPRINT + 8], "little"))


def declare(library: Any) -> Any:
    """Declare the functions' signatures (sys/sysctl.h, mach/mach_init.h, mach/mach_host.h, libproc.h)."""
    integer, number, pointer = ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
    size = ctypes.POINTER(ctypes.c_size_t)
    for name, result, arguments in (
        ("sysctlbyname", integer, (ctypes.c_char_p, pointer, size, pointer, ctypes.c_size_t)),
        ("mach_host_self", number, ()),
        ("host_statistics64", integer, (number, integer, pointer, ctypes.POINTER(number))),
        ("proc_pid_rusage", integer, (integer, integer, pointer)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)
    return library


@functools.cache
def load() -> Mach:
    """Load this machine's library.

    Raises:
        OSError: It isn't a Mac.
    """
    return Mach(declare(ctypes.CDLL(_LIBRARY)))
