"""Flags under other names: what is put right, what is told, and what is left to be named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_engines import llama_server

from llmsup.config.flag_names import canonical, flag_in
from llmsup.config.schema import ModelSpec
from llmsup.engines.bundled import kind as bundled
from llmsup.engines.llama_server.command_line import ServerStart, launch
from llmsup.engines.llama_server.corrections import Corrected, corrections
from llmsup.engines.llama_server.flag_probe import FlagProbe, parse_flags
from llmsup.engines.llama_server.flags import FlagSet
from llmsup.errors import SetupError

B10068 = FlagSet(
    parse_flags((Path(__file__).parents[1] / "data" / "llama-server-b10068-help.txt").read_text()),
    "llama-server b10068",
)
# As llama.cpp is since September 2026: --load-mode came, and the switches that it replaces went.
_GONE = {"--mlock", "--mmap", "--no-mmap", "-dio", "--direct-io", "-ndio", "--no-direct-io"}
NEW = FlagSet(B10068.flags - _GONE | {"--load-mode", "-lm"}, "llama-server new")
# As it was in 2024: --flash-attn is a switch, and much of today isn't there.
OLD = FlagSet(frozenset(["--flash-attn", "-fa", "--mmap", "--no-mmap", "--mlock", "--embedding", "--typical"]), "old")


def spec(*args: str, **settings: Any) -> ModelSpec:
    return ModelSpec(name="m", path="m.gguf", args=args, **settings)


def start(*args: str) -> ServerStart:
    return ServerStart(spec=spec(*args), program=("l",), model=Path("/m.gguf"), socket=Path("/s.sock"))


def correct(spec: ModelSpec, flag_set: FlagSet) -> Corrected:
    """Raises SetupError: what can't be corrected."""
    corrected, problems = corrections(spec, flag_set)
    problems.check()
    return corrected


def words(flag_set: FlagSet, args: str) -> str:
    return " ".join(correct(spec(*args.split()), flag_set).words)


@pytest.mark.parametrize(
    ("flag_set", "args", "expected"),
    [
        (B10068, "--typ-p 0.9", "--typical-p 0.9"),
        (B10068, "--typ 0.9", "--typical-p 0.9"),
        (OLD, "--typical-p 0.9", "--typical 0.9"),
        (OLD, "--embeddings", "--embedding"),
        (B10068, "--mirostat-tau 5 --mirostat_eta 0.1", "--mirostat-ent 5 --mirostat-lr 0.1"),
        (B10068, "--dynatemp-exponent 2", "--dynatemp-exp 2"),
        (B10068, "--temp=0.7", "--temp 0.7"),
        (B10068, "--model-draft d.gguf --draft-max 8", "--model-draft d.gguf --spec-draft-n-max 8"),
        (OLD, "-fa", "-fa"),
        (B10068, "-fa", "-fa on"),
        (B10068, "--flash-attn --jinja", "--flash-attn on --jinja"),
        (B10068, "-fa off", "-fa off"),
        (bundled.FLAG_SET, "-fa -sm none", "-fa on --split-mode none"),
        (bundled.FLAG_SET, "-cb --jinja", "--jinja"),
        (bundled.FLAG_SET, "--defrag-thold 0.1 --jinja", "--jinja"),
        (NEW, "-c 1 --no-mmap --jinja", "-c 1 --load-mode none --jinja"),
        (NEW, "--mlock", "--load-mode mmap+mlock"),
        (NEW, "--mlock -x --no-mmap", "--load-mode mlock -x"),
        (NEW, "--direct-io", "--load-mode dio"),
        (NEW, "--no-direct-io --jinja", "--jinja"),
        (bundled.FLAG_SET, "--mmap", "--load-mode mmap"),
        (B10068, "--load-mode none", "--no-mmap"),
        (B10068, "-lm mlock", "--no-mmap --mlock"),
        (B10068, "--load-mode mmap+mlock", "--mlock"),
        (B10068, "--load-mode auto --jinja", "--jinja"),
        (OLD, "--load-mode dio", "--load-mode dio"),  # it can't: left to be named
        (B10068, "--no-mmap --mlock", "--no-mmap --mlock"),
        (bundled.FLAG_SET, "--no-mmap", "--no-mmap"),
    ],
)
def test_what_is_certain_is_put_right(flag_set: FlagSet, args: str, expected: str) -> None:
    """And nothing is told where nothing changed."""
    corrected = correct(spec(*args.split()), flag_set)
    assert " ".join(corrected.words) == expected
    assert bool(corrected.changes) == (args != expected)


def test_what_was_changed_is_told() -> None:
    """In the words of the config."""
    assert correct(spec("--typ-p", "1", "--no_mmap", "-fa"), NEW).changes == (
        "args: --no_mmap is --load-mode none here",
        "args: --typ-p is --typical-p here",
        "args: -fa is -fa on here",
    )
    assert correct(spec("-cb"), bundled.FLAG_SET).changes == ("args: -cb is not needed here",)


def test_sampling_that_an_engine_has_no_flag_for_goes_into_requests() -> None:
    """The bundled engine takes no top-n-sigma at launch, but every request can carry it."""
    args = ["--top-nsigma", "1.5", "--dry-sequence-breaker", "x", "--dry-sequence-breaker", "\n", "--json-schema", "{}"]
    args += ["--sampler-seq", "kt", "-l", "15-1.5", "--logit-bias", "7+2", "-n", "64", "-r", "END", "--top-k", "3"]
    corrected = correct(spec(*args), bundled.FLAG_SET)
    assert corrected.words == ("--top-k", "3")
    assert corrected.sampling == {
        "top_n_sigma": 1.5,
        "dry_sequence_breakers": ["x", "\n"],
        "json_schema": {},
        "samplers": ["top_k", "temperature"],
        "logit_bias": [[15, -1.5], [7, 2]],
        "max_tokens": 64,
        "stop": ["END"],
    }
    assert corrected.changes[0] == "args: --top-nsigma is sent with each request as top_n_sigma here"
    assert correct(spec("--predict", "-1"), bundled.FLAG_SET).sampling == {}
    assert correct(spec(*args, kind="embedding"), bundled.FLAG_SET).sampling == {}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--top-n-sigma much", r"model m: args has '--top-n-sigma', but could not convert"),
        ("--top-n-sigma", r"'--top-n-sigma', but no value for it"),
        ("--json-schema {", r"'--json-schema', but Expecting"),
        ("--logit-bias x", r"'--logit-bias', but 'x' is not TOKEN\+BIAS"),
    ],
)
def test_a_value_that_can_not_be_one(args: str, message: str) -> None:
    """It is told, not sent."""
    with pytest.raises(SetupError, match=message):
        correct(spec(*args.split()), bundled.FLAG_SET)


@pytest.mark.parametrize("args", ["--draft-max 8", "-md d.gguf --spec-type ngram-mod --draft 8"])
def test_a_flag_with_several_successors_is_not_guessed(args: str) -> None:
    """What limits drafts depends on how they are made."""
    with pytest.raises(SetupError, match=r"no longer takes.*--spec-draft-n-max for a draft model.*--spec-ngram-mod-n"):
        words(B10068, args)


@given(st.lists(st.sampled_from([*sorted(B10068.flags), "on", "1", "-1", "=", "--", "-", "--x=y", "é", ""])))
def test_corrected_args_are_left_alone(args: list[str]) -> None:
    """Whatever was put right is right: there is nothing left to do the second time."""
    try:
        once = correct(spec(*args), NEW)
    except SetupError:
        return
    assert correct(spec(*once.words), NEW).words == once.words


def test_flags_and_their_present_names() -> None:
    """Values are no flags, not even negative ones."""
    assert [flag_in(word) for word in ("-1", "x", "--a_b", "-fa", "--", "--a=b")] == ["", "", "--a-b", "-fa", "", ""]
    assert (canonical("-ngl"), canonical("--unheard-of")) == ("--n-gpu-layers", "--unheard-of")


def test_a_launch_has_the_corrections() -> None:
    """The command line, the requests and what is told of both."""
    args = ("--typ-p", "0.9", "--top-nsigma", "1.5")
    got = launch(start(*args), B10068)
    assert got.argv[-4:] == ("--typical-p", "0.9", "--top-nsigma", "1.5")
    assert got.corrections == ("args: --typ-p is --typical-p here",)
    got = bundled.launch(start(*args))
    assert got.argv[-2:] == ("--typical-p", "0.9")
    assert got.body_defaults == {"top_n_sigma": 1.5}
    assert len(got.corrections) == 2
    with pytest.raises(SetupError, match=r"--split-mode.*the bundled engine does not know"):
        bundled.launch(start("-sm", "none"))
    with pytest.raises(SetupError, match="sets itself"):
        bundled.launch(start("--host=0.0.0.0"))


async def test_the_real_one_knows_what_we_correct_to() -> None:
    """Every family's flag that a real llama-server has is found in its own help."""
    flag_set = await FlagProbe().flag_set(llama_server())
    for wrong in ("--typ-p", "--mirostat-tau", "--dynatemp-exponent", "--repetition-penalty"):
        (right,) = correct(spec(wrong), flag_set).words
        assert right in flag_set.flags
