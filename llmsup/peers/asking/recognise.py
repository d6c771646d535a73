"""What a peer is, by what it answers."""

from __future__ import annotations

from typing import Final

from ..question import Questions
from .kind import LIST, Asker, Listed
from .llama_swap import LlamaSwap
from .llmsup import Llmsup
from .lmstudio import LmStudio
from .ollama import Ollama
from .openai import OpenAi
from .vllm import Vllm

KINDS: Final[tuple[type[Asker], ...]] = (Llmsup, LlamaSwap, Vllm, OpenAi, Ollama, LmStudio)
"""In the order in which they are tried: llmsup first, which speaks the others' APIs, too."""


async def recognise(questions: Questions) -> Asker:
    """Return what asks a peer as its kind is asked.

    Raises:
        NoAnswer: It doesn't answer, or isn't any of them.
    """
    listed = Listed.of(await questions.get(LIST))
    for kind in KINDS:
        if kind.recognises(listed):
            return kind(listed)
    for kind in KINDS:
        if kind.probe and kind.proved_by(await questions.get(kind.probe)):
            return kind(listed)
    listed.models()
    return OpenAi(listed)
