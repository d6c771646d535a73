"""Ollama's llama-server as a kind of engine, only for the files that upstream llama.cpp can't run.

`catalog.ollama.compat` recognises these files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from ...catalog.found import Found
from ...config.schema import ModelSpec
from ...errors import SetupError
from ..kind import Machine, Wanted
from ..llama_server.kind import LlamaServer
from ..llama_server.model_file import projector_of
from .installed import find_llama_server


@frozen(repr=False)
class Ollama(LlamaServer):
    """Ollama's llama-server, which accepts llama-server's flags and is shown to people as one.

    Attributes:
        find: Returns its path, or None if it isn't installed. Reads the disk.
    """

    find: Callable[[], Path | None] = find_llama_server

    name = "ollama"
    word = False
    own_table = False
    remedy = ""

    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        return found is not None and bool(self.alone(found))

    def alone(self, found: Found) -> str:
        return found.ollama_only

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        if self.find() is None:
            why = self.alone(found)
            return f"only Ollama's own llama-server can run it ({why}), and that is not installed."
        return super().refusal(spec, found)

    def projector(self, spec: ModelSpec, found: Found) -> Path | None:
        return projector_of(spec, found, inside=True)

    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        if (server := self.find()) is not None:
            return (str(server),)
        why = self.alone(wanted.found) if wanted.found else ""
        raise SetupError(f"model {wanted.spec.name}: only Ollama's llama-server can run it: {why}.")
