"""A model's sampling in vLLM's request fields.

Requests carry all of it: vLLM has no flags for sampling, and what it is started with (`--override-generation-config`)
covers six fields only (vllm/config/model.py, `get_diff_sampling_param`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, frozen

from ...config.schema import ModelSpec
from ..sampling import request_field

# vllm/entrypoints/openai/chat_completion/protocol.py and sampling_params.py
_FIELDS: Mapping[str, str] = {
    **{name: name for name in ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty")},
    **{name: name for name in ("seed", "stop", "ignore_eos", "logit_bias", "max_tokens", "chat_template_kwargs")},
    "repeat_penalty": "repetition_penalty",
}
_OFF: Mapping[str, tuple[object, object]] = {
    "top_k": (0, -1),  # older ones know only -1 for "all"
    "seed": (-1, None),
    "max_tokens": (-1, None),
}
"""A value of llama.cpp's, and what says that here; None: nothing does, as it is the default."""

_NO_CHANGE: Mapping[str, tuple[object, ...]] = {
    "top_n_sigma": (-1.0, 0.0),
    "typical_p": (1.0,),
    "xtc_probability": (0.0,),
    "adaptive_target": (-1.0,),
    "dry_multiplier": (0.0,),
    "dynatemp_range": (0.0,),
    "mirostat": (0,),
    "cache_prompt": (True,),
    "reasoning_format": ("auto",),
}
"""Values with which a sampler that vLLM hasn't is off anyway."""


@frozen
class Translated:
    """The fields, and what had to be left out, a clause each."""

    fields: Mapping[str, Any] = Factory(dict)
    left_out: tuple[str, ...] = ()


def translated(spec: ModelSpec) -> Translated:
    """Return a model's sampling as fields of vLLM's requests; nothing for a model that doesn't generate."""
    if spec.kind not in (None, "chat"):
        return Translated()
    fields: dict[str, Any] = {}
    left_out = []
    for name, value in spec.sampling.items():
        ours = request_field(name)
        theirs = _FIELDS.get(ours)
        if theirs is None and value not in _NO_CHANGE.get(ours, ()):
            left_out.append(f"sampling.{name}: vLLM has nothing like it, so it is left out")
        elif theirs is not None:
            usual, said = _OFF.get(ours, (None, None))
            told = said if usual is not None and value == usual else value
            if told is not None:
                fields[theirs] = told
    return Translated(fields, tuple(left_out))
