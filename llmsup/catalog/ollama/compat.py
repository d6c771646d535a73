"""Which GGUFs only Ollama's own build of llama.cpp can run.

Being in Ollama's store is not enough: a file that was made by llama.cpp's converter has none of the marks below.

Ollama's own converter (its convert/) wrote files that llama.cpp refuses, or silently runs wrong: other names of
architectures, keys and tensors, and projectors in the model's own file. Its llama-server translates them on loading
(its llama/compat/, as of llama.cpp b10729). The marks are those that Ollama's translators look for and that upstream
llama.cpp can't handle:

    mark                                            what llama.cpp does (its src/)
    architecture that only Ollama has               "unknown model architecture" (llama-arch.cpp)
    tensors v.*, mm.*, a.*, mtp.*, attn_g, dense.0  "wrong number of tensors" (llama-model-loader.cpp)
    gemma3 without layer_norm_rms_epsilon           a key that it requires (models/gemma3.cpp)
    gemma3 rope.global/local.freq_base              takes its own default frequencies, and writes nonsense
    gemma3n per_layer_token_embd of another height  wrong shape: both tables need a row a token (models/gemma3n.cpp)
    lfm2 output_norm                                looks for token_embd_norm (models/lfm2.cpp)
    mistral3 rope.scaling.beta_fast, ...            reads rope.scaling.yarn_beta_fast, ...: wrong far into a context
    qwen3vl* without rope.dimension_sections        a key that it requires (models/qwen3vl.cpp)
    qwen35*, qwen3next ssm_dt                       looks for ssm_dt.bias (models/qwen35.cpp)
    qwen35* rope.dimension_sections of 3            "wrong array length", it wants 4
    laguna rope.swa.*                               reads rope.dimension_count_swa and rope.freq_base_swa
    nemotron_h_moe ffn_latent_in                    looks for ffn_latent_down (models/nemotron-h.cpp)
    LLaVA's projector without a type                "unknown projector type" (tools/mtmd/clip.cpp)

Not marked: Llama 3 files with an old tokenizer entry, which llama.cpp runs; Snowflake Arctic Embed 2, whose mark
(tokenizer.ggml.precompiled_charsmap as strings) is not kept in Facts; mllama, which neither supports.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ..gguf.facts import Facts

_UNKNOWN = ("deepseekocr", "glm4moelite", "glmocr", "gptoss", "nemotron_h_omni", "olmo3", "qwen25vl")
"""Architectures that llama.cpp knows by other names."""

_SEEING = (
    *("deepseekocr", "gemma3", "gemma4", "glmocr", "llama4", "mistral3", "nemotron_h_omni"),
    *("qwen25vl", "qwen35", "qwen35moe", "qwen3vl", "qwen3vlmoe"),
)
"""Architectures whose projectors Ollama's llama-server extracts from the model's own file."""


@frozen
class _Marks:
    """How files of one architecture are recognised; any of these is enough.

    Attributes:
        tensors: Prefixes of tensor names, those of layers without their number.
        whole: Whole names of tensors.
        keys: Prefixes of keys, without the architecture.
        lacks: Missing keys that llama.cpp requires and its converter always writes.
    """

    tensors: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


_SEES = ("v.", "mm.")
_QWEN35 = _Marks((*_SEES, "mtp."), whole=("ssm_dt",))
_QWEN3VL = _Marks(_SEES, lacks=("rope.dimension_sections",))

_MARKS: Mapping[str, _Marks] = {
    "gemma3": _Marks(
        _SEES,
        whole=("dense.0.weight",),
        keys=("rope.global.freq_base", "rope.local.freq_base"),
        lacks=("attention.layer_norm_rms_epsilon",),
    ),
    "gemma4": _Marks((*_SEES, "a.", "model.vision_tower.")),
    "laguna": _Marks(whole=("attn_g.weight",), keys=("rope.swa.",)),
    "llama4": _Marks(_SEES),
    "mistral3": _Marks(
        _SEES,
        keys=("rope.scaling.beta_fast", "rope.scaling.beta_slow", "rope.scaling.mscale_all_dim", "rope.scaling_beta"),
    ),
    "nemotron_h_moe": _Marks(("mtp.", "ffn_latent_in")),
    "qwen35": _QWEN35,
    "qwen35moe": _QWEN35,
    "qwen3next": _Marks(whole=("ssm_dt",)),
    "qwen3vl": _QWEN3VL,
    "qwen3vlmoe": _QWEN3VL,
}


def ollama_only(facts: Facts) -> str:
    """Why upstream llama.cpp can't run a file that Ollama's build can, a clause; "" if it can."""
    architecture = facts.architecture
    if facts.role == "projector":
        return _old_projector(facts)
    if facts.role != "model":
        return ""
    if architecture in _UNKNOWN:
        return f"{architecture!r} is Ollama's own name for an architecture"
    if facts.split != (0, 1):  # a part lacks tensors and keys, and Ollama never splits
        return ""
    marks = _MARKS.get(architecture, _Marks())
    if facts.vision_inside and marks.tensors[:2] == _SEES:
        return "its projector is in the model's own file"
    for name in sorted((*facts.named, *facts.layer_tensors)):
        if name in marks.whole or name.startswith(marks.tensors):
            return f"Ollama's converter wrote it, with tensors called {name!r}"
    for key in sorted(facts.numbers):
        if marks.keys and key.startswith(marks.keys):
            return f"Ollama's converter wrote it, with the key {architecture}.{key}"
    for key in marks.lacks:
        if key not in facts.numbers:
            return f"Ollama's converter wrote it, without the key {architecture}.{key}"
    return _of_its_kind(facts)


def sees_with_itself(facts: Facts) -> bool:
    """Whether Ollama's llama-server accepts the model's own file as its `--mmproj`.

    Ollama starts it that way for the architectures whose projectors it translates (llm/llama_server.go,
    compatClipArches).
    """
    return facts.vision_inside and facts.role == "model" and facts.architecture in _SEEING


def _of_its_kind(facts: Facts) -> str:
    """The marks that take more than comparing names."""
    by, named = "Ollama's converter wrote it", facts.named
    if facts.architecture == "lfm2" and "output_norm.weight" in named and "token_embd_norm.weight" not in named:
        return f"{by}, with another name for 'token_embd_norm'"
    sections = facts.numbers.get("rope.dimension_sections")
    if facts.architecture in ("qwen35", "qwen35moe") and isinstance(sections, tuple) and len(sections) == 3:
        return f"{by}, with three of the four rope.dimension_sections"
    # A table with one row per token has a whole number of bytes per token, whatever its type.
    rows, tokens = named.get("per_layer_token_embd.weight", 0), facts.vocabulary
    if facts.architecture == "gemma3n" and tokens and rows % tokens:
        return f"{by}, with per-layer embeddings for fewer tokens than it has"
    return ""


def _old_projector(facts: Facts) -> str:
    typed = {"projector_type", "vision.projector_type"} & facts.numbers.keys()
    sees = any(facts.numbers.get(key) is True for key in ("has_vision_encoder", "has_llava_projector"))
    if facts.architecture == "clip" and sees and not typed:
        return "its projector has no type, as LLaVA's first ones had none"
    return ""
