"""More tiny models: architectures that fewer people run, or that keep something of their own in memory."""

from __future__ import annotations

from collections.abc import Callable

from miniatures import SSM2, VOCABULARY, Mini, heads


def _llama4() -> Mini:
    mini = Mini(5, **heads(4, 2), interleave_moe_layer_step=2, expert_count=4, expert_used_count=1)
    mini.numbers |= {"expert_feed_forward_length": 128, "feed_forward_length": 512, "context_length": 65536}
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128)
        if (layer + 1) % 2:
            mini.feed(layer, 512)
        else:
            mini.add(f"blk.{layer}.ffn_norm", mini.width)
            mini.experts(layer, 128, 4)
            mini.shared(layer, 128)
    return mini


def _smallthinker() -> Mini:
    mini = Mini(5, **heads(4, 2), attention__sliding_window=4096, expert_count=4, expert_used_count=2)
    mini.numbers |= {"expert_feed_forward_length": 128, "context_length": 32768, "expert_gating_func": 2}
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128)
        mini.add(f"blk.{layer}.ffn_norm", mini.width)
        mini.experts(layer, 128, 4)
    return mini


def _olmo2() -> Mini:
    mini = Mini(5, **heads(4, 2), attention__sliding_window=512)
    mini.add("output", mini.width, len(VOCABULARY))
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128, norm=False, post=True)
        mini.add(f"blk.{layer}.attn_q_norm", 256)
        mini.add(f"blk.{layer}.attn_k_norm", 128)
        mini.feed(layer, 512, norm=False, post=True)
    return mini


def _exaone4() -> Mini:
    mini = Mini(64, 128, **heads(2, 1), attention__sliding_window=1024)
    for layer in range(mini.layers):
        mini.attend(layer, 128, 64, 64, norm=False, post=True, head=64)
        mini.feed(layer, 128, norm=False, post=True)
    return mini


def _phi3() -> Mini:
    mini = Mini(3, **heads(4, 2), attention__sliding_window=512)
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128)
        mini.add(f"blk.{layer}.ffn_norm", mini.width)
        mini.add(f"blk.{layer}.ffn_up", mini.width, 1024)
        mini.add(f"blk.{layer}.ffn_down", 512, mini.width)
    mini.numbers["feed_forward_length"] = 512
    return mini


def _glm4moe() -> Mini:
    """With a layer that predicts a further token."""
    mini = Mini(4, **heads(4, 2), nextn_predict_layers=1, expert_count=4, expert_used_count=2, expert_shared_count=1)
    mini.numbers |= {"expert_feed_forward_length": 128, "leading_dense_block_count": 1, "expert_weights_scale": 1.0}
    mini.add("output", mini.width, len(VOCABULARY))
    for layer in range(mini.layers):
        mini.attend(layer, 256, 128, 128, post=True)
        if not layer:
            mini.feed(layer, 512, norm=False)
            continue
        mini.experts(layer, 128, 4)
        mini.add(f"blk.{layer}.exp_probs_b.bias", 4)
        mini.shared(layer, 128)
    mini.add("blk.3.nextn.eh_proj", 2 * mini.width, mini.width)
    for norm in ("enorm", "hnorm", "shared_head_norm"):
        mini.add(f"blk.3.nextn.{norm}", mini.width)
    return mini


def _qwen35() -> Mini:
    mini = Mini(4, **heads(4, 1), **SSM2, ssm__group_count=4)
    mini.numbers["rope.dimension_sections"] = [11, 11, 10, 0]
    for layer in range(mini.layers):
        blk = f"blk.{layer}"
        if (layer + 1) % 4:
            mini.delta(layer)
            mini.add(f"{blk}.ssm_alpha", mini.width, 8)
            mini.add(f"{blk}.ssm_beta", mini.width, 8)
        else:
            mini.attend(layer, 512, 64, 64, head=64, back=256)
        mini.add(f"{blk}.post_attention_norm", mini.width)
        mini.feed(layer, 512, norm=False)
    return mini


def _deepseek32() -> Mini:
    """MLA, and an indexer with a cache of its own."""
    mini = Mini(3, attention__indexer__head_count=4, attention__indexer__key_length=64, attention__indexer__top_k=64)
    mini.numbers |= {"leading_dense_block_count": 3, "expert_count": 4, "expert_used_count": 2}
    mini.numbers |= {"expert_shared_count": 1, "expert_feed_forward_length": 128, "expert_gating_func": 2}
    mini.add("output", mini.width, len(VOCABULARY))
    for layer in range(mini.layers):
        blk = f"blk.{layer}"
        mini.latent(layer, queries=96)
        mini.feed(layer, 512)
        mini.add(f"{blk}.indexer.k_norm", 64)
        mini.add(f"{blk}.indexer.k_norm.bias", 64)
        mini.add(f"{blk}.indexer.proj", mini.width, 4)
        mini.add(f"{blk}.indexer.attn_k", mini.width, 64)
        mini.add(f"{blk}.indexer.attn_q_b", 96, 4 * 64)
    return mini


def _kimi_linear() -> Mini:
    mini = Mini(4, kda__head_dim=64, ssm__conv_kernel=4)
    mini.numbers |= {"leading_dense_block_count": 4, "expert_count": 4, "expert_used_count": 2}
    mini.numbers |= {"expert_shared_count": 1, "expert_feed_forward_length": 128, "expert_gating_func": 2}
    mini.add("output", mini.width, len(VOCABULARY))
    for layer in range(mini.layers):
        blk = f"blk.{layer}"
        if layer == 3:
            mini.latent(layer)
        else:
            mini.attend(layer, 256, 256, 256)
            for part in "qkv":
                mini.add(f"{blk}.ssm_conv1d_{part}", 4, 1, 256, exact=True)
            for part in "fg":
                mini.add(f"{blk}.ssm_{part}_a", mini.width, 64)
                mini.add(f"{blk}.ssm_{part}_b", 64, 256)
            mini.add(f"{blk}.ssm_beta", mini.width, 4)
            mini.add(f"{blk}.ssm_a", 1, 4, exact=True)
            mini.add(f"{blk}.ssm_dt.bias", 256)
            mini.add(f"{blk}.ssm_norm", 64)
        mini.feed(layer, 512)
    mini.numbers["attention.head_count_kv"] = [0, 0, 0, 1]
    return mini


def _jamba() -> Mini:
    mini = Mini(4, **heads(4, [0, 0, 2, 0]))
    mini.numbers |= {"ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 16, "ssm.time_step_rank": 16}
    for layer in range(mini.layers):
        blk = f"blk.{layer}"
        if layer == 2:
            mini.attend(layer, 256, 128, 128)
        else:
            mini.mamba(layer)
            mini.add(f"{blk}.ssm_dt_norm", 16)
            mini.add(f"{blk}.ssm_b_norm", 16)
            mini.add(f"{blk}.ssm_c_norm", 16)
        mini.feed(layer, 512)
    return mini


def _rwkv7() -> Mini:
    mini = Mini(3, wkv__head_size=64, feed_forward_length=1024, attention__head_count=0)
    mini.numbers |= {"attention.layer_norm_epsilon": 1e-5, "attention.decay_lora_rank": 32}
    mini.numbers |= {"attention.iclr_lora_rank": 32, "attention.value_residual_mix_lora_rank": 32}
    mini.numbers["attention.gate_lora_rank"] = 64
    mini.add("output", mini.width, len(VOCABULARY))
    for norm in ("output_norm.bias", "token_embd_norm", "token_embd_norm.bias"):
        mini.add(norm, mini.width)
    for layer in range(mini.layers):
        blk = f"blk.{layer}"
        for norm in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            mini.add(f"{blk}.{norm}", mini.width)
            mini.add(f"{blk}.{norm}.bias", mini.width)
        for part in ("w", "a", "v", "g"):
            rank = 64 if part == "g" else 32
            if part != "g":
                mini.add(f"{blk}.time_mix_{part}0", mini.width)
            mini.add(f"{blk}.time_mix_{part}1", mini.width, rank)
            mini.add(f"{blk}.time_mix_{part}2", rank, mini.width)
        mini.add(f"{blk}.time_mix_lerp_fused", mini.width, 1, 1, 6, exact=True)
        for part in ("k_k", "k_a", "r_k"):
            mini.add(f"{blk}.time_mix_{part}", mini.width)
        for part in ("key", "value", "receptance", "output"):
            mini.add(f"{blk}.time_mix_{part}", mini.width, mini.width)
        mini.add(f"{blk}.channel_mix_lerp_k", mini.width, 1, 1, exact=True)
        mini.add(f"{blk}.channel_mix_key", mini.width, 1024)
        mini.add(f"{blk}.channel_mix_value", 1024, mini.width)
    return mini


def _gemma_embedding() -> Mini:
    mini = Mini(6, **heads(4, 1), attention__sliding_window=512, pooling_type=1, attention__causal=False)
    for layer in range(mini.layers):
        mini.attend(layer, 256, 64, 64, head=64, post=True)
        mini.feed(layer, 512, post=True)
    return mini


def _gemma3n() -> Mini:
    layers = 25
    mini = Mini(layers, **heads(4, 2), attention__sliding_window=512)
    mini.numbers |= {"embedding_length_per_layer_input": 256, "altup.num_inputs": 4, "altup.active_idx": 0}
    mini.add("altup_proj", mini.width, mini.width, 3)
    mini.add("altup_unembd_proj", mini.width, mini.width, 3)
    mini.add("per_layer_token_embd", 256 * layers, len(VOCABULARY))
    mini.add("per_layer_model_proj", mini.width, 256 * layers)
    mini.add("per_layer_proj_norm", 256)
    for layer in range(layers):
        blk = f"blk.{layer}"
        mini.attend(layer, 256, 128, 128, head=64, post=True)
        mini.feed(layer, 512, post=True)
        for name, *shape in (
            ("inp_gate", 256, 256), ("proj", 256, 256), ("post_norm", 256), ("altup_correct_coef", 4, 4),
            ("altup_correct_scale", 256), ("altup_predict_coef", 4, 16), ("altup_router", 256, 4),
            ("altup_router_norm", 256), ("laurel_l", 256, 64), ("laurel_r", 64, 256), ("laurel_post_norm", 256),
        ):  # fmt: skip
            mini.add(f"{blk}.{name}", *shape, exact="coef" in name)
    return mini


MORE: dict[str, Callable[[], Mini]] = {
    "deepseek32": _deepseek32,
    "exaone4": _exaone4,
    "gemma-embedding": _gemma_embedding,
    "gemma3n": _gemma3n,
    "glm4moe": _glm4moe,
    "jamba": _jamba,
    "kimi-linear": _kimi_linear,
    "llama4": _llama4,
    "olmo2": _olmo2,
    "phi3": _phi3,
    "qwen35": _qwen35,
    "rwkv7": _rwkv7,
    "smallthinker": _smallthinker,
}
