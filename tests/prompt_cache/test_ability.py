"""Which models are able to have their conversations saved, and why others aren't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import ModelSpec
from llmsup.engines.kinds import KINDS
from llmsup.engines.llama_server.command_line import ServerStart, launch
from llmsup.engines.llama_server.flags import FlagSet
from llmsup.prompt_cache.ability import Trust, ability

LAYERS = {"block_count": 12, "attention.head_count": 8, "attention.head_count_kv": 2, "embedding_length": 512}


def entry(
    architecture: str = "llama", numbers: dict[str, Any] | None = None, found: dict[str, Any] | None = None, **spec: Any
) -> Entry:
    facts = Facts(architecture=architecture, kind="chat", context_length=4096, numbers={**LAYERS, **(numbers or {})})
    there = Found(id="m", path=Path("/m.gguf"), files=(), **{"facts": facts, **(found or {})})
    return Entry(spec=ModelSpec(name="m", path="/m.gguf", **spec), found=there)


WINDOW = {"attention.sliding_window": 1024}


@pytest.mark.parametrize(
    ("model", "word", "reason"),
    [
        (entry(), "yes", ""),
        (entry("qwen3"), "yes", ""),
        (entry("gemma3", WINDOW), "no", "see 1024 tokens only"),
        (entry("gemma3", WINDOW, args=("--swa-full",)), "yes", ""),
        (entry("gemma3", WINDOW, env={"LLAMA_ARG_SWA_FULL": "1"}), "yes", ""),
        (entry("qwen35", {"full_attention_interval": 4}), "exact", "can't be turned back"),
        (entry("mamba2"), "exact", "can't be turned back"),
        (entry(kind="embedding"), "no", "no conversations"),
        (entry(args=("--lora", "/l.gguf")), "no", "LoRA"),
        (entry(args=("--lora-scaled", "/l.gguf:0.5")), "no", "LoRA"),
        (entry(found={"adapters": (Path("/l.gguf"),)}), "no", "LoRA"),
        (entry(args=("-md", "/d.gguf")), "no", "draft"),
        (entry(found={"draft_facts": Facts(architecture="llama")}), "no", "draft"),
        (entry(args=("--slot-save-path", "/x/")), "no", "its args set --slot-save-path"),
        (entry(args=("--no-slots",)), "no", "--no-slots"),
        (entry(args=("--cache-disk", "/x")), "no", "keeps prompts on the disk by itself"),
        (entry(command=("x", "${PORT}")), "no", "the command that starts it"),
        (entry(engine="mlx"), "no", "the command that starts it"),
        (Entry(spec=ModelSpec(name="m", path="/m.gguf")), "no", "the command that starts it"),
    ],
)
def test_by_the_file_and_the_settings(model: Entry, word: str, reason: str) -> None:
    able = ability(model, KINDS)
    assert able.word == word
    assert reason in able.reason
    assert bool(able.reason) == (word != "yes")


def test_two_misses_in_a_row() -> None:
    once = Trust().seen(hit=False)
    assert not once.off
    assert not once.seen(hit=True).seen(hit=False).off
    assert once.seen(hit=False).off


FLAGS = frozenset(("--model", "--host", "--alias", "--slot-save-path", "--no-cache-idle-slots"))


@pytest.mark.parametrize(
    ("flags", "given", "why"),
    [
        (FLAGS, ("--slot-save-path", "/room/", "--no-cache-idle-slots"), ""),
        (FLAGS - {"--no-cache-idle-slots"}, ("--slot-save-path", "/room/"), ""),
        (FLAGS - {"--slot-save-path"}, (), "its engine has no --slot-save-path"),
        (FLAGS | {"--cache-disk"}, (), "by itself"),
    ],
)
def test_what_the_engine_is_started_with(flags: frozenset[str], given: tuple[str, ...], why: str) -> None:
    """The directory ends with a slash: llama-server puts a file's name right behind it. A build that keeps prompts by
    itself is let do it.
    """
    start = ServerStart(
        spec=ModelSpec(name="m"), program=("l",), model=Path("/m"), socket=Path("/s.sock"), slots=Path("/room")
    )
    made = launch(start, FlagSet(flags, "l"))
    assert made.argv[7:] == given
    assert made.slots == (Path("/room") if given else None)
    assert why in made.no_slots
