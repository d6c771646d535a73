"""Which layers of a model attend only within a sliding window, by architecture."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ...catalog.gguf.facts import Facts
from .header import number, numbers


@frozen
class Pattern:
    """How an architecture's layers alternate, where the header doesn't say it layer by layer.

    Attributes:
        period: One in so many layers has full attention; 0: none has, 1: all have.
        dense_first: That layer is the first of its period, not the last.
        default: The window in tokens if the header has none; 0: then there are no windows.
        fixed: The window in tokens whatever the header says; 0: the header's.
        layers: Only models with this number of layers have windows; 0: all models.
    """

    period: int
    dense_first: bool = False
    default: int = 0
    fixed: int = 0
    layers: int = 0


_PATTERNS: Mapping[str, Pattern] = {
    "afmoe": Pattern(4),
    "cohere2": Pattern(4),
    "cohere2moe": Pattern(4, dense_first=True),
    "exaone-moe": Pattern(4, default=128),
    "exaone4": Pattern(4, default=4096, layers=64),
    "gemma2": Pattern(2, default=4096),
    "gemma3": Pattern(6),
    "gemma3n": Pattern(5),
    "gpt-oss": Pattern(2),
    "laguna": Pattern(4, dense_first=True),
    "lfm2": Pattern(0),
    "llama4": Pattern(4, default=8192, fixed=8192),
    "mellum": Pattern(4),
    "muse-glimmer": Pattern(4),
    "olmo2": Pattern(4),  # OLMo 3 too
    "plamo3": Pattern(8),
    "smallthinker": Pattern(4, dense_first=True, fixed=4096),
    # The header lists the layers.
    **dict.fromkeys(("dots3note", "gemma4", "granite_swa", "maple", "mimo2", "spark2_5", "step35"), Pattern(1)),
}
"""llama.cpp src/models/*.cpp, `load_arch_hparams`. Other architectures have no windows in llama.cpp, whatever the
header says: llama and phi3 cache everything.
"""

_KEY, _PATTERN_KEY = "attention.sliding_window", "attention.sliding_window_pattern"


def windows(facts: Facts, layers: int) -> tuple[int, frozenset[int]]:
    """The window in tokens, and the layers that have it; (0, empty) for a model without windows.

    Args:
        layers: How many layers to consider: those that predict further tokens (MTP) have no window.
    """
    pattern = _PATTERNS.get(facts.architecture)
    if pattern is None or (pattern.layers and pattern.layers != layers):
        return 0, frozenset()
    window = number(facts, _KEY) if _KEY in facts.numbers else pattern.default
    window = window and (pattern.fixed or window)
    if not window:
        return 0, frozenset()
    told = numbers(facts, _PATTERN_KEY)
    if told:
        return window, frozenset(layer for layer, has in enumerate(told[:layers]) if has)
    period = number(facts, _PATTERN_KEY, pattern.period)
    dense = 0 if pattern.dense_first else period - 1
    return window, frozenset(layer for layer in range(layers) if not period or layer % period != dense)
