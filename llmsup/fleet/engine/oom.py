"""How an engine's end for want of memory looks: what it said, or what the system counts.

It does not know what follows from it.
"""

from __future__ import annotations

import re
import signal

_SAID = re.compile(
    r"out[ _]?of[ _]?(?:(?:device|host|video|pool)[ _]?)?memory|cudamalloc failed|insufficient memory"
    r"|failed to allocate|unable to allocate|alloc_buffer: allocating .* failed|memory allocation of (?:size )?\d+ "
    r"|std::bad_alloc|cannot allocate memory",
    re.IGNORECASE,
)
"""ggml's back ends (CUDA, Metal's kIOGPUCommandBufferCallbackErrorOutOfMemory, Vulkan's ErrorOutOfDeviceMemory),
llama.cpp's own loader, C++, Rust and libc."""

_HARMLESS = re.compile(r"\bm(?:un)?lock|pinned memory", re.IGNORECASE)
"""It goes on without: llama.cpp src/llama-mmap.cpp ("failed to mlock ... Cannot allocate memory" is about a limit), and
ggml-cuda.cu's ggml_cuda_host_malloc and its likes, which take ordinary memory then."""

_OVERCOME = re.compile(r"retrying without", re.IGNORECASE)
"""llama.cpp src/llama-context.cpp gives up pipeline parallelism first, and goes on: what it said before is void."""

LOOKED_AT = 200
"""Lines from an engine's end on: what it says after it had no memory is rarely more."""


def complains_of_memory(lines: tuple[str, ...]) -> str:
    """The first line that says that memory could not be had, or ""."""
    complaint = ""
    for line in lines:
        if _OVERCOME.search(line):
            complaint = ""
        elif not complaint and not line.startswith("llmsup:") and _SAID.search(line) and not _HARMLESS.search(line):
            complaint = line.strip()
    return complaint


def may_be_the_system(code: int) -> bool:
    """Whether the system may have killed it for want of memory: it does that with SIGKILL, which a shell around the
    engine tells as 128 + 9.
    """
    return code in (-signal.SIGKILL, 128 + signal.SIGKILL)
