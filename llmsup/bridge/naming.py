"""The path of the link to one of Ollama's models, which encodes its whole name."""

from __future__ import annotations

SEPARATOR = "~"
"""Occurs in none of Ollama's names (`catalog.ollama.places`), so two names can't become one."""

_PORT = "+"  # for the ":" before a registry's port, which macOS shows as "/"; in no name either


def folder_of(name: str) -> str:
    """The folder of a model: "llama3.1~8b", "bob~x~latest", "hf.co~org~repo~Q4_K_M".

    One folder per model: LM Studio applies a projector to every model in the same folder.

    Args:
        name: As Ollama shows it, always with the tag.
    """
    *front, last = name.split("/")
    model, _, tag = last.rpartition(":")
    return SEPARATOR.join((*front, model, tag)).replace(":", _PORT)


def weights_of(name: str) -> str:
    """The link to a model's weights, under the target: two levels, as LM Studio expects."""
    folder = folder_of(name)
    return f"{folder}/{folder}.gguf"


def projector_of(name: str) -> str:
    """The link to a model's projector."""
    folder = folder_of(name)
    return f"{folder}/mmproj-{folder}.gguf"
