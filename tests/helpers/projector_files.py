"""Tiny projectors that a real llama-server loads, or refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gguf_files import Tensors, write_gguf

_SEES: dict[str, Any] = {
    "general.architecture": "clip",
    "general.type": "mmproj",
    "clip.has_vision_encoder": True,
    "clip.use_gelu": True,
    "clip.vision.image_size": 56,
    "clip.vision.patch_size": 14,
    "clip.vision.embedding_length": 64,
    "clip.vision.feed_forward_length": 128,
    "clip.vision.block_count": 1,
    "clip.vision.attention.head_count": 2,
    "clip.vision.attention.layer_norm_epsilon": 1e-6,
    "clip.vision.image_mean": [0.5, 0.5, 0.5],
    "clip.vision.image_std": [0.5, 0.5, 0.5],
}


def write_mmproj(path: Path, width: int, *, type_: str = "mlp", **more: Any) -> Path:
    """A whole one for a model of that width; llama.cpp refuses a type that it doesn't know."""
    metadata = {**_SEES, "clip.projector_type": type_, "clip.vision.projection_dim": width, **more}
    return write_gguf(path, metadata, [*_encoder(), *_mlp(width)])


def _mlp(width: int) -> Tensors:
    return [
        ("mm.0.weight", (64, width), "F16"),
        ("mm.0.bias", (width,), "F32"),
        ("mm.2.weight", (width, width), "F16"),
        ("mm.2.bias", (width,), "F32"),
    ]


def _encoder() -> Tensors:
    yield ("v.patch_embd.weight", (14, 14, 3, 64), "F16")
    yield ("v.patch_embd.bias", (64,), "F32")
    yield ("v.position_embd.weight", (64, 16), "F16")
    for norm in ("v.post_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        yield (f"{norm}.weight", (64,), "F32")
        yield (f"{norm}.bias", (64,), "F32")
    for part in ("q", "k", "v", "out"):
        yield (f"v.blk.0.attn_{part}.weight", (64, 64), "F16")
        yield (f"v.blk.0.attn_{part}.bias", (64,), "F32")
    yield ("v.blk.0.ffn_up.weight", (64, 128), "F16")
    yield ("v.blk.0.ffn_up.bias", (128,), "F32")
    yield ("v.blk.0.ffn_down.weight", (128, 64), "F16")
    yield ("v.blk.0.ffn_down.bias", (64,), "F32")
