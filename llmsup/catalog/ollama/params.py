"""Translates an Ollama model's PARAMETERs for llama.cpp: sampling, and the context size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, frozen

from ...config.sampling import PARAMETERS

NAMES: Mapping[str, str] = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_last_n": "repeat_last_n",
    "repeat_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "mirostat": "mirostat",
    "mirostat_eta": "mirostat_eta",
    "mirostat_tau": "mirostat_tau",
    "seed": "seed",
    "num_predict": "n_predict",
    "stop": "stop",
}
"""Ollama's names (api/types.go, struct Options) and llama.cpp's request fields (its tools/server/README.md)."""

IGNORED: Mapping[str, str] = {
    "num_keep": "what to keep when the context is full: our engines don't shift their context",
    "num_batch": "the machine's business, not the model's: the engine knows better",
    "num_gpu": "the machine's business; the config has n_gpu_layers",
    "main_gpu": "the machine's business",
    "num_thread": "the machine's business; the config has threads",
    "use_mmap": "the machine's business",
    "use_mlock": "the machine's business",
    "low_vram": "the machine's business; gone from Ollama",
    "numa": "the machine's business; gone from Ollama",
    "f16_kv": "the machine's business; gone from Ollama",
    "draft_num_predict": "drafting is set at launch, in the config",
    "logits_all": "never a property of a model; gone from Ollama",
    "vocab_only": "never a property of a model; gone from Ollama",
    "embedding_only": "the header says what a model is for; gone from Ollama",
    "rope_frequency_base": "the header says it; gone from Ollama",
    "rope_frequency_scale": "the header says it; gone from Ollama",
    "num_gqa": "the header says it; gone from Ollama",
    "tfs_z": "llama.cpp no longer has tail-free sampling",
    "penalize_newline": "llama.cpp no longer spares newlines from its penalties",
    "shift": "about a request, not a model",
    "truncate": "about a request, not a model",
}
"""Parameters that are deliberately left out, and why."""

LARGEST_CONTEXT = 2**31 - 1
"""llama.cpp's --ctx-size is an int32_t."""

_MOST_STOPS, _LONGEST_STOP = 256, 1024


@frozen
class Params:
    """A model's PARAMETERs, translated.

    Attributes:
        sampling: llama.cpp's request fields.
        ctx_size: Tokens of context; 0: they don't say.
    """

    sampling: Mapping[str, Any] = Factory(dict)
    ctx_size: int = 0


def params(said: Any) -> Params:
    """Translate a `params` blob's JSON; values of a wrong type or out of range are ignored."""
    if not isinstance(said, dict):
        return Params()
    sampling: dict[str, Any] = {}
    for theirs, ours in NAMES.items():
        parameter = PARAMETERS[ours]
        value = _stops(said.get(theirs)) if ours == "stop" else said.get(theirs)
        if value is None:
            continue
        if int in parameter.types:
            value = whole(value)
        try:
            parameter.check(value)
        except ValueError:
            continue
        sampling[ours] = value
    ctx_size = whole(said.get("num_ctx"))
    fits = type(ctx_size) is int and 0 < ctx_size <= LARGEST_CONTEXT
    return Params(sampling, ctx_size if fits else 0)


def whole(value: Any) -> Any:
    """Accept 40.0 as an integer: Ollama reads every number as a float and truncates it (api/types.go, FromMap)."""
    return int(value) if isinstance(value, float) and abs(value) < 2**53 else value


def _stops(value: Any) -> Any:
    """The strings that end an answer; in Ollama always a list."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return None
    return [stop for stop in value if isinstance(stop, str) and 0 < len(stop) <= _LONGEST_STOP][:_MOST_STOPS] or None
