"""What a llama-server makes of a model's settings; the numbers were captured from the log of build b10068."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import ModelSpec
from llmsup.engines.context import Context
from llmsup.engines.llama_server.context import context

FACTS = Facts(architecture="llama", kind="chat", context_length=8192, vocabulary=49152)
ENCODER = Facts(architecture="bert", kind="embedding", context_length=512, numbers={"attention.causal": False})


def made(*args: str, facts: Facts = FACTS, environ: dict[str, str] | None = None, **settings: Any) -> Context:
    """The context of a model with such settings, on a machine that sets nothing else."""
    return context(ModelSpec(name="m", path="m.gguf", args=args, **settings), facts, environ or {})


def numbers(made: Context) -> tuple[int, int, int, bool, int, int, int]:
    """What the log has lines for."""
    return made.n_ctx, made.n_ctx_seq, made.sequences, made.unified, made.batch, made.ubatch, made.outputs


@pytest.mark.parametrize(
    ("args", "logged"),
    [
        ("", (8192, 8192, 4, True, 2048, 512, 4)),
        ("-c 0", (8192, 8192, 4, True, 2048, 512, 4)),
        ("-c 1000", (1024, 1024, 4, True, 1000, 512, 4)),
        ("-np 3", (8448, 2816, 3, False, 2048, 512, 3)),
        ("-np 1", (8192, 8192, 1, False, 2048, 512, 1)),
        ("-np -1", (8192, 8192, 4, True, 2048, 512, 4)),
        ("-c 1000 -np 3", (1536, 512, 3, False, 1000, 512, 3)),
        ("-c 1000 -np 3 --kv-unified", (1024, 1024, 3, True, 1000, 512, 3)),
        ("-c 1000 --no-kv-unified", (1024, 1024, 4, True, 1000, 512, 4)),
        ("-c 300 -b 100 -ub 0", (512, 512, 4, True, 100, 100, 4)),
        ("-c 2048 --embeddings -ub 256", (2048, 2048, 4, True, 256, 256, 256)),
        ("-c 1024 --rerank", (1024, 1024, 4, True, 512, 512, 512)),
    ],
)
def test_it_is_what_the_log_says(args: str, logged: tuple[int, int, int, bool, int, int, int]) -> None:
    """Tokens in all, tokens a sequence, sequences, unified, batch, physical batch, results."""
    assert numbers(made(*args.split())) == logged


def test_settings_are_the_same_as_flags() -> None:
    """What the config has keys for needs no `args`; the kind makes it answer with vectors."""
    assert made(ctx_size=1000, parallel=3) == made("-c", "1000", "-np", "3")
    assert made(ctx_size=1024, kind="rerank") == made("-c", "1024", "--rerank")
    assert made(facts=ENCODER).embeddings
    assert made(ctx_size=0, parallel=0) == made()


def test_the_last_flag_wins_over_settings_and_both_over_variables() -> None:
    """As on the real command line: ours first, then `args`; variables only where no flag is."""
    environ = {"LLAMA_ARG_CTX_SIZE": "512", "LLAMA_ARG_N_PARALLEL": "2"}
    assert made(environ=environ).n_ctx_seq == 256
    assert made("--ctx-size", "4096", environ=environ).n_ctx_seq == 2048
    assert made("--ctx-size", "4096", "-c", "2048", ctx_size=9999, environ=environ).n_ctx_seq == 1024
    assert made(ctx_size=1024, environ=environ).n_ctx_seq == 512
    assert made(env={"LLAMA_ARG_CTX_SIZE": "768"}, environ=environ).n_ctx == 1024  # 2 sequences of 512
    assert made("-c", "0", ctx_size=1024).n_ctx == 8192  # the trained one, on purpose


@pytest.mark.parametrize(
    "args",
    ["-ctk q8_0 -ctv q4_0", "--cache-type-k q8_0 --cache-type-v q4_0", "--cache_type_k q8_0 --cache_type_v q4_0"],
)
def test_the_caches_types_in_every_spelling(args: str) -> None:
    """Short, long, and with underscores, as llama-server takes them."""
    types = made(*args.split())
    assert (types.type_k, types.type_v) == ("q8_0", "q4_0")
    variables = {"LLAMA_ARG_CACHE_TYPE_K": "q8_0", "LLAMA_ARG_CACHE_TYPE_V": "q4_0"}
    assert made(env=variables) == types
    assert (made().type_k, made().type_v) == ("f16", "f16")


@pytest.mark.parametrize(
    ("args", "env", "field", "value"),
    [
        ("", {}, "swa_full", False),
        ("--swa-full", {}, "swa_full", True),
        ("", {"LLAMA_ARG_SWA_FULL": "1"}, "swa_full", True),
        ("", {"LLAMA_ARG_SWA_FULL": "0"}, "swa_full", False),
        ("", {}, "flash", "auto"),
        ("-fa on", {}, "flash", "on"),
        ("--flash-attn off", {}, "flash", "off"),
        ("", {"LLAMA_ARG_FLASH_ATTN": "disabled"}, "flash", "off"),
        ("", {}, "projector", False),
        ("--mmproj x.gguf", {}, "projector", True),
        ("-mm x.gguf --no-mmproj", {}, "projector", False),
        ("", {"LLAMA_ARG_MMPROJ": "x.gguf"}, "projector", True),
        ("-np 2", {"LLAMA_ARG_KV_UNIFIED": "true"}, "unified", True),
        ("-np 2 -no-kvu", {"LLAMA_ARG_KV_UNIFIED": "true"}, "unified", False),
        ("-np 2 -no-kvu --kv-unified", {}, "unified", True),
        ("--mmproj x.gguf", {"LLAMA_ARG_MMPROJ_AUTO": "off"}, "projector", False),
        ("--mmproj x.gguf", {"LLAMA_ARG_NO_MMPROJ_AUTO": "1"}, "projector", False),
        ("-np 2 --kv-unified-per-slot 512", {}, "n_ctx", 1024),
    ],
)
def test_switches(args: str, env: dict[str, str], field: str, value: object) -> None:
    """On, off, and the variables behind them."""
    assert getattr(made(*args.split(), env=env), field) == value


def test_an_encoder_takes_its_batch_whole() -> None:
    """It doesn't look back, so its batch isn't bounded by the context."""
    assert numbers(made("-c", "512", "-ub", "1024", facts=ENCODER)) == (512, 512, 4, True, 1024, 1024, 1024)


def test_what_the_engine_refuses_breaks_nothing() -> None:
    """A value that is no number, or a flag without one, counts as not given."""
    assert made("-c", "many", "-np") == made()
    assert made("-ub", "9" * 9000).ubatch == 2048
    assert made("-c", "99999999999999999999").n_ctx <= 2**31 + 255


@given(st.lists(st.sampled_from(["-c", "-np", "-b", "-ub", "--embeddings", "-kvu", "0", "-7", "5", "70000", "x"])))
def test_it_always_adds_up(args: list[str]) -> None:
    """However odd the arguments: whole cells, at least one sequence and one token."""
    got = made(*args)
    assert got.sequences >= 1
    assert got.n_ctx_seq % 256 == 0 < got.n_ctx_seq <= got.n_ctx
    assert got.n_ctx == got.n_ctx_seq * (1 if got.unified else got.sequences)
    assert 1 <= got.ubatch <= got.batch
    assert 1 <= got.outputs <= got.batch
