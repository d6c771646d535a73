"""Flags out of help texts, and what a binary is asked how often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from real_engines import llama_server

from llmsup.engines.llama_server.flag_probe import FlagProbe, parse_flags, parse_valued
from llmsup.engines.llama_server.flags import FlagSet
from llmsup.errors import SetupError
from llmsup.units import Seconds

HELP = Path(__file__).parents[1] / "data" / "llama-server-b10068-help.txt"


def test_a_real_help_text() -> None:
    flags = parse_flags(HELP.read_text())
    assert len(flags) == 407
    expected = (
        "-t --threads -kvo --kv-offload -nkvo --no-kv-offload --mmap --no-mmap --top-nsigma --top-n-sigma --typical"
        " --typical-p -no-kvu --fim-qwen-1.5b-default --spec-draft-ncmoe -ncmoed --no-webui -cram --swa-checkpoints"
    )
    assert flags >= set(expected.split())
    assert not flags & {"--typ-p", "-", "--", "-----", "--load-mode"}


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("-t,    --threads N      number (default: -1)", {"-t", "--threads"}),
        ("--mmap, --no-mmap       --mlock is another", {"--mmap", "--no-mmap"}),
        ("  -c N, --ctx-size N    old style", {"-c"}),
        ("-a,    --alias,\n       --name NAME      wrapped", {"-a", "--alias", "--name"}),
        ("--one X\n                 --two is mentioned,\n                 - dashed: item", {"--one"}),
        ("----- common params -----\n\nusage: x --help", set()),
        ("--numa TYPE\n    - distribute: x", {"--numa"}),
    ],
)
def test_layouts(text: str, flags: set[str]) -> None:
    assert parse_flags(text) == flags


def fake(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\necho asked >> {path.parent}/asked\n{body}\n")
    path.chmod(0o755)
    return path


GOOD = "echo '-m, --model F'; echo '--host H'"


def asked(directory: Path) -> int:
    return (directory / "asked").read_text().count("asked")


async def test_concurrent_askers_share_one_run(tmp_path: Path) -> None:
    binary = fake(tmp_path / "server", f"sleep 0.1; {GOOD}")
    link = tmp_path / "link"
    link.symlink_to(binary)
    probe, found = FlagProbe(), list[FlagSet]()

    async def ask(path: Path) -> None:
        found.append(await probe.flag_set(path))

    async with trio.open_nursery() as nursery:
        for path in (binary, link, binary):
            nursery.start_soon(ask, path)
    assert asked(tmp_path) == 1
    assert found[0].flags == {"-m", "--model", "--host"}
    assert all(one is found[0] for one in found)


async def test_an_upgraded_binary_is_asked_again(tmp_path: Path) -> None:
    binary = fake(tmp_path / "server", GOOD)
    probe = FlagProbe()
    await probe.flag_set(binary)
    fake(binary, f"{GOOD}; echo '--new'")
    os.utime(binary, (1, 1))
    assert "--new" in (await probe.flag_set(binary)).flags
    assert asked(tmp_path) == 2


async def test_an_asker_that_gives_up_leaves_the_next_one_its_turn(tmp_path: Path) -> None:
    binary = fake(tmp_path / "server", f"sleep 0.3; {GOOD}")
    probe = FlagProbe()
    with trio.move_on_after(0.05):
        await probe.flag_set(binary)
    assert (await probe.flag_set(binary)).flags


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'no libvulkan' >&2; exit 127", r"server --help failed with exit code 127. It said: no libvulkan"),
        ("kill -9 $$", "ended by signal 9"),
        ("exec sleep 5", r"did not end within 0.3 s"),
        ("echo hello", "not a llama-server. It said: hello"),
    ],
)
async def test_failures_say_what_the_binary_said(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        await FlagProbe(timeout=Seconds(0.3)).flag_set(fake(tmp_path / "server", body))


async def test_no_binary_and_no_program(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="can't be read: No such file"):
        await FlagProbe().flag_set(tmp_path / "nothing")
    (tmp_path / "text").write_text("x")
    with pytest.raises(SetupError, match="can't be run: Permission denied"):
        await FlagProbe().flag_set(tmp_path / "text")


async def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    binary = fake(tmp_path / "server", f"test -e {tmp_path}/library || exit 1; {GOOD}")
    probe = FlagProbe()
    with pytest.raises(SetupError):
        await probe.flag_set(binary)
    (tmp_path / "library").touch()
    assert (await probe.flag_set(binary)).flags


async def test_a_real_llama_server() -> None:
    probe, binary = FlagProbe(), llama_server()
    flag_set = await probe.flag_set(binary)
    assert flag_set.flags >= {"--model", "--host", "--alias", "--ctx-size", "--cache-ram", "--top-n-sigma"}
    assert (await probe.version(binary)).startswith("version")


def test_which_flags_want_a_value() -> None:
    """A word right behind the spellings; what they do stands in a column of its own, or below."""
    valued = parse_valued(HELP.read_text())
    assert valued >= {"-c", "--ctx-size", "-fa", "--flash-attn", "--lora-scaled", "--chat-template-kwargs", "-ctkd"}
    assert not valued & {"--mmap", "--no-mmap", "-kvo", "--no-webui", "-v", "--swa-full", "--embeddings"}
    layouts = {
        "-c,    --ctx-size N      number": {"-c", "--ctx-size"},
        "--mmap, --no-mmap       --mlock is another": set(),
        "-a,    --alias,\n       --name NAME      wrapped": {"-a", "--alias", "--name"},
        "--one-of-them-that-is-so-long-and-is-on what it does": set(),
    }
    assert {text: parse_valued(text) for text in layouts} == layouts
