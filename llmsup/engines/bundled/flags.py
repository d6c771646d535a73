"""The llama-server flags that the bundled engine accepts, and which of xllamacpp's parameters each one sets.

This doesn't import xllamacpp: reading or refusing a command line needs no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from . import parsers
from .parsers import Place, Reader


class Flag(NamedTuple):
    """One flag.

    Attributes:
        place: The dotted attribute of `CommonParams` to set, or a function if setting one attribute isn't enough.
        read: Parses the word after the flag; None if the flag takes no value.
        alone: The value to set if the flag takes none.
    """

    place: Place
    read: Reader | None
    alone: object = None


def _valued(place: Place, read: Reader, *spellings: str) -> dict[str, Flag]:
    return dict.fromkeys(spellings, Flag(place, read))


def _switch(place: Place, value: object, *spellings: str) -> dict[str, Flag]:
    return dict.fromkeys(spellings, Flag(place, None, value))


# xllamacpp has no field for top-n-sigma or DRY's sequence breakers: those are sent with each request.
TABLE: Mapping[str, Flag] = {
    **_valued("model.path", str, "--model", "-m"),
    **_valued("mmproj.path", str, "--mmproj", "-mm"),
    **_switch("no_mmproj", True, "--no-mmproj"),
    **_switch("mmproj_use_gpu", False, "--no-mmproj-offload"),
    **_valued(parsers.set_host, str, "--host"),
    **_valued("port", int, "--port"),
    **_valued(parsers.set_alias, str, "--alias", "-a"),
    **_valued("n_threads_http", int, "--threads-http"),
    **_valued("sse_ping_interval", int, "--sse-ping-interval"),
    **_valued("n_ctx", int, "--ctx-size", "-c"),
    **_valued("n_parallel", int, "--parallel", "-np"),
    **_switch("kv_unified", True, "--kv-unified", "-kvu"),
    **_switch("ctx_shift", True, "--context-shift"),
    **_valued("n_gpu_layers", parsers.layers, "--n-gpu-layers", "--gpu-layers", "-ngl"),
    **_valued("main_gpu", int, "--main-gpu", "-mg"),
    **_valued("fit_params", parsers.ON_OFF, "--fit", "-fit"),
    **_valued("cpuparams.n_threads", int, "--threads", "-t"),
    **_valued("cpuparams_batch.n_threads", int, "--threads-batch", "-tb"),
    **_valued("n_batch", int, "--batch-size", "-b"),
    **_valued("n_ubatch", int, "--ubatch-size", "-ub"),
    **_valued("cache_ram_mib", int, "--cache-ram", "-cram"),
    **_valued("n_cache_reuse", int, "--cache-reuse"),
    **_valued("n_ctx_checkpoints", int, "--ctx-checkpoints", "-ctxcp"),
    **_switch("cache_prompt", True, "--cache-prompt"),
    **_switch("cache_prompt", False, "--no-cache-prompt"),
    **_valued("slot_save_path", str, "--slot-save-path"),
    **_switch("cache_idle_slots", True, "--cache-idle-slots"),
    **_switch("cache_idle_slots", False, "--no-cache-idle-slots"),
    **_valued("flash_attn_type", parsers.FLASH_ATTENTION, "--flash-attn", "-fa"),
    **_valued("cache_type_k", parsers.CACHE_TYPE, "--cache-type-k", "-ctk"),
    **_valued("cache_type_v", parsers.CACHE_TYPE, "--cache-type-v", "-ctv"),
    **_switch("no_kv_offload", True, "--no-kv-offload", "-nkvo"),
    **_switch("swa_full", True, "--swa-full"),
    **_valued(parsers.set_load_mode, parsers.LOAD_MODE, "--load-mode", "-lm"),
    **_switch(parsers.set_load_mode, "none", "--no-mmap"),
    **_switch(parsers.set_load_mode, "mlock", "--mlock"),
    **_switch("warmup", False, "--no-warmup"),
    **_switch("embedding", True, "--embeddings", "--embedding"),
    **_valued("pooling_type", parsers.POOLING, "--pooling"),
    **_valued("embd_normalize", int, "--embd-normalize"),
    **_switch(parsers.set_rerank, True, "--reranking", "--rerank"),
    **_valued("rope_freq_base", float, "--rope-freq-base"),
    **_valued("rope_freq_scale", float, "--rope-freq-scale"),
    **_valued("chat_template", str, "--chat-template"),
    **_valued("default_template_kwargs", parsers.template_kwargs, "--chat-template-kwargs"),
    **_switch("use_jinja", True, "--jinja"),
    **_switch("use_jinja", False, "--no-jinja"),
    **_valued("reasoning_format", parsers.REASONING_FORMAT, "--reasoning-format"),
    **_switch("endpoint_metrics", True, "--metrics"),
    **_switch("endpoint_slots", False, "--no-slots"),
    **_switch(parsers.set_ui, False, "--no-ui", "--no-webui"),
    **_switch("offline", True, "--offline"),
    **_valued("verbosity", int, "--verbosity", "--log-verbosity", "-lv"),
    **_valued("sampling.samplers", str, "--samplers"),
    **_valued("sampling.seed", parsers.seed, "--seed", "-s"),
    **_switch("sampling.ignore_eos", True, "--ignore-eos"),
    **_switch("sampling.backend_sampling", True, "--backend-sampling", "-bs"),
    **_valued("sampling.temp", float, "--temperature", "--temp"),
    **_valued("sampling.dynatemp_range", float, "--dynatemp-range"),
    **_valued("sampling.dynatemp_exponent", float, "--dynatemp-exp"),
    **_valued("sampling.top_k", int, "--top-k"),
    **_valued("sampling.top_p", float, "--top-p"),
    **_valued("sampling.min_p", float, "--min-p"),
    **_valued("sampling.typ_p", float, "--typical-p", "--typical"),
    **_valued("sampling.xtc_probability", float, "--xtc-probability"),
    **_valued("sampling.xtc_threshold", float, "--xtc-threshold"),
    **_valued("sampling.dry_multiplier", float, "--dry-multiplier"),
    **_valued("sampling.dry_base", float, "--dry-base"),
    **_valued("sampling.dry_allowed_length", int, "--dry-allowed-length"),
    **_valued("sampling.dry_penalty_last_n", int, "--dry-penalty-last-n"),
    **_valued("sampling.penalty_last_n", int, "--repeat-last-n"),
    **_valued("sampling.penalty_repeat", float, "--repeat-penalty"),
    **_valued("sampling.penalty_present", float, "--presence-penalty"),
    **_valued("sampling.penalty_freq", float, "--frequency-penalty"),
    **_valued("sampling.mirostat", int, "--mirostat"),
    **_valued("sampling.mirostat_eta", float, "--mirostat-lr"),
    **_valued("sampling.mirostat_tau", float, "--mirostat-ent"),
    **_valued("sampling.adaptive_target", float, "--adaptive-target"),
    **_valued("sampling.adaptive_decay", float, "--adaptive-decay"),
}

FLAGS = frozenset(TABLE)
VALUED = frozenset(flag for flag, how in TABLE.items() if how.read is not None)


def apply(engine: Any, params: Any, flag: Flag, value: object) -> None:
    """Set a flag's value in xllamacpp's parameters.

    Args:
        engine: The module `xllamacpp`.
        params: Its `CommonParams`.
    """
    if not isinstance(flag.place, str):
        flag.place(engine, params, value)
        return
    *path, name = flag.place.split(".")
    owner = params
    for step in path:
        owner = getattr(owner, step)
    setattr(owner, name, parsers.member(engine, value))
    if path == ["sampling"]:
        # A GGUF may contain sampling defaults; this marks the value as the user's, which takes precedence.
        bit = getattr(engine.common_params_sampling_config, f"COMMON_PARAMS_SAMPLING_CONFIG_{name.upper()}", 0)
        owner.user_sampling_config |= int(bit)
