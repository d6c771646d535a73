"""Numbers of a header, read as llama.cpp reads them: one for all layers, or one per layer.

A header may claim anything, so every number is bounded.
"""

from __future__ import annotations

from ...catalog.gguf.facts import Facts, Value

MOST_LAYERS = 512
"""The most that llama.cpp loads (src/llama-hparams.h, LLAMA_MAX_LAYERS)."""

_MOST = 2**32 - 1


def number(facts: Facts, key: str, default: int = 0) -> int:
    """One of the architecture's numbers; `default` if it is missing or isn't a count."""
    value = _count(facts.numbers.get(key))
    return default if value is None else value


def numbers(facts: Facts, key: str) -> tuple[int, ...]:
    """An array of numbers or booleans; empty if it isn't one."""
    value = facts.numbers.get(key)
    if not isinstance(value, tuple):
        return ()
    return tuple(int(item) if isinstance(item, bool) else _count(item) or 0 for item in value[:MOST_LAYERS])


def per_layer(facts: Facts, key: str, layers: int, default: int = 0) -> tuple[int, ...]:
    """A number that the header gives once for all layers, or once for each."""
    told = numbers(facts, key)
    if told:
        return (*told[:layers], *(0,) * (layers - len(told)))
    return (number(facts, key, default),) * layers


def layer_count(facts: Facts) -> tuple[int, int]:
    """The number of all layers, and of those that are always run; the others predict further tokens (MTP)."""
    layers = min(number(facts, "block_count"), MOST_LAYERS)
    return layers, max(layers - number(facts, "nextn_predict_layers"), 0) or layers


def _count(value: Value | None) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return min(value, _MOST)
