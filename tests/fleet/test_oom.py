"""How an engine's end for want of memory looks."""

from __future__ import annotations

import signal

import pytest

from llmsup.fleet.engine.oom import complains_of_memory, may_be_the_system

CUDA = (
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 12710.31 MiB on device 0: cudaMalloc failed: out of memory"
)
RETRIED = (
    CUDA,
    "ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 13327728640",
    "graph_reserve: failed to allocate compute buffers",
    "llama_context: compute buffer allocation failed, retrying without pipeline parallelism",
)
"""llama.cpp's pull request 16748."""


@pytest.mark.parametrize(
    "line",
    [
        CUDA,
        "0.12.345.678 E CUDA error: out of memory",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "llama_kv_cache: failed to allocate buffer for kv cache",
        "ggml_metal_buffer_init: error: failed to allocate buffer, size =  1024.00 MiB",
        "error: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "ggml_vulkan: Device memory allocation of size 369827840 failed.",
        "ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
        "  what():  vk::Device::allocateMemory: ErrorOutOfHostMemory",
        "terminate called after throwing an instance of 'vk::OutOfDeviceMemoryError'",
        "VK_ERROR_OUT_OF_DEVICE_MEMORY",
        "hipErrorOutOfMemory",
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 4831838208",
        "ggml_aligned_malloc: insufficient memory (attempted to allocate 4608.00 MB)",
        "llama_model_load: error loading model: mmap failed: Cannot allocate memory",
        "  what():  std::bad_alloc",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "libc++abi: uncaught exception: [METAL] Command buffer execution failed: Insufficient Memory",
        "memory allocation of 4294967296 bytes failed",
    ],
)
def test_lines_that_complain(line: str) -> None:
    """As engines of all kinds print them; the line is what people are told."""
    assert complains_of_memory(("loading", f"  {line}\n", "bye")) == line.strip()


@pytest.mark.parametrize(
    "line",
    [
        "warning: failed to mlock 139264000-byte buffer (after previously locking 0 bytes): Cannot allocate memory",
        "warning: failed to munlock buffer: Cannot allocate memory",
        "ggml_cuda_host_malloc: failed to allocate 1024.00 MiB of pinned memory: out of memory",
        "ggml_vulkan: Failed to allocate pinned memory (vk::Device::allocateMemory: ErrorOutOfDeviceMemory)",
        "llama_context: compute buffer allocation failed, retrying without pipeline parallelism",
        "common_params_fit_impl: projected to use 293 MiB of host memory vs. 24105 MiB of total host memory",
        "common_fit_params: successfully fit params to free device memory",
        "common_memory_breakdown_print: | memory breakdown [MiB] | total   free    self   model   context   compute |",
        "llama_kv_cache:        CPU KV buffer size =   180.00 MiB",
        "slot update_slots: failed to find free space in the KV cache, retrying with smaller batch size",
        "error: unknown model architecture: 'x'",
        "llmsup: starting llama-server --alias 'out of memory'",
        "",
    ],
)
def test_lines_that_do_not(line: str) -> None:
    """They are about something else, or the engine can do without."""
    assert complains_of_memory((line,)) == ""


def test_what_was_overcome_is_void() -> None:
    """The engine found a way with less; when it dies later, it dies of something else."""
    assert complains_of_memory((*RETRIED, "llama_grammar: error", "Segmentation fault")) == ""


def test_the_second_try_may_fail_too() -> None:
    """Then what it said of that one counts."""
    second = CUDA.replace("12710.31", "5432.10")
    assert complains_of_memory((*RETRIED, second, "graph_reserve: failed to allocate compute buffers")) == second


def test_the_first_complaint_says_most() -> None:
    """The others are its echo."""
    assert complains_of_memory(("srv start", *RETRIED[:3])) == CUDA


def test_no_lines() -> None:
    """Nothing was said."""
    assert complains_of_memory(()) == ""


def test_what_the_system_does() -> None:
    """It kills; nothing else is its doing."""
    assert may_be_the_system(-signal.SIGKILL)
    assert may_be_the_system(137)  # told by a shell around it
    assert not any(map(may_be_the_system, (0, 1, 9, -signal.SIGTERM, -signal.SIGABRT, -signal.SIGSEGV)))
