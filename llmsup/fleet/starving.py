"""How an engine's end for want of memory looks: what it said, or what the system counts.

It does not know what follows from it.
"""

from __future__ import annotations

import re
import signal

_SAID = re.compile(
    r"out[ _]?of[ _]?(?:device|host|video)?[ _]?memory|cudamalloc failed|insufficient memory"
    r"|failed to allocate|unable to allocate|alloc_buffer: allocating .* failed|std::bad_alloc|cannot allocate memory",
    re.IGNORECASE,
)
"""ggml's back ends (CUDA, Metal's kIOGPUCommandBufferCallbackErrorOutOfMemory, Vulkan's ErrorOutOfDeviceMemory),
llama.cpp's own loader, C++ and libc."""

_HARMLESS = re.compile(r"retrying without", re.IGNORECASE)
"""llama.cpp src/llama-context.cpp gives up pipeline parallelism first, and goes on."""


LOOKED_AT = 200
"""Lines from an engine's end on: what it says after it had no memory is rarely more."""


def complains_of_memory(lines: tuple[str, ...]) -> str:
    """The first line that says that memory could not be had, or "". What was said by those that were started before
    the last one doesn't count.
    """
    starts = [number for number, line in enumerate(lines) if line.startswith("llmsup: starting ")]
    said = (line.strip() for line in lines[starts[-1] if starts else 0 :] if not line.startswith("llmsup:"))
    return next((line for line in said if _SAID.search(line) and not _HARMLESS.search(line)), "")


def may_be_the_system(code: int) -> bool:
    """Whether the system may have killed it for want of memory: it does that with SIGKILL."""
    return code == -signal.SIGKILL
