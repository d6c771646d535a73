"""What a real llama-server says of its memory, read from its log; the engine is ended as soon as it has said it."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from threading import Timer
from typing import Any

from attrs import frozen
from real_engines import llama_server

from llmsup.catalog.found import Found
from llmsup.catalog.gguf.reader import read_header
from llmsup.catalog.gguf.summary import summarise
from llmsup.config.schema import ModelSpec
from llmsup.memory.cost.estimate import Estimate, estimate

_BUFFER = re.compile(r"(\w+): +(\S+) +(model|KV|RS|compute|output) buffer size = +(\d+\.\d\d) MiB")
_CONTEXT = re.compile(
    r"llama_context: (n_seq_max|n_ctx|n_ctx_seq|n_batch|n_ubatch|n_outputs_max|kv_unified) += (\w+)\n"
)
_CONSTRUCTING = "constructing llama_context"
_READY = re.compile("initializing, n_slots|threadpool init")  # newer builds say only the second


@frozen
class Measured:
    """One start.

    Attributes:
        buffers: By kind ("KV", "RS", "model", "compute", "output"), each line's MiB as it was printed, in order.
        context: The context's lines: "n_ctx", "n_seq_max", "kv_unified", ...
    """

    buffers: dict[str, tuple[str, ...]]
    context: dict[str, str]

    def mib(self, kind: str) -> float:
        """All buffers of a kind together."""
        return sum(map(float, self.buffers.get(kind, ())))


def measure(model: Path, *args: str, env: dict[str, str] | None = None, fit: bool = False) -> Measured:
    """Start the engine on the CPU, read its log until the model is loaded, and end it.

    Args:
        fit: Let it look first whether the model fits: it then makes a context twice, and the last one counts.
    """
    return read(log_of(model, *args, env=env, fit=fit))


def log_of(model: Path, *args: str, env: dict[str, str] | None = None, fit: bool = False) -> str:
    """The log itself. `args` may name devices all the same."""
    with tempfile.TemporaryDirectory(prefix="lls", dir="/tmp") as short:
        words = [str(llama_server()), "--model", str(model), "--host", f"{short}/e.sock", "-ngl", "0", "-lv", "4"]
        words += ["--device", "none"]  # a GPU would take its share of the buffers
        words += ["--no-warmup", "--offline", "-t", "1", *(() if fit else ("-fit", "off")), *args]
        process = subprocess.Popen(
            words,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        with process:
            assert process.stderr is not None
            clock = Timer(60, process.kill)
            clock.start()
            said: list[str] = []
            ready = False
            for line in process.stderr:
                said.append(line)
                ready = bool(_READY.search(line))
                if ready:
                    break
            code = None if ready else process.wait(5)
            process.kill()
            clock.cancel()
    log = "".join(said)
    assert ready, f"ended with {code}:\n{log[-2000:]}"
    return log


def found(model: Path) -> Found:
    """The model as the catalog finds it."""
    return Found(id=model.stem, path=model, files=(), facts=summarise(read_header(model), model.stat().st_size))


def estimated(model: Path, *args: str, env: dict[str, str] | None = None) -> Estimate:
    """What llmsup says of the same start."""
    spec = ModelSpec(name="m", path=str(model), args=args, env=env or {})
    said = estimate(spec, found(model))
    assert said is not None
    return said


def read(log: str) -> Measured:
    """Read a log; of what the engine did more than once, only the last counts."""
    weights, _, last = log.rpartition(_CONSTRUCTING)
    buffers: dict[str, Any] = {}
    for _, _, kind, size in _BUFFER.findall(last):
        buffers[kind] = (*buffers.get(kind, ()), size)
    loaded = [size for _, _, kind, size in _BUFFER.findall(weights) if kind == "model"]
    return Measured({**buffers, "model": tuple(loaded)}, dict(_CONTEXT.findall(last)))
