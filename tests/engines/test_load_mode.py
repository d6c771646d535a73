"""How the weights get into memory: the flag of each build for it, and the user's own words, which win."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmsup.config.load_modes import LOAD_MODES
from llmsup.config.schema import ModelSpec
from llmsup.engines.bundled import kind as bundled
from llmsup.engines.llama_server.command_line import ServerStart, launch
from llmsup.engines.llama_server.flag_probe import parse_flags
from llmsup.engines.llama_server.flags import FlagSet
from llmsup.engines.llama_server.load_mode import SWITCHES, maps, modes, own_words, words_for
from llmsup.errors import SetupError

B10068 = FlagSet(
    parse_flags((Path(__file__).parents[1] / "data" / "llama-server-b10068-help.txt").read_text()),
    "llama-server b10068",
)
NEW = FlagSet(B10068.flags - SWITCHES.keys() | {"--load-mode", "-lm"}, "llama-server new")
OLD = FlagSet(frozenset(["--model", "--host", "--mmap", "--no-mmap", "--mlock"]), "old")


def spec(*args: str, **settings: Any) -> ModelSpec:
    return ModelSpec(name="m", path="m.gguf", args=args, **settings)


@pytest.mark.parametrize(
    ("dialect", "mode", "expected"),
    [
        (B10068, "auto", ()),
        (B10068, "mmap", ("--mmap",)),
        (B10068, "read", ("--no-mmap",)),
        (B10068, "direct", ("--direct-io",)),
        (NEW, "auto", ()),
        (NEW, "mmap", ("--load-mode", "mmap")),
        (NEW, "read", ("--load-mode", "none")),
        (NEW, "direct", ("--load-mode", "dio")),
        (OLD, "read", ("--no-mmap",)),
        (bundled.FLAG_SET, "read", ("--load-mode", "none")),
    ],
)
def test_each_build_has_its_flag_for_a_mode(dialect: FlagSet, mode: Any, expected: tuple[str, ...]) -> None:
    assert words_for(spec(load_mode=mode), dialect) == expected


def test_a_build_that_cannot_says_what_it_can() -> None:
    with pytest.raises(
        SetupError, match=r"model m: old can't be given load_mode = 'direct': it has no --direct-io"
    ) as e:
        words_for(spec(load_mode="direct"), OLD)
    assert '"mmap", "read"' in str(e.value.hint)
    assert (modes(OLD), modes(B10068), modes(NEW)) == (("mmap", "read"), LOAD_MODES, LOAD_MODES)
    assert modes(FlagSet(frozenset(["--model"]), "bare")) == ()


@pytest.mark.parametrize("own", ["--no-mmap", "--mlock", "-dio", "--load-mode mlock", "-lm none", "--no_mmap"])
def test_the_users_own_words_win(own: str) -> None:
    """They come last on the command line, and ours don't stand beside them: two switches may add up to a third mode."""
    given = spec(*own.split(), load_mode="direct")
    assert own_words(given)
    assert words_for(given, B10068) == ()
    start = ServerStart(spec=given, program=("l",), model=Path("/m.gguf"), socket=Path("/s.sock"))
    assert "--direct-io" not in launch(start, B10068).argv


def test_words_of_the_engines_table_and_the_environment_count_too() -> None:
    assert own_words(spec(), ("llama-server", "--mlock")) == {"mlock": True}
    assert own_words(spec(env={"LLAMA_ARG_NO_MMAP": "1"}), environ={})
    assert own_words(spec(), environ={"LLAMA_ARG_LOAD_MODE": "dio"})
    assert not own_words(spec("--mmproj", "x", "-m", "y"), ("llama-server",), environ={"LLAMA_ARG_CTX_SIZE": "1"})


@pytest.mark.parametrize(
    ("args", "mode", "expected"),
    [
        ("", "auto", True),
        ("", "mmap", True),
        ("", "read", False),
        ("", "direct", False),
        ("--no-mmap", "mmap", False),
        ("--mmap", "read", True),
        ("--mlock", "auto", False),
        ("-lm mmap", "read", True),
        ("--load-mode none", "auto", False),
        ("--direct-io", "auto", False),
    ],
)
def test_weights_that_are_read_or_locked_are_private(args: str, mode: Any, *, expected: bool) -> None:
    assert maps(spec(*args.split(), load_mode=mode), environ={}) is expected
