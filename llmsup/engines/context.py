"""An engine's context: how many tokens for how many sequences, in which types. Estimates are made from it.

Its cost in memory is computed in `memory.cost`; `Kind.estimate` makes it from a model's settings.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ..units import Bytes
from .offload import OFFLOAD, Offload

Flash = Literal["on", "off", "auto"]

# llama.cpp's defaults, from common/common.h and tools/server/server.cpp.
BATCH, UBATCH, AUTO_SLOTS = 2048, 512, 4


@frozen(kw_only=True)
class Context:
    """The engine's context in the terms of its log, in tokens unless stated otherwise.

    Attributes:
        n_ctx: The context of all sequences together.
        n_ctx_seq: The most that one sequence can have; with a unified cache, all of it.
        sequences: How many requests can run at once (`n_seq_max`).
        unified: Whether the sequences share one cache; otherwise each has its part.
        batch: The most that is submitted at once (`n_batch`).
        ubatch: The most that is computed at once (`n_ubatch`).
        outputs: For how many tokens at once results are kept (`n_outputs_max`).
        type_k: The cache's type for keys, by ggml's name: "f16", "q8_0".
        type_v: The same for values.
        swa_full: Whether layers with a sliding window get a cache as long as the others.
        flash: Whether attention is fused; "auto" is on wherever the device supports it.
        projector: Whether an `mmproj` file is loaded.
        embeddings: Whether it returns vectors or ranks instead of text.
        draft_type_k: The type for keys in the cache of a draft model, which has the same context.
        draft_type_v: The same for values.
        mapped: Whether the weights are mapped from the file, so that the system may drop them; else they are private.
        cache_ram: The most bytes that cached prompts may take in memory, on top of the estimate.
        offload: What of the model goes to devices.
        share: The share of a device's memory that the engine takes at its start, whatever the model needs; 0: it takes
            what the model needs.
        devices: On how many devices it does so.
    """

    n_ctx: int
    n_ctx_seq: int
    sequences: int
    unified: bool
    batch: int = BATCH
    ubatch: int = UBATCH
    outputs: int = AUTO_SLOTS
    type_k: str = "f16"
    type_v: str = "f16"
    swa_full: bool = False
    flash: Flash = "auto"
    projector: bool = False
    embeddings: bool = False
    draft_type_k: str = "f16"
    draft_type_v: str = "f16"
    mapped: bool = True
    cache_ram: Bytes = Bytes(0)
    offload: Offload = OFFLOAD
    share: float = 0.0
    devices: int = 1
