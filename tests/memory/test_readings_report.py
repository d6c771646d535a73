"""`llmsup check --memory`: all readings, in one command that never fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from llmsup.cli import main
from llmsup.cli.memory_report import Report
from llmsup.engines.devices import Device, parse_devices
from llmsup.memory.machine.reading import Gpu, Reading
from llmsup.units import Bytes

METAL = (Path(__file__).parents[1] / "data" / "memory" / "devices-metal.txt").read_text()
MiB, GiB = 1024**2, 1024**3


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No config and no llama-server, and no time between the readings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LLMSUP_CONFIG", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("llmsup.cli.memory_report._BETWEEN", 0.001)


def check(*words: str) -> Result:
    return CliRunner().invoke(main, ["check", "--memory", *words])


def as_json(*words: str) -> dict[str, Any]:
    result = check("--json", *words)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "llmsup.toml"
    path.write_text(text)
    return str(path)


def test_without_a_config() -> None:
    """Each reading has its source; raw values and the ceiling follow."""
    result = check()
    assert result.exit_code == 0
    rows = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert "ceiling" in rows
    assert "There is no llama-server to ask for its devices." in result.stdout
    if sys.platform == "linux":
        assert rows["total"].endswith(("/proc/meminfo MemTotal", "memory.max", "memory.limit_in_bytes"))
        assert "unknown" in rows["compressed"]
        assert "/proc/meminfo MemAvailable" in rows


def test_as_json() -> None:
    """In bytes; unknown is null; the ceiling is the total less the reserve."""
    found = as_json()
    total = found["reading"]["total"]
    assert found["ceiling"] == max(total - found["reserve"], 0)
    assert (found["working_set"], found["devices"], found["reading"]["compressed"]) == (None, None, None)
    assert found["own_footprint"] > MiB
    assert found["reading"]["swap_out_rate"] is None or found["reading"]["swap_out_rate"] >= 0


def test_the_config_counts(tmp_path: Path) -> None:
    """Its reserve and its probe."""
    probe = json.dumps([sys.executable, "-S", "-c", 'print(\'{"total": 1000, "available": 7, "level": "warn"}\')'])
    found = as_json("--config", config(tmp_path, f'[memory]\nreserve = "100B"\nprobe = {probe}\n'))
    assert (found["reading"]["available"], found["reading"]["level"]) == (7, "warn")
    assert (found["reserve"], found["ceiling"]) == (100, 900)


def test_a_probe_that_fails_is_said(tmp_path: Path) -> None:
    """And the system's readings are shown, which are true all the same."""
    path = config(tmp_path, '[memory]\nprobe = ["/none/such"]\n')
    found = as_json("--config", path)
    assert "probe /none/such can't be run" in found["notes"][0]
    assert found["reading"]["total"] is not None
    assert "probe /none/such can't be run" in check("--config", path).stdout


@pytest.mark.parametrize("text", ["[memory]\nreserve = 'lots'\n", "[[[", None])
def test_a_config_with_mistakes(tmp_path: Path, text: str | None) -> None:
    """Its mistakes are `check`'s to tell; here it is said that it doesn't count."""
    path = config(tmp_path, text) if text else str(tmp_path / "none.toml")
    found = as_json("--config", path)
    assert "These are the built-in settings:" in found["notes"][0]


def test_a_llama_server_is_asked(tmp_path: Path) -> None:
    """The one that the config names; on a Mac its GPU's working set bounds the ceiling."""
    program = tmp_path / "llama-server"
    program.write_text(f"#!/bin/sh\necho '{METAL.replace('53084', '300')}'\n")
    program.chmod(0o700)
    found = as_json("--config", config(tmp_path, f'[engines.llama-server]\ncommand = ["{program}"]\n'))
    assert [device["id"] for device in found["devices"]] == ["MTL0", "BLAS"]
    assert found["working_set"] == found["ceiling"] == 300 * MiB
    program.write_text("#!/bin/sh\necho broken >&2; exit 3\n")
    assert "failed with exit code 3. It said: broken" in check().stdout


def test_a_mac_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Every kind of value, as it is printed."""
    reading = Reading(
        total=Bytes(128 * GiB),
        level="warn",
        swap_out_rate=1.5 * MiB,
        compressor_rate=-1024.0,
        gpu_limit=Bytes(96 * GiB),
        gpus=(Gpu("card0", Bytes(GiB), None, Bytes(2 * GiB), Bytes(GiB), source="here"),),
        sources={"total": "hw.memsize", "level": "kern.x"},
        raw={"hw.memsize": "137438953472"},
    )
    devices: tuple[Device, ...] = parse_devices(METAL)
    Report(reading=reading, devices=devices, own=None, reserve=Bytes(GiB), ceiling=Bytes(GiB), notes=("a\nb",)).show()
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for line in (
        "total 128 GiB hw.memsize",
        "available unknown",
        "level warn kern.x",
        "swap_out_rate 1.5 MiB/s",
        "compressor_rate -1 KiB/s",
        "gpu 0 unknown free of 1.0 GiB card0, here; of the host's 1.0 GiB free of 2.0 GiB",
        "MTL0 51.8 GiB free of 51.8 GiB Apple M5 Pro, llama-server --list-devices",
        "BLAS unknown free of unknown Accelerate, llama-server --list-devices",
        "working set 96.0 GiB what a Mac's GPU may wire",
        "hw.memsize 137438953472",
        r"a\nb",
    ):
        assert line in shown
