"""Where the link to one of Ollama's models lies, which tells all of its name.

It does not know what is linked.
"""

from __future__ import annotations

SEPARATOR = "~"
"""Stands in no name of Ollama's (`catalog.ollama.places`), so two names can't become one."""

_PORT = "+"  # for the ":" before a registry's port, which macOS shows as "/"; it stands in no name either


def folder_of(name: str) -> str:
    """The folder of a model: "llama3.1~8b", "bob~x~latest", "hf.co~org~repo~Q4_K_M".

    Each model has one of its own: LM Studio takes a projector for that of all models beside it.

    Args:
        name: As Ollama shows it, with the tag always.
    """
    *front, last = name.split("/")
    model, _, tag = last.rpartition(":")
    return SEPARATOR.join((*front, model, tag)).replace(":", _PORT)


def weights_of(name: str) -> str:
    """The link to a model's weights, under the target: two levels, as LM Studio wants them."""
    folder = folder_of(name)
    return f"{folder}/{folder}.gguf"


def projector_of(name: str) -> str:
    """The link to a model's projector."""
    folder = folder_of(name)
    return f"{folder}/mmproj-{folder}.gguf"
