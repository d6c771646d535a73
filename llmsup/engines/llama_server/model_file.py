"""What a model's file requires of llama.cpp's engines: its projector, its adapters, its pooling.

How settings are spelled for a particular engine is up to `flags`.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from ...catalog.found import Found
from ...catalog.gguf.facts import Facts
from ...config.schema import ModelSpec

# An encoder processes an input as a whole, and llama-server refuses one longer than its physical batch (512 tokens by
# default): "input is too large to process".
_ENCODER_BATCH = 2048


def with_file(spec: ModelSpec, found: Found, projector: Path | None) -> ModelSpec:
    """Return the settings with the file's flags put before the user's `args`, which take precedence.

    Args:
        projector: The projector that the engine gets, if any.
    """
    return evolve(spec, args=(*file_args(spec, found, projector), *spec.args))


def file_args(spec: ModelSpec, found: Found, projector: Path | None) -> tuple[str, ...]:
    """Return the file's flags, except those already in the user's `args`. Arguments as for `with_file`."""
    words: list[str] = []
    if projector:
        words += ("--mmproj", str(projector))
    if not _given(spec, "--lora", "--lora-scaled"):
        words += (word for adapter in found.adapters for word in ("--lora", str(adapter)))
    if spec.kind == "embedding" and not _given(spec, "--pooling"):
        words += ("--pooling", pooling(found.facts))
    if spec.kind in ("embedding", "rerank") and (batch := encoder_batch(found.facts)):
        if not _given(spec, "--ubatch-size", "-ub"):
            words += ("--ubatch-size", str(batch))
        if not _given(spec, "--batch-size", "-b"):
            words += ("--batch-size", str(max(batch, 2048)))
    return tuple(words)


def projector_of(spec: ModelSpec, found: Found, *, inside: bool = False) -> Path | None:
    """Return the projector that an engine gets because it belongs to the file.

    None if there is none, if the user's `args` decide about it, or if an engine has refused it.

    Args:
        inside: Whether the engine can use a projector contained in the model's file.
    """
    if _given(spec, "--mmproj", "-mm", "--no-mmproj", "--mmproj-auto") or found.unseeing:
        return None
    return found.path if inside and found.sees_with_itself else found.projector


def pooling(facts: Facts) -> str:
    """Return how an embedding model pools its tokens into one vector.

    If the header doesn't say, that is the mean for an encoder and the last token for a causal model, as such embedders
    are trained.
    """
    return facts.pooling or ("mean" if _is_encoder(facts) else "last")


def encoder_batch(facts: Facts) -> int:
    """Return the physical batch, in tokens, for an encoder's longest input; 0 if llama-server's default will do."""
    longest = min(facts.context_length, _ENCODER_BATCH)
    return longest if _is_encoder(facts) and longest > 512 else 0


def _is_encoder(facts: Facts) -> bool:
    causal = facts.numbers.get("attention.causal")
    return causal is False or (causal is None and "bert" in facts.architecture)


def _given(spec: ModelSpec, *flags: str) -> bool:
    return any(word.partition("=")[0].replace("_", "-") in flags for word in spec.args)
