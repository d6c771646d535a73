"""How an engine's end for want of memory is recognised: by real lines of real back ends."""

from __future__ import annotations

import signal

import pytest

from llmsup.fleet.starving import complains_of_memory, may_be_the_system


@pytest.mark.parametrize(
    "line",
    [
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9.00 MiB on device 0: cudaMalloc failed: out of memory",
        "CUDA error: out of memory",
        "error: command buffer 0 failed: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "ggml_vulkan: Device memory allocation of size 4294967296 failed: ErrorOutOfDeviceMemory",
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 64424509440",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "mmap failed: Cannot allocate memory",
        "0.01.2 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
    ],
)
def test_what_engines_say(line: str) -> None:
    """Among other lines, with the first that says it told."""
    lines = ("loading", line, "exiting due to model loading error")
    assert complains_of_memory(lines) == line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "llama_init_from_model: failed to allocate compute pp buffers, retrying without pipeline parallelism",
        "llama_model_load: error loading model: unknown model architecture: 'wolpertinger'",
        "llmsup: starting /bin/llama-server --alias out-of-memory --prompt 'out of memory'",
        "print_info: file size = 92 MiB, free memory 100 MiB",
    ],
)
def test_what_is_no_complaint(line: str) -> None:
    """A first try that is given up, other errors, and our own words."""
    assert complains_of_memory((line,)) == ""


def test_what_the_one_before_said_does_not_count() -> None:
    """It was another engine, whose end is told already."""
    before = ("llmsup: starting a", "CUDA error: out of memory")
    assert complains_of_memory(before)
    assert complains_of_memory((*before, "llmsup: starting a", "error: unknown architecture")) == ""


def test_only_a_sigkill_may_be_the_system() -> None:
    """The kernel's OOM killer sends nothing else."""
    assert may_be_the_system(-signal.SIGKILL)
    assert not any(map(may_be_the_system, (0, 1, 137, -signal.SIGTERM, -signal.SIGABRT)))
