"""The built-in kinds of engines.

To add one, write a `Kind` in a new folder and list it here.
"""

from __future__ import annotations

from .bundled.kind import Bundled
from .command.kind import Command
from .llama_server.kind import LlamaServer
from .ollama.kind import Ollama
from .registry import Kinds
from .vllm.kind import Vllm

KINDS = Kinds(built_in=(Ollama(), LlamaServer(), Bundled(), Vllm()), command=Command())
"""In the order in which `engine = "auto"` tries them."""
