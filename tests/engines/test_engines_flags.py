"""Settings as flags: the spellings of one engine, and what no flag can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.config.sampling import PARAMETERS
from llmsup.config.schema import GiB, ModelSpec
from llmsup.engines.bundled.flags import FLAGS
from llmsup.engines.llama_server.flag_probe import parse_flags
from llmsup.engines.llama_server.flags import FlagSet, check_args, render
from llmsup.engines.sampling import FIELDS, WHOLE_CONTEXT, read_flag, request_fields
from llmsup.errors import SetupError, SetupErrors
from llmsup.units import Bytes

B10068 = FlagSet(
    parse_flags((Path(__file__).parents[1] / "data" / "llama-server-b10068-help.txt").read_text()),
    "llama-server b10068",
)
BUNDLED = FlagSet(FLAGS, "the bundled engine")


def spec(**settings: Any) -> ModelSpec:
    return ModelSpec(name="m", path="m.gguf", **settings)


def words(flag_set: FlagSet, **settings: Any) -> str:
    return " ".join(render(spec(**settings), flag_set, threads=None).words)


def test_defaults_say_only_what_llama_server_would_not_choose_itself() -> None:
    assert words(B10068) == "--cache-ram 2048 --threads-http 64 --verbosity 4 --offline --no-ui"


def test_every_setting() -> None:
    rendered = render(
        spec(ctx_size=2048, parallel=2, n_gpu_layers=0, cache_ram=Bytes(0), kind="embedding"), B10068, threads=3
    )
    assert " ".join(rendered.words) == (
        "--embeddings --ctx-size 2048 --parallel 2 --n-gpu-layers 0 --threads 3 --threads-batch 3"
        " --cache-ram 0 --threads-http 64 --verbosity 4 --offline --no-ui"
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"--embedding"}, "--embedding"),
        ({"--embedding", "--embeddings"}, "--embeddings"),
        ({"--embedding", "--no-webui"}, "--embedding --no-webui"),
    ],
)
def test_an_older_engine_is_given_its_older_spelling(flags: set[str], expected: str) -> None:
    assert words(FlagSet(frozenset(flags), "old"), kind="embedding") == expected


def test_a_setting_that_the_engine_has_no_flag_for_is_an_error_that_names_both() -> None:
    with pytest.raises(SetupError, match=r"model m: old can't be given parallel: it has no --parallel"):
        words(FlagSet(frozenset(), "old"), parallel=4)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("top_n_sigma", 1.5, "--top-n-sigma 1.5"),
        ("seed", -1, "--seed -1"),
        ("typical_p", 0.9, "--typical-p 0.9"),
        ("dynatemp_exponent", 2, "--dynatemp-exp 2"),
        ("mirostat_eta", 0.1, "--mirostat-lr 0.1"),
        ("samplers", ["top_k", "temperature"], "--samplers top_k;temperature"),
        ("samplers", "top_k;temperature", "--samplers top_k;temperature"),
        ("dry_sequence_breakers", ["\n", ":"], "--dry-sequence-breaker \n --dry-sequence-breaker :"),
        ("dry_sequence_breakers", [], "--dry-sequence-breaker none"),
        ("ignore_eos", True, "--ignore-eos"),
        ("cache_prompt", False, "--no-cache-prompt"),
        ("json_schema", {"type": "object"}, '--json-schema {"type":"object"}'),
        ("grammar", 'root ::= "a"', '--grammar root ::= "a"'),
        ("chat_template_kwargs", {"enable_thinking": False}, '--chat-template-kwargs {"enable_thinking":false}'),
    ],
)
def test_sampling_as_flags(field: str, value: object, expected: str) -> None:
    rendered = render(spec(sampling={field: value}), B10068, threads=None)
    assert (
        " ".join(rendered.words).removesuffix(expected)
        == "--cache-ram 2048 --threads-http 64 --verbosity 4 --offline --no-ui "
    )
    assert rendered.body_defaults == {}


def test_sampling_without_a_flag_goes_into_requests() -> None:
    sampling = {"n_predict": 64, "stop": ["x"], "logit_bias": {"5": -1}, "min_keep": 1, "brand_new": 3, "top_k": 5}
    rendered = render(spec(sampling=sampling), B10068, threads=None)
    assert rendered.words[-2:] == ("--top-k", "5")
    assert rendered.body_defaults == {
        "max_tokens": 64,
        "stop": ["x"],
        "logit_bias": {"5": -1},
        "min_keep": 1,
        "brand_new": 3,
    }


def test_what_the_bundled_engine_can_not_be_told_goes_into_requests() -> None:
    sampling = {"top_n_sigma": 1.5, "temperature": 0.5, "json_schema": {}, "dry_sequence_breakers": ["x"]}
    rendered = render(spec(sampling=sampling), BUNDLED, threads=None)
    assert rendered.words[-2:] == ("--temperature", "0.5")
    assert rendered.body_defaults == {"top_n_sigma": 1.5, "json_schema": {}, "dry_sequence_breakers": ["x"]}


def test_an_embedding_model_is_not_sampled() -> None:
    rendered = render(spec(kind="embedding", sampling={"top_k": 1, "stop": "x"}), B10068, threads=None)
    assert "--top-k" not in rendered.words
    assert rendered.body_defaults == {}


def test_names_joined_for_a_flag_are_taken_apart_for_a_request() -> None:
    assert request_fields({"samplers": "top_k;min_p"}) == {"samplers": ["top_k", "min_p"]}
    assert request_fields({"dry_sequence_breakers": "x"}) == {"dry_sequence_breakers": ["x"]}
    assert request_fields({"dry_sequence_breakers": []}) == {"dry_sequence_breakers": ["\0"]}
    assert request_fields({"json_schema": '{"a": 1}'}) == {"json_schema": {"a": 1}}


@pytest.mark.parametrize("field", ["repeat_last_n", "dry_penalty_last_n"])
def test_the_whole_context_is_a_number_that_every_build_takes(field: str) -> None:
    """Newer builds refuse -1, as a flag and in a request."""
    flag = "--" + field.replace("_", "-")
    assert words(B10068, sampling={field: -1}).endswith(f"{flag} {WHOLE_CONTEXT}")
    assert request_fields({field: -1, "top_k": -1}) == {field: WHOLE_CONTEXT, "top_k": -1}
    assert words(B10068, sampling={field: 64}).endswith(f"{flag} 64")


def test_every_sampler_has_its_flag_and_its_range() -> None:
    """What a request can say of sampling, a config can, and a real llama-server has a flag for it."""
    for field in FIELDS:
        assert field in PARAMETERS
    without = {name for name, field in FIELDS.items() if field.flags and B10068.pick(field.flags) is None}
    assert without == set()
    for field, wrong in {"adaptive_decay": 0.995, "adaptive_target": 1.5, "seed": 2**32, "n_predict": -2}.items():
        with pytest.raises(ValueError, match="must be"):
            PARAMETERS[field].check(wrong)


@pytest.mark.parametrize(
    ("flag", "word", "before", "value"),
    [
        ("--temp", "0.5", None, 0.5),
        ("--top-k", "7", None, 7),
        ("--samplers", "top_k;min_p", None, ["top_k", "min_p"]),
        ("--sampler-seq", "edskypmxtia?", None, ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p",
                                                 "xtc", "temperature", "infill", "adaptive_p"]),
        ("--dry-sequence-breaker", "b", ["a"], ["a", "b"]),
        ("--dry-sequence-breaker", "none", ["a"], []),
        ("--logit-bias", "5-.5", [[1, 2.0]], [[1, 2.0], [5, -0.5]]),
        ("--ignore-eos", "", None, True),
        ("--no-cache-prompt", "", None, False),
        ("--json-schema", '{"a": 1}', None, {"a": 1}),
        ("--grammar", "root", None, "root"),
    ],
)  # fmt: skip
def test_flags_read_as_fields(flag: str, word: str, before: Any, value: Any) -> None:
    """The way back."""
    assert read_flag(flag, word, before) == value


@given(st.dictionaries(st.sampled_from([*FIELDS, "n_probs"]), st.floats(allow_nan=False, min_value=0)))
def test_nothing_is_lost(sampling: dict[str, float]) -> None:
    plain = {k: v for k, v in sampling.items() if k not in FIELDS or FIELDS[k].form == "value"}
    rendered = render(spec(sampling=plain), BUNDLED, threads=None)
    flags = [flag for field in plain if field in FIELDS for flag in FIELDS[field].flags]
    said = [word for word in rendered.words if word in flags]
    assert len(said) + len(rendered.body_defaults) == len(plain)
    json.dumps(dict(rendered.body_defaults))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--host", "0.0.0.0"), "--host.*sets itself"),
        (("--hf-repo", "x/y"), "--hf-repo.*path"),
        (("-m", "x"), "'-m'.*path"),
        (("--host=1.2.3.4",), "--host=1.2.3.4.*sets itself"),
        (("--hf_repo", "x"), "--hf_repo"),
        (("--flash-atn", "on"), "--flash-atn.*does not know.*mean --flash-attn"),
        (("--flash-attn=on",), 'Write "--flash-attn", "on"'),
    ],
)
def test_args_that_are_not_the_users_to_give_or_that_no_engine_knows(args: tuple[str, ...], message: str) -> None:
    owned = {"--host": "because", "-m": "use path", "--hf-repo": "use path"}
    with pytest.raises(SetupError, match=message):
        check_args(spec(args=args), B10068, owned)


@pytest.mark.parametrize(
    ("args", "fine"), [(("-foo", "1"), False), (("--chat-template", "-x"), True), (("-c", "9"), True)]
)
def test_short_flags(args: tuple[str, ...], fine: bool) -> None:
    """One that no engine knows is named, unless it may be the value of the flag before it."""
    if fine:
        check_args(spec(args=args), B10068, {})
    else:
        with pytest.raises(SetupError, match="args has '-foo', which"):
            check_args(spec(args=args), B10068, {})


def test_all_that_is_wrong_is_told() -> None:
    """Of the flags, and of the settings that there is no flag for."""
    flag_set = FlagSet(frozenset({"--good", "--wants"}), "it", frozenset({"--wants"}))
    with pytest.raises(SetupErrors) as caught:
        check_args(spec(args=("--bad", "--wants", "--good", "--worse", "--wants")), flag_set, {})
    assert [each.message.removeprefix("model m: args has ") for each in caught.value.each] == [
        "'--bad', which it does not know.",
        "'--wants', but no value for it.",
        "'--worse', which it does not know.",
        "'--wants', but no value for it.",
    ]
    with pytest.raises(SetupErrors) as caught:
        render(spec(parallel=4, ctx_size=512), flag_set, threads=None)
    assert len(caught.value.each) == 2


def test_args_that_are_fine() -> None:
    args = ("--flash_attn", "on", "-ctk", "q8_0", "--override-kv", "a=int:1", "--n-gpu-layers", "-1")
    check_args(spec(args=args), B10068, {"--host": ""})


def test_cache() -> None:
    assert "--cache-ram 1025" in words(B10068, cache_ram=Bytes(GiB + 1))


def test_repr() -> None:
    assert repr(FlagSet(frozenset({"-a"}), "x")) == "<FlagSet x, 1 flags>"
