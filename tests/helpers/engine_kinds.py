"""The kinds of engines on a machine where a test decides what is installed."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from llmsup.engines.bundled.kind import Bundled
from llmsup.engines.kinds import KINDS
from llmsup.engines.llama_server.kind import LlamaServer
from llmsup.engines.ollama.kind import Ollama
from llmsup.engines.registry import Kinds


def kinds(*, bundled: bool = False, ollama: Path | None = None) -> Kinds:
    """All of them, with the bundled engine or without it, and with this llama-server of Ollama's or none."""
    return evolve(KINDS, built_in=(Ollama(find=lambda: ollama), LlamaServer(), Bundled(installed=lambda: bundled)))
