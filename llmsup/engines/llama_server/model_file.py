"""What a model's file asks of llama.cpp's engines: its projector, its adapters, its pooling.

It does not know how settings are spelled for an engine (`flags`), nor which engine it will be.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from ...catalog.found import Found
from ...catalog.gguf.facts import Facts
from ...config.schema import ModelSpec

# An encoder computes a whole input at once, and llama-server refuses one that is longer than its physical batch
# (512 tokens if nothing is said): "input is too large to process".
_ENCODER_BATCH = 2048


def with_file(spec: ModelSpec, found: Found, projector: Path | None) -> ModelSpec:
    """The settings with the flags that go with the file put before the user's own `args`, which win.

    Args:
        projector: What it is given to see or hear with, if anything.
    """
    return evolve(spec, args=(*file_args(spec, found, projector), *spec.args))


def file_args(spec: ModelSpec, found: Found, projector: Path | None) -> tuple[str, ...]:
    """The flags that go with the file; none that the user's `args` have already. Arguments as for `with_file`."""
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
    """The projector that an engine gets since it goes with the file; None also where the user's `args` settle that, or
    where an engine has refused it.

    Args:
        inside: The engine can take one out of the model's own file.
    """
    if _given(spec, "--mmproj", "-mm", "--no-mmproj", "--mmproj-auto") or found.unseeing:
        return None
    return found.path if inside and found.sees_with_itself else found.projector


def pooling(facts: Facts) -> str:
    """How an embedding model's tokens become one vector: as its header says, else the mean for an encoder and the
    last token for a model that only looks back, as such embedders are trained.
    """
    return facts.pooling or ("mean" if _is_encoder(facts) else "last")


def encoder_batch(facts: Facts) -> int:
    """The physical batch in tokens that takes the longest input of an encoder; 0 where llama-server's own will do."""
    longest = min(facts.context_length, _ENCODER_BATCH)
    return longest if _is_encoder(facts) and longest > 512 else 0


def _is_encoder(facts: Facts) -> bool:
    causal = facts.numbers.get("attention.causal")
    return causal is False or (causal is None and "bert" in facts.architecture)


def _given(spec: ModelSpec, *flags: str) -> bool:
    return any(word.partition("=")[0].replace("_", "-") in flags for word in spec.args)
