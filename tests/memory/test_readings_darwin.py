"""A reading of a Mac, against a library that fills buffers by offsets written down here, from Apple's headers alone.

The library's functions are C functions with the headers' signatures, so that how they are called is tested too.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.machine.darwin import Darwin
from llmsup.memory.machine.mach import Mach, declare, parse_integer, parse_swap, parse_vm_statistics
from llmsup.memory.machine.reading import Reading

MiB, GiB = 1024**2, 1024**3
PAGE = 16384

# mach/vm_statistics.h, struct vm_statistics64, aligned to 8: four natural_t, nine uint64_t, two natural_t, four
# uint64_t, four natural_t, one uint64_t.
FREE, ACTIVE, INACTIVE, WIRED, PURGEABLE, SPECULATIVE = 0, 4, 8, 12, 88, 92
DECOMPRESSIONS, COMPRESSIONS, SWAPINS, SWAPOUTS = 96, 104, 112, 120
COMPRESSOR, THROTTLED, EXTERNAL, INTERNAL, UNCOMPRESSED = 128, 132, 136, 140, 144
REVISION_0, REVISION_1 = 96, 152

SYSCTLBYNAME = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p, ctypes.c_size_t
)
MACH_HOST_SELF = ctypes.CFUNCTYPE(ctypes.c_uint32)
HOST_STATISTICS64 = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint32)
)
PROC_PID_RUSAGE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


def statistics(length: int = REVISION_1) -> bytes:
    """128 GiB as `vm_stat` might show them."""
    whole = bytearray(256)
    for offset, value in (
        *((FREE, 100_000), (ACTIVE, 2_000_000), (INACTIVE, 1_500_000), (WIRED, 3_000_000)),
        *((PURGEABLE, 40_000), (SPECULATIVE, 9_000), (COMPRESSOR, 250_000), (EXTERNAL, 800_000), (INTERNAL, 7)),
    ):
        struct.pack_into("<I", whole, offset, value)
    for offset, value in ((DECOMPRESSIONS, 5_000_000_000), (SWAPINS, 1), (SWAPOUTS, 6_000_000_000)):
        struct.pack_into("<Q", whole, offset, value)
    return bytes(whole[:length])


SYSCTLS = {
    "kern.memorystatus_vm_pressure_level": struct.pack("<i", 2),
    "kern.memorystatus_level": struct.pack("<I", 48),
    "hw.memsize": struct.pack("<Q", 128 * GiB),
    "hw.pagesize": struct.pack("<q", PAGE),
    "iogpu.wired_limit_mb": struct.pack("<i", 0),
    "vm.swapusage": struct.pack("<QQQIi", 4 * GiB, 3 * GiB, GiB, PAGE, 1),
}


class FakeLibrary:
    """libSystem, as far as it is asked."""

    def __init__(self, sysctls: dict[str, bytes] | None = None, pages: bytes = statistics(), host: int = 515) -> None:
        self.hosts = 0
        answers = SYSCTLS if sysctls is None else sysctls

        def sysctlbyname(name: bytes, old: int, size: Any, new: int | None, _length: int) -> int:
            answer = answers.get(name.decode())
            if answer is None or new is not None or size[0] < len(answer):
                return -1
            ctypes.memmove(old, answer, len(answer))
            size[0] = len(answer)
            return 0

        def mach_host_self() -> int:
            self.hosts += 1
            return host

        def host_statistics64(port: int, flavor: int, out: int, count: Any) -> int:
            if (port, flavor) != (host, 4) or count[0] * 4 < len(pages):
                return 5  # KERN_FAILURE
            ctypes.memmove(out, pages, len(pages))
            count[0] = len(pages) // 4
            return 0 if pages else 5

        def proc_pid_rusage(pid: int, flavor: int, out: int) -> int:
            if (pid, flavor) != (4711, 4):
                return -1
            # sys/resource.h, struct rusage_info_v4: uuid, seven numbers, ri_phys_footprint, 27 more.
            ctypes.memmove(out, b"u" * 16 + b"\xff" * 56 + struct.pack("<Q", 5 * GiB + 1) + b"\xee" * 216, 296)
            return 0

        self.sysctlbyname = SYSCTLBYNAME(sysctlbyname)
        self.mach_host_self = MACH_HOST_SELF(mach_host_self)
        self.host_statistics64 = HOST_STATISTICS64(host_statistics64)
        self.proc_pid_rusage = PROC_PID_RUSAGE(proc_pid_rusage)


def read(library: FakeLibrary) -> Reading:
    return Darwin(Mach(declare(library))).reading()


def test_a_whole_reading() -> None:
    """Bytes from pages, each with who said it."""
    found = read(FakeLibrary())
    assert (found.total, found.level) == (128 * GiB, "warn")
    assert found.available == (100_000 + 1_500_000 + 40_000) * PAGE  # free has the speculative ones already
    assert (found.swap_total, found.swap_free) == (4 * GiB, 3 * GiB)
    assert (found.swapped_out, found.compressed) == (6_000_000_000 * PAGE, 250_000 * PAGE)
    assert (found.gpu_limit, found.some, found.gpus) == (None, None, None)
    assert found.sources["available"] == "host_statistics64 free_count + inactive_count + purgeable_count"
    assert found.raw["kern.memorystatus_level"] == "48"
    assert found.raw["iogpu.wired_limit_mb"] == "0"
    assert found.raw["host_statistics64 swapouts"] == "6000000000 pages"


@pytest.mark.parametrize(("value", "level"), [(1, "normal"), (2, "warn"), (4, "critical"), (0, None), (3, None)])
def test_the_kernels_level(value: int, level: str | None) -> None:
    """A number that has no meaning is no level."""
    name = "kern.memorystatus_vm_pressure_level"
    assert read(FakeLibrary({**SYSCTLS, name: struct.pack("<i", value)})).level == level


@pytest.mark.parametrize("form", ["<i", "<q"])
def test_a_limit_for_the_gpu(form: str) -> None:
    """In MiB, of either width; zero is no limit (see above)."""
    found = read(FakeLibrary({**SYSCTLS, "iogpu.wired_limit_mb": struct.pack(form, 117_964)}))
    assert found.gpu_limit == 117_964 * MiB
    assert found.sources["gpu_limit"] == "iogpu.wired_limit_mb"


@pytest.mark.parametrize("missing", sorted(SYSCTLS))
def test_a_name_that_this_release_does_not_know(missing: str) -> None:
    """Only what needs it is unknown."""
    found = read(FakeLibrary({name: value for name, value in SYSCTLS.items() if name != missing}))
    unknown = {
        "kern.memorystatus_vm_pressure_level": {"level"},
        "hw.memsize": {"total"},
        "hw.pagesize": {"available", "swapped_out", "compressed"},
        "vm.swapusage": {"swap_total", "swap_free"},
    }.get(missing, set())
    whole = {"total", "level", "available", "swapped_out", "compressed", "swap_total", "swap_free"}
    assert set(found.sources) == whole - unknown
    assert all(getattr(found, name) is None for name in unknown)
    assert missing not in found.raw


def test_an_older_kernel_has_no_counts_of_the_compressor() -> None:
    """It fills in revision 0 only; what it left alone is unknown, not zero."""
    found = read(FakeLibrary(pages=statistics(REVISION_0)))
    assert found.available == (100_000 + 1_500_000 + 40_000) * PAGE
    assert (found.swapped_out, found.compressed) == (None, None)


@pytest.mark.parametrize("length", [REVISION_1 + 8, 256])
def test_a_newer_kernel_says_more(length: int) -> None:
    """It appends fields; those that are known stay where they are."""
    assert read(FakeLibrary(pages=statistics(length))) == read(FakeLibrary())


def test_a_library_that_refuses_everything() -> None:
    """All unknown, nothing raised."""
    assert read(FakeLibrary({}, pages=b"")) == Reading()


def test_the_host_port_is_asked_for_once() -> None:
    """Each time would leak a reference, once a second for ever."""
    library = FakeLibrary()
    mach = Mach(declare(library))
    assert mach.vm_statistics() == mach.vm_statistics() == statistics()
    assert library.hosts == 1


def test_what_a_process_costs() -> None:
    """The eighth number after the uuid; a process of somebody else is unknown."""
    mach = Mach(declare(FakeLibrary()))
    assert mach.phys_footprint(4711) == 5 * GiB + 1
    assert mach.phys_footprint(1) is None


def test_pages_that_count_twice_are_no_more_than_there_is() -> None:
    """Purgeable pages may be inactive ones too."""
    found = read(FakeLibrary({**SYSCTLS, "hw.memsize": struct.pack("<Q", 8 * GiB)}))
    assert found.available == found.total == 8 * GiB


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    """A short answer has fewer fields, an odd one none."""
    assert len(parse_vm_statistics(data)) <= 24
    assert (parse_swap(data) is None) == (len(data) < 24)
    assert (parse_integer(data) is None) == (len(data) not in (4, 8))


def test_every_field_where_the_header_has_it() -> None:
    """Offsets of all fields, against those above and the ones between."""
    numbers = struct.unpack("<4I9Q2I4Q4IQ", statistics())
    assert tuple(parse_vm_statistics(statistics()).values()) == numbers
    marked = {COMPRESSIONS: "compressions", THROTTLED: "throttled_count", INTERNAL: "internal_page_count"}
    for offset, name in {**marked, UNCOMPRESSED: "total_uncompressed_pages_in_compressor"}.items():
        data = bytearray(REVISION_1)
        data[offset] = 1
        assert {key for key, value in parse_vm_statistics(bytes(data)).items() if value} == {name}
