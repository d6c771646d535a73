"""Recognises an engine that ran out of memory, by its log lines or its exit code."""

from __future__ import annotations

import re
import signal

_SAID = re.compile(
    r"out[ _]?of[ _]?(?:(?:device|host|video|pool)[ _]?)?memory|cudamalloc failed|insufficient memory"
    r"|failed to allocate|unable to allocate|alloc_buffer: allocating .* failed|memory allocation of (?:size )?\d+ "
    r"|std::bad_alloc|cannot allocate memory",
    re.IGNORECASE,
)
"""What ggml's backends (CUDA, Metal's kIOGPUCommandBufferCallbackErrorOutOfMemory, Vulkan's ErrorOutOfDeviceMemory),
llama.cpp's own loader, C++, Rust and libc write."""

_HARMLESS = re.compile(r"\bm(?:un)?lock|pinned memory", re.IGNORECASE)
"""Not fatal: llama.cpp src/llama-mmap.cpp ("failed to mlock ... Cannot allocate memory" is about a limit), and
ggml-cuda.cu's ggml_cuda_host_malloc and the like, which fall back to ordinary memory."""

_OVERCOME = re.compile(r"retrying without", re.IGNORECASE)
"""llama.cpp src/llama-context.cpp first gives up pipeline parallelism and goes on; complaints before that don't count.
"""

LOOKED_AT = 200
"""How many of an engine's last lines are searched; it rarely writes more after running out of memory."""


def complains_of_memory(lines: tuple[str, ...]) -> str:
    """The first line that says that memory ran out, or ""."""
    complaint = ""
    for line in lines:
        if _OVERCOME.search(line):
            complaint = ""
        elif not complaint and not line.startswith("llmsup:") and _SAID.search(line) and not _HARMLESS.search(line):
            complaint = line.strip()
    return complaint


def may_be_the_system(code: int) -> bool:
    """Whether the system may have killed it to free memory: it does so with SIGKILL, which a shell around the engine
    reports as 128 + 9.
    """
    return code in (-signal.SIGKILL, 128 + signal.SIGKILL)
