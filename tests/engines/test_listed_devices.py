"""What `llama-server --list-devices` says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.engines.devices import Device, list_devices, parse_devices, working_set
from llmsup.errors import SetupError
from llmsup.units import Bytes

DATA = Path(__file__).parents[1] / "data" / "memory"
METAL = (DATA / "devices-metal.txt").read_text()
MiB = 1024**2


def device(id_: str, name: str, total: int, free: int) -> Device:
    return Device(id_, name, Bytes(total * MiB), Bytes(free * MiB))


def test_a_mac() -> None:
    """Its GPU's total is the working set; what has no memory of its own is unknown, not zero."""
    found = parse_devices(METAL)
    assert found == (device("MTL0", "Apple M5 Pro", 53084, 53083), Device("BLAS", "Accelerate"))
    assert working_set(found) == 53084 * MiB


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  CUDA0: NVIDIA H200 (143156 MiB, 142000 MiB free)", device("CUDA0", "NVIDIA H200", 143156, 142000)),
        (
            "  Vulkan0: AMD Radeon (RADV PHOENIX) (24 MiB, 7 MiB free)\r",
            device("Vulkan0", "AMD Radeon (RADV PHOENIX)", 24, 7),
        ),
        ("  RPC0: 10.0.0.1:50052 (10 MiB, 9 MiB free)", device("RPC0", "10.0.0.1:50052", 10, 9)),
    ],
)
def test_other_machines(line: str, expected: Device) -> None:
    """Names have brackets and colons; none of these is a Mac's."""
    assert parse_devices(f"ggml_init: found 1 device\nAvailable devices:\n{line}\n") == (expected,)
    assert working_set((expected,)) is None


@pytest.mark.parametrize(
    "text",
    ["", "Available devices:\n", "Available devices:\n  (none)\n", "  MTL0: x (1 MiB)", "  : x (1 MiB, 1 MiB free)"],
)
def test_no_devices(text: str) -> None:
    """A build for the CPU alone has none (the second is captured), and half a line is none."""
    assert parse_devices(text) == ()


def test_a_device_that_is_told_twice() -> None:
    """Some builds list them while they start, and again."""
    assert parse_devices(METAL + METAL) == parse_devices(METAL)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Nothing is raised."""
    assert len(parse_devices(text)) <= len(text)


async def test_a_program_that_is_asked(tmp_path: Path) -> None:
    """It is given the flag, after its own arguments."""
    program = tmp_path / "llama-server"
    program.write_text('#!/bin/sh\n[ "$*" = "--x --list-devices" ] && cat "$0.txt"\n')
    program.chmod(0o700)
    (tmp_path / "llama-server.txt").write_text(METAL)
    assert await list_devices((str(program), "--x")) == parse_devices(METAL)
    with pytest.raises(SetupError, match=r"llama-server --list-devices failed with exit code 1"):
        await list_devices((str(program),))
