"""The estimates beside what a real llama-server logs: caches to the byte, the rest near enough and not too low."""

from __future__ import annotations

from pathlib import Path

import pytest
from measured import Measured, estimated, measure, read
from miniatures import VOCABULARY, miniature
from real_engines import smollm2

from llmsup.memory.cost.estimate import Estimate

F16: tuple[str, ...] = ()
Q8: tuple[str, ...] = ("-ctk", "q8_0", "-ctv", "q8_0", "-fa", "on")


def mib(size: int) -> str:
    """A size as the log prints it."""
    return f"{size / 2**20:.2f}"


def logged_context(said: Estimate) -> dict[str, str]:
    """What we say of the context, as the log has it."""
    ours = said.context
    return {
        "n_seq_max": str(ours.sequences),
        "n_ctx": str(ours.n_ctx),
        "n_ctx_seq": str(ours.n_ctx_seq),
        "n_batch": str(ours.batch),
        "n_ubatch": str(ours.ubatch),
        "kv_unified": str(ours.unified).lower(),
        "n_outputs_max": str(ours.outputs),
    }


def needed(said: Estimate, log: Measured, *, vocabulary: int, width: int) -> float:
    """The log's buffers in bytes; where it answers with vectors, results grow with the input, which no log tells."""
    if said.context.embeddings:
        return log.mib("compute") * 2**20 + said.context.outputs * (vocabulary + width) * 4
    return (log.mib("compute") + log.mib("output")) * 2**20


@pytest.mark.parametrize("types", [F16, Q8], ids=["f16", "q8_0"])
@pytest.mark.parametrize("tokens", [768, 2048, 4864])
def test_a_real_models_cache_is_known_to_the_byte(tokens: int, types: tuple[str, ...]) -> None:
    """SmolLM2: the cache as it is printed, and the other buffers."""
    args = ("-c", str(tokens), "-np", "1", *types)
    said, log = estimated(smollm2(), *args), measure(smollm2(), *args)
    assert log.buffers["KV"] == (mib(said.kv),)
    assert log.buffers["model"] == (mib(said.weights),)
    assert 1 <= said.compute / 2**20 / (log.mib("compute") + log.mib("output")) < 1.25


@pytest.mark.parametrize(
    "args",
    [
        "",
        "-c 1000",
        "-np 3",
        "-c 1000 -np 3",
        "-c 1000 -np 3 --kv-unified",
        "-c 1000 --no-kv-unified -b 300 -ub 0",
        "-c 1500 --embeddings --pooling mean -ub 256",
        "-c 1024 -np 2 -fa off -ctk q4_0",
    ],
)
def test_the_context_is_what_the_log_says(args: str) -> None:
    """However sizes and sequences are set: the log's own lines, and the cache and buffers that come of them."""
    said, log = estimated(smollm2(), *args.split()), measure(smollm2(), *args.split())
    assert logged_context(said) == log.context
    assert log.buffers["KV"] == (mib(said.kv),)
    assert 1 <= said.compute / needed(said, log, vocabulary=49152, width=576) < 1.4


def test_looking_whether_it_fits_changes_nothing_where_it_fits() -> None:
    """With `--fit`, its default, the engine makes more contexts; the last is the one that we mean."""
    said, log = estimated(smollm2()), measure(smollm2(), fit=True)
    assert logged_context(said) == log.context
    assert log.buffers["KV"] == (mib(said.kv),)


def test_variables_are_taken_like_flags() -> None:
    """What stands in a model's `env` sets the engine as much as its arguments."""
    env = {"LLAMA_ARG_CTX_SIZE": "1024", "LLAMA_ARG_N_PARALLEL": "2", "LLAMA_ARG_CACHE_TYPE_K": "q8_0"}
    said, log = estimated(smollm2(), env=env), measure(smollm2(), env=env)
    assert logged_context(said) == log.context
    assert log.buffers["KV"] == (mib(said.kv),)


@pytest.mark.parametrize(
    ("architecture", "caches"),
    [
        ("qwen3", 1),  # heads that aren't a share of the width
        ("gemma3", 2),  # six of seven layers with a window
        ("gemma4", 2),  # windows layer by layer, two sizes of heads, layers without a cache
        ("gpt-oss", 2),  # every other layer
        ("deepseek2", 1),  # latent attention: keys only
        ("mamba2", 0),  # states only
        ("granitehybrid", 1),  # both
        ("qwen3next", 1),  # one of four attends
    ],
)
@pytest.mark.parametrize("args", ["-c 4096 -np 1", "-c 3072 -np 3 -kvu -ub 256"])
def test_other_architectures(tmp_path: Path, architecture: str, caches: int, args: str) -> None:
    """Caches and states to the byte, for a small model of each kind; many more in tools/check_estimates.py."""
    model = miniature(tmp_path, architecture)
    said, log = estimated(model, *args.split()), measure(model, *args.split())
    assert len(log.buffers.get("KV", ())) == caches
    assert f"{log.mib('KV'):.2f}" == mib(said.kv)  # two lines are multiples of 256 KiB, so their sum is exact too
    assert log.buffers.get("RS", ("0.00",)) == (mib(said.recurrent),)
    assert logged_context(said) == log.context
    assert 0.98 < said.compute / needed(said, log, vocabulary=len(VOCABULARY), width=256) < 1.35


def test_an_encoder_has_no_cache(tmp_path: Path) -> None:
    """It attends to its batch only; llmsup itself gives an embedding model the flag for it."""
    model = miniature(tmp_path, "bert")
    said, log = estimated(model, "-c", "512"), measure(model, "-c", "512", "--embeddings")
    assert (said.kv, said.recurrent, "KV" in log.buffers) == (0, 0, False)
    assert logged_context(said) == log.context
    assert 1 <= said.compute / needed(said, log, vocabulary=len(VOCABULARY), width=256) < 1.35


def test_of_a_log_only_the_last_context_counts() -> None:
    """A captured log, where the model was looked at, and then loaded: lines of several caches and other prefixes."""
    log = read(
        "0.00.01 I llama_context: constructing llama_context\n"
        "0.00.02 I llama_kv_cache:        CPU KV buffer size =    99.00 MiB\n"
        "0.00.03 I load_tensors:   CPU_Mapped model buffer size =    12.41 MiB\n"
        "llama_context: constructing llama_context\n"
        "llama_context: n_ctx         = 4096\n"
        "[1] llama_kv_cache:      MTL0 KV buffer size =     2.00 MiB\n"
        "[1] llama_kv_cache:      MTL0 KV buffer size =     3.00 MiB\n"
        "[1] sched_reserve:        CPU compute buffer size =    11.52 MiB\n"
    )
    assert log.buffers == {"KV": ("2.00", "3.00"), "compute": ("11.52",), "model": ("12.41",)}
    assert log.context == {"n_ctx": "4096"}
    assert log.mib("KV") == 5
