"""Which build of which engine a model gets, as a text that differs when the build does.

It does not know what differs between builds.
"""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from ..catalog.entry import Entry
from .selector import BUNDLED, LLAMA_SERVER, EngineSelector, is_llama_server


def llama_server(selector: EngineSelector) -> tuple[str, ...]:
    """The llama-server that models get where they don't say otherwise, and the arguments that it always gets; none:
    there is none.
    """
    table = selector.config.now.engines.get(LLAMA_SERVER)
    words: tuple[str, ...] = (LLAMA_SERVER,)
    if table and table.command and is_llama_server(table.name, table.command):
        words = table.command
    found = selector.which(os.path.expanduser(words[0]))
    return (found, *words[1:]) if found else ()


def build_of(selector: EngineSelector, entry: Entry) -> str:
    """The program's path, size and time of change; of the bundled engine its version. "" if there is neither.

    Looks at the disk, but starts nothing: not even a `--version`, which with cold GPU libraries takes seconds.
    """
    spec, found = entry.spec, entry.found
    table = entry.engine or selector.config.now.engines.get(spec.engine)
    if words := spec.command or (table.command if table and spec.engine != "auto" else ()):
        return _stamp(selector.which(os.path.expanduser(words[0])))
    if found is not None and found.ollama_only and spec.engine == "auto":
        return _stamp(selector.ollama_server())
    if spec.engine != BUNDLED and (server := llama_server(selector)):
        return _stamp(server[0])
    try:
        return f"xllamacpp {importlib.metadata.version('xllamacpp')}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def _stamp(program: str | Path | None) -> str:
    if not program:
        return ""
    try:
        real = Path(program).resolve(strict=True)
        state = real.stat()
    except OSError:
        return ""
    return f"{real} {state.st_size} {state.st_mtime_ns}"
