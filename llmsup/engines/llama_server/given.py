"""What a model's own arguments and environment say about the settings that affect memory.

`context` combines them with llmsup's settings and the engine's defaults.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...config.flag_names import flags_of
from ...config.schema import ModelSpec

TRUE, FALSE = ("on", "enabled", "true", "1"), ("off", "disabled", "false", "0")
"""The words that llama.cpp accepts for yes and no (common/arg.cpp)."""

MOST = 2**31 - 1
"""The largest number: llama.cpp uses int32."""

# Environment variables apply where the flag isn't given (llama.cpp common/arg.cpp).
_VARIABLES: Mapping[str, str] = {
    "--ctx-size": "LLAMA_ARG_CTX_SIZE",
    "--parallel": "LLAMA_ARG_N_PARALLEL",
    "--batch-size": "LLAMA_ARG_BATCH",
    "--ubatch-size": "LLAMA_ARG_UBATCH",
    "--cache-type-k": "LLAMA_ARG_CACHE_TYPE_K",
    "--cache-type-v": "LLAMA_ARG_CACHE_TYPE_V",
    "--cache-ram": "LLAMA_ARG_CACHE_RAM",
    "--spec-draft-type-k": "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K",
    "--spec-draft-type-v": "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V",
    "--flash-attn": "LLAMA_ARG_FLASH_ATTN",
    "--kv-unified-per-slot": "LLAMA_ARG_KV_UNIFIED_PER_SLOT",
    "--mmproj": "LLAMA_ARG_MMPROJ",
    "--swa-full": "LLAMA_ARG_SWA_FULL",
    "--kv-unified": "LLAMA_ARG_KV_UNIFIED",
    "--mmproj-auto": "LLAMA_ARG_MMPROJ_AUTO",
    "--embeddings": "LLAMA_ARG_EMBEDDINGS",
    "--reranking": "LLAMA_ARG_RERANKING",
    "--n-gpu-layers": "LLAMA_ARG_N_GPU_LAYERS",
    "--device": "LLAMA_ARG_DEVICE",
    "--tensor-split": "LLAMA_ARG_TENSOR_SPLIT",
    "--main-gpu": "LLAMA_ARG_MAIN_GPU",
    "--split-mode": "LLAMA_ARG_SPLIT_MODE",
    "--fit": "LLAMA_ARG_FIT",
    "--kv-offload": "LLAMA_ARG_KV_OFFLOAD",
    "--mmproj-offload": "LLAMA_ARG_MMPROJ_OFFLOAD",
}
_SWITCHES: Mapping[str, tuple[str, bool]] = {
    "--swa-full": ("--swa-full", True),
    "--kv-unified": ("--kv-unified", True),
    "--no-kv-unified": ("--kv-unified", False),
    "--mmproj-auto": ("--mmproj-auto", True),
    "--no-mmproj-auto": ("--mmproj-auto", False),
    "--no-mmproj": ("--mmproj-auto", False),
    "--embeddings": ("--embeddings", True),
    "--reranking": ("--reranking", True),
    "--kv-offload": ("--kv-offload", True),
    "--no-kv-offload": ("--kv-offload", False),
    "--mmproj-offload": ("--mmproj-offload", True),
    "--no-mmproj-offload": ("--mmproj-offload", False),
}


class Given:
    """A model's own arguments, of which the last of a flag counts, with environment variables as the fallback."""

    def __init__(self, spec: ModelSpec, environ: Mapping[str, str]) -> None:
        self._words = dict(_words(spec.args))
        self._environ = {**environ, **spec.env}

    def text(self, flag: str, ours: str = "") -> str:
        """Return a flag's value; "" if it isn't given. `ours`: what llmsup itself passes for it; "": nothing."""
        return self._words.get(flag) or ours or self._environ.get(_VARIABLES[flag], "")

    def number(self, flag: str, ours: int = 0, default: int = 0) -> int:
        """A flag's value, else what llmsup itself passes for it (0: nothing), else the variable's."""
        if (value := _integer(self._words.get(flag, ""))) is not None:
            return value
        variable = _integer(self._environ.get(_VARIABLES[flag], ""))
        return ours or (default if variable is None else variable)

    def on(self, flag: str, *, default: bool = False) -> bool:
        """Tell whether a switch is on."""
        word = self.text(flag).lower()
        negated = _VARIABLES[flag].replace("LLAMA_ARG_", "LLAMA_ARG_NO_")
        if not word and negated in self._environ:
            return False
        return True if word in TRUE else False if word in FALSE else default


def _words(args: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for flag, value in flags_of(args):
        if flag in _SWITCHES:
            name, on = _SWITCHES[flag]
            yield name, "on" if on else "off"
        elif flag in _VARIABLES:
            yield flag, value


def _integer(text: str) -> int | None:
    try:
        value = int(text[:20])
    except ValueError:
        return None
    return min(max(value, -1), MOST)
