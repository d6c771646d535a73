"""What a GGUF is for, and what a model can do, judged by its header.

A `kind` in the config overrides this, in `merge`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .facts import FoundKind, Role
from .types import Header

POOLINGS: Mapping[int, str] = {0: "", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""llama.cpp include/llama.h, enum llama_pooling_type; 0 is none."""

_EMBEDDERS = {
    "bert",
    "eurobert",
    "gemma-embedding",
    "jina-bert-v2",
    "jina-bert-v3",
    "llama-embed",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
    "t5encoder",
}
"""Architectures that only produce embeddings (llama.cpp src/llama-arch.cpp)."""

_DRAFTS = {"dflash", "dflash-draft", "dspark", "eagle", "eagle2", "eagle3", "gemma4-assistant", "medusa", "mtp"}
"""Architectures that only draft for another model."""

_NOT_SERVED = {
    # llama.cpp's server runs no encoder-decoder models (its PR 8993), and no diffusion models for text.
    "t5", "dream", "llada", "llada-moe", "rnd1",
    # Speech: they have tokenizers, but are for other programs.
    "bark", "dia", "kokoro", "parler-tts", "piper", "vits", "wavtokenizer-dec", "whisper",
    # Images and video, as used by ComfyUI and stable-diffusion.cpp.
    "aura", "cosmos", "flux", "hidream", "hyvid", "ltxv", "lumina2", "qwen_image", "sd1", "sd3", "sdxl", "wan",
}  # fmt: skip

_PROJECTOR_KEYS = ("clip.has_", "clip.projector_type", "clip.vision.projector_type", "clip.audio.projector_type")
_LAYER = re.compile(r"blk\.(\d+)\.")
_EMBEDS = re.compile(r"(?<![a-z])embed(?:s|der|dings?)?(?![a-z])", re.IGNORECASE)


def text(header: Header, key: str) -> str:
    """A string of the metadata; "" if it is missing or isn't a string."""
    value = header.metadata.get(key)
    return value if isinstance(value, str) else ""


def number(header: Header, key: str) -> int:
    """A count in the metadata; 0 if it is missing or isn't one."""
    value = header.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63 else 0


def role_of(header: Header, file_name: str = "") -> Role:
    """What the file is for. Its name is only considered if the header has neither an architecture nor a type."""
    architecture, type_ = text(header, "general.architecture").lower(), text(header, "general.type").lower()
    if type_ == "adapter" or "adapter.type" in header.metadata or architecture == "controlvector":
        return "adapter"
    if type_ == "imatrix" or architecture == "imatrix" or "imatrix.datasets" in header.metadata:
        return "imatrix"
    if type_ in ("mmproj", "clip-vision") or architecture == "clip":
        return "projector"
    if any(key.startswith(_PROJECTOR_KEYS) for key in header.metadata):
        return "projector"
    if architecture in _DRAFTS or _only_guesses(header, architecture):
        return "draft"
    if not architecture and not type_ and number(header, "split.count") < 2:
        return _role_by_name(header, file_name.lower())
    return "model"


def _only_guesses(header: Header, architecture: str) -> bool:
    """Whether its only layers are those that predict further tokens: a model's MTP part in a separate file."""
    guessing = number(header, f"{architecture}.nextn_predict_layers")
    if not guessing or number(header, "split.count") > 1:
        return False
    layers = {int(match[1]) for tensor in header.tensors if (match := _LAYER.match(tensor.name))}
    return bool(layers) and min(layers) >= number(header, f"{architecture}.block_count") - guessing > 0


def _role_by_name(header: Header, file_name: str) -> Role:
    names = [tensor.name for tensor in header.tensors]
    if any(name.endswith((".lora_a", ".lora_b")) for name in names):
        return "adapter"
    if any(name.endswith((".in_sum2", ".counts")) for name in names):
        return "imatrix"
    if _has_tokenizer(header):
        return "model"
    if "mmproj" in file_name:
        return "projector"
    if "imatrix" in file_name:
        return "imatrix"
    return "adapter" if re.search(r"(?<![a-z])lora(?![a-z])", file_name) else "model"


def kind_of(header: Header, file_name: str = "") -> tuple[FoundKind, str]:
    """What a model can do, and how it pools token vectors into one ("" if the header doesn't say).

    An unknown architecture is a chat model if it has layers and a vocabulary: llama.cpp may know it. Names are only
    considered where the header gives no pooling type; a reranker must have a classifier head whatever its name.
    """
    architecture = text(header, "general.architecture")
    if architecture.lower() in _NOT_SERVED or any(key.startswith("diffusion.") for key in header.metadata):
        return "unknown", ""
    pools = header.metadata.get(f"{architecture}.pooling_type")
    pooling = POOLINGS.get(pools, "") if isinstance(pools, int) else ""
    whole = bool(header.tensors) or number(header, "split.count") > 1
    if not whole or not _has_tokenizer(header) or not number(header, f"{architecture}.block_count"):
        return "unknown", pooling
    if pooling == "rank" or _has_classifier(header, architecture):
        return "rerank", "rank"
    causal = header.metadata.get(f"{architecture}.attention.causal")
    if pooling or architecture.lower() in _EMBEDDERS or causal is False:
        return "embedding", pooling
    named = (text(header, "general.name"), text(header, "general.basename"), file_name)
    if pools is None and any(_EMBEDS.search(name) for name in named):
        return "embedding", ""
    return "chat", ""


def _has_tokenizer(header: Header) -> bool:
    """Whether it has a vocabulary; llama.cpp's "none" and "no_vocab" mean that it hasn't."""
    if text(header, "tokenizer.ggml.model") in ("none", "no_vocab"):
        return False
    return bool(header.counts.get("tokenizer.ggml.tokens")) or "tokenizer.ggml.model" in header.metadata


def _has_classifier(header: Header, architecture: str) -> bool:
    if header.counts.get(f"{architecture}.classifier.output_labels"):
        return True
    return any(tensor.name.startswith("cls.output") for tensor in header.tensors)
