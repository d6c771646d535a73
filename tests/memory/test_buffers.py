"""What an engine says of its own buffers: captured lines, made ones, rubbish, and the real engine."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from threading import Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import miniature
from real_engines import llama_server, smollm2

from llmsup.memory.cost.meter import Buffers

MiB = 1024**2

LOADED = """\
0.00.144.585 I llama_model_loader: loaded meta data with 33 key-value pairs and 272 tensors from m.gguf
0.00.228.958 I print_info: no_alloc              = 0
0.00.229.008 I load_tensors: loading model tensors, this can take a while... (mmap = true, direct_io = false)
0.00.244.931 I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB
0.00.248.593 I llama_context: constructing llama_context
0.00.248.706 I llama_context:        CPU  output buffer size =     0.75 MiB
0.00.248.872 I llama_kv_cache:        CPU KV buffer size =   180.00 MiB
0.00.399.604 I sched_reserve:        CPU compute buffer size =    21.51 MiB
"""
"""Captured from llama-server b10068 with the demo model at `--verbosity 4`; the lines in between are left out."""

LOOKED_AT = """\
0.00.201.513 I print_info: no_alloc              = 1
0.00.207.633 I load_tensors:          CPU model buffer size =     0.00 MiB
0.00.208.410 I llama_context: constructing llama_context
0.00.208.607 I llama_context:        CPU  output buffer size =     0.75 MiB
0.00.208.854 I llama_kv_cache:        CPU KV buffer size =     0.00 MiB
0.00.217.373 I sched_reserve:        CPU compute buffer size =    21.51 MiB
"""
"""The same at `--verbosity 5`, where `--fit` shows what it looks at before it loads."""

GPUS = """\
load_tensors:   CPU_Mapped model buffer size =   204.90 MiB
load_tensors:        CUDA0 model buffer size = 11826.45 MiB
load_tensors:        CUDA1 model buffer size = 11380.14 MiB
load_tensors:    CUDA_Host model buffer size =   680.00 MiB
llama_context: constructing llama_context
llama_context:  CUDA_Host  output buffer size =     0.50 MiB
llama_kv_cache:      CUDA0 KV buffer size = 12327.00 MiB
llama_kv_cache:      CUDA1 KV buffer size = 11153.00 MiB
llama_kv_cache: size = 23480.00 MiB (150272 cells,  40 layers,  1/1 seqs), K (f16): 11740.00 MiB, V (f16): 11740.00 MiB
llama_context:      CUDA0 compute buffer size =   408.09 MiB
"""
"""As in the llama.cpp issues 16748 and koboldcpp 1882."""


def told(log: str) -> Buffers:
    buffers = Buffers()
    for line in log.splitlines():
        buffers.line(line)
    return buffers


def mib(buffers: Buffers) -> tuple[float, float]:
    """What is mapped, and what is its own."""
    return round(buffers.mapped / MiB, 2), round(buffers.own / MiB, 2)


def test_a_captured_log() -> None:
    """The mapped file is told from what the engine allocated."""
    buffers = told(LOADED)
    assert buffers.own + buffers.mapped
    assert mib(buffers) == (92.10, 202.26)


def test_several_gpus_and_pinned_host_memory() -> None:
    """Each device has its own line; pinned host memory is the engine's own; the cache's sum is no buffer."""
    assert mib(told(GPUS)) == (204.90, round(11826.45 + 11380.14 + 680 + 0.5 + 12327 + 11153 + 408.09, 2))


def test_a_mac() -> None:
    """The part of the file that Metal has mapped is no less mapped."""
    log = "load_tensors:  MTL0_Mapped model buffer size = 4403.49 MiB\nllama_kv_cache: MTL0 KV buffer size = 5.00 MiB"
    assert mib(told(log)) == (4403.49, 5.0)


def test_two_caches_of_one_model() -> None:
    """One for the layers with a window, one for the others; both lines begin alike (Gemma, gpt-oss)."""
    caches = "llama_kv_cache:  CUDA0 KV buffer size = 640.00 MiB\nllama_kv_cache:  CUDA0 KV buffer size = 96.00 MiB"
    assert mib(told(caches)) == (0, 736)


def test_a_draft_model_stands_beside_the_main_one() -> None:
    """It says the same lines under the same names, and nothing of the first is gone."""
    assert mib(told(LOADED + LOADED)) == (184.20, 404.52)


def test_what_is_only_looked_at_is_not_there() -> None:
    """`--fit` makes a model and a context without memory, in whatever sizes it tries."""
    other = LOOKED_AT.replace("21.51", "900.00")
    assert not told(LOOKED_AT).own
    assert mib(told(LOOKED_AT + other + LOADED)) == (92.10, 202.26)


def test_a_context_that_reserves_again() -> None:
    """Its compute buffer is made anew, larger or smaller; its cache is not."""
    again = "0.09.1 I sched_reserve:        CPU compute buffer size =    11.00 MiB\n"
    assert mib(told(LOADED + again)) == (92.10, 191.75)


def test_an_engine_that_slept_and_loads_again() -> None:
    """With `--sleep-idle-seconds` a llama-server frees all and loads again in the same process."""
    begins = "0.00.009.399 I srv    load_model: loading model '/m.gguf'\n"
    assert mib(told(begins + LOADED + begins + LOADED)) == (92.10, 202.26)


def test_states_of_recurrent_layers() -> None:
    """They count like caches."""
    assert mib(told("llama_memory_recurrent:      CUDA0 RS buffer size =    62.81 MiB")) == (0, 62.81)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "buffer size",
        "llama_kv_cache: CPU KV buffer size = 12 MiB",
        "llama_kv_cache: CPU KV buffer size = -1.00 MiB",
        "llama_kv_cache: CPU KV buffer size = nan MiB",
        "llama_kv_cache: CPU KV buffer size = 99999999999.00 MiB",
        "llama_kv_cache: CPU KV buffer size = ٣٣.٠٠ MiB",
        "llama_kv_cache: CPU lunch buffer size = 1.00 MiB",
        "the user wrote: KV buffer size = 1.00 MiB",
        f"{'x' * 100000}: CPU KV buffer size = 1.00 GiB",
    ],
)
def test_rubbish_is_passed_over(line: str) -> None:
    """Nothing is known of it, and nothing fails."""
    buffers = told(LOADED)
    buffers.line(line)
    assert mib(buffers) == (92.10, 202.26)


@given(st.lists(st.text() | st.sampled_from((LOADED + LOOKED_AT + GPUS).splitlines()), max_size=60))
def test_any_lines_in_any_order(lines: list[str]) -> None:
    """Sizes are never negative, and more lines of caches never make less."""
    buffers = told("\n".join(lines))
    assert buffers.mapped >= 0
    assert buffers.own >= 0
    before = buffers.own
    buffers.line("llama_kv_cache: CPU KV buffer size = 1.00 MiB")
    assert buffers.own in (before, before + MiB)


def test_a_flood_of_names_is_bounded() -> None:
    """An engine that makes names up can't fill our memory."""
    buffers = told("".join(f"x{i}: CPU KV buffer size = 1.00 MiB\n" for i in range(5000)))
    assert buffers.own == 1000 * MiB


def log_of(model: Path, *args: str, until: str = "listening on") -> list[str]:
    """Start the real engine on the CPU, with what it says until it is loaded."""
    with tempfile.TemporaryDirectory(prefix="lls", dir="/tmp") as short:
        words = [str(llama_server()), "--model", str(model), "--host", f"{short}/e.sock", "-ngl", "0", "--offline"]
        words += ["--device", "none", "-t", "1", "--no-warmup", *args]
        with subprocess.Popen(
            words,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            clock = Timer(60, process.kill)
            clock.start()
            lines = []
            for line in process.stdout:
                lines.append(line)
                if until in line:
                    break
            else:
                pytest.fail(f"it never said {until!r}:\n{''.join(lines)[-2000:]}")
            process.kill()
            clock.cancel()
    return lines


@pytest.mark.parametrize("verbosity", ["4", "5"])
def test_the_real_engine(verbosity: str) -> None:
    """It looks whether the model fits, and loads it: 92 MiB of the file, 45 MiB of cache at a context of 2048."""
    said = told("".join(log_of(smollm2(), "-lv", verbosity, "-c", "2048", "-np", "1")))
    assert said.mapped / MiB == pytest.approx(92.10, abs=1)
    assert 45 < said.own / MiB < 100


def test_the_real_engine_with_a_draft_model() -> None:
    """Both count in full."""
    alone = told("".join(log_of(smollm2(), "-lv", "4", "-c", "2048", "-np", "1")))
    both = told("".join(log_of(smollm2(), "-lv", "4", "-c", "2048", "-np", "1", "-md", str(smollm2()))))
    assert both.mapped == 2 * alone.mapped
    assert both.own == pytest.approx(2 * alone.own, rel=0.2)


def test_the_real_engine_with_two_caches(tmp_path: Path) -> None:
    """A small gemma3: the lines of both caches are added up."""
    lines = log_of(miniature(tmp_path, "gemma3"), "-lv", "4", "-c", "4096", "-np", "1")
    caches = [float(line.rsplit("=", 1)[1].split()[0]) for line in lines if "KV buffer size" in line]
    assert len(caches) == 2
    rest = told("".join(line for line in lines if "KV buffer size" not in line))
    assert told("".join(lines)).own == rest.own + round(sum(caches) * MiB)
