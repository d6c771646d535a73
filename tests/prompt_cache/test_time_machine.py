"""The directory is left out of backups by the program that macOS has for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmsup.prompt_cache.time_machine import leave_out


async def test_it_is_left_out(tmp_path: Path) -> None:
    program = tmp_path / "tmutil"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    program.chmod(0o755)
    await leave_out(tmp_path / "a cache", str(program))
    assert (tmp_path / "called").read_text() == f"addexclusion {tmp_path}/a cache\n"


async def test_without_it_somebody_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await leave_out(tmp_path, str(tmp_path / "tmutil"))
    assert "Time Machine" in caplog.text
