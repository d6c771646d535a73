"""A `llmsup serve` of its own process, for clients that know no trio, and to be measured from outside."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
from attrs import frozen

FAKE = Path(__file__).parent / "fake_engine.py"
ROOT = Path(__file__).parents[2]
PATIENCE = 120
"""Seconds after which a test counts as hung. Generous: it says nothing about speed."""

KEY = "k"
"""The key that its clients need."""


@frozen
class OwnServer:
    """A running server."""

    process: subprocess.Popen[bytes]
    url: str

    def peak(self) -> int:
        """The most bytes that were in memory at a time, as the kernel has it."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        """From now on the peak is that of what comes."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


def fake(*switches: object, **table: Any) -> dict[str, Any]:
    """A model's table, whose engine is the fake one."""
    command = [sys.executable, str(FAKE), "--socket", "${SOCKET}", *map(str, switches)]
    return {"command": command, "memory": "1MiB", "stop_grace": "2s", **table}


@contextmanager
def own_server(folder: Path, **config: Any) -> Iterator[OwnServer]:
    """Serve what the config's tables say, until the block is left. `program`: what Python is told to run as llmsup."""
    program: Sequence[str] = config.pop("program", ("-m", "llmsup"))
    log, file = folder / "stderr", folder / "llmsup.toml"
    server = {"listen": "127.0.0.1:0", "api_keys": [KEY], "state_dir": str(folder / "state"), "shutdown_grace": "1s"}
    server.update(config.pop("server", {}))
    file.write_text(tomli_w.dumps({"server": server, "bridge": {"every": "never"}, "catalog": {"roots": []}, **config}))
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, *program, "serve", "--config", str(file)], stderr=stderr, cwd=ROOT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"listening on [^:\s]+:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)  # a log can only be looked at again and again
        yield OwnServer(process, f"http://127.0.0.1:{found[1]}")
    finally:
        process.terminate()
        process.wait(PATIENCE)
