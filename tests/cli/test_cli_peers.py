"""`llmsup peers`, and what `ps` and `top` tell of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result
from peers_seen import peer, serving_with, several
from serving import fake, serving

from llmsup.cli import main
from llmsup.cli.ls import notes as ls_notes
from llmsup.cli.ls import table as ls_table
from llmsup.cli.peers import models, notes, one, table, why
from llmsup.cli.ps import failures, nothing_loaded
from llmsup.cli.top.now import Now
from llmsup.cli.top.picture import Chosen, picture
from llmsup.config.schema import ModelSpec
from llmsup.errors import Error

NOW = 1_000_000.0


def entry(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name, "url": f"http://{name}:5005", "kind": "llmsup", "state": "up", "since": NOW - 90,
        "reason": "it answers", "failures": 0, "next_probe_in": None, "latency_seconds": 0.0023, "in_flight": 0,
        "requests": 0, "failed": 0, "priority": "normal", "version": None, "memory": None, "models": [], **fields,
    }  # fmt: skip


def model(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name, "also_here": False, "loaded": None, "loading": False, "in_flight": 0, "busy": None,
        "slots": None, "load_seconds": None, "needs_bytes": None, "context_length": None, "hops": 0, **fields,
    }  # fmt: skip


DOWN = {"state": "down", "reason": "it refuses connections", "next_probe_in": 7.6, "latency_seconds": None}
ENTRIES = [
    entry("studio", in_flight=3, models=[model("a", loaded=True, in_flight=3), model("b", loaded=False)]),
    entry("box", kind=None, **DOWN, models=[model("c")]),
    entry("laptop", kind="ollama", state="asleep", reason="its machine sleeps"),
]


def test_the_table() -> None:
    assert table(ENTRIES, NOW).as_text().splitlines() == [
        "NAME    STATE   KIND    MODELS  LOADED  IN FLIGHT  LATENCY  WHY",
        "studio  up      llmsup       2       1          3   2.3 ms  it answers",
        "box     down    -            1       -          0        -  it refuses connections, for 90 s, asked again in 8 s",  # noqa: E501
        "laptop  asleep  ollama       0       -          0   2.3 ms  its machine sleeps, for 90 s",
    ]


def test_what_a_server_behind_it_has_loaded_is_not_in_its_memory() -> None:
    peers = [entry("bee", models=[model("own", loaded=False), model("far", loaded=True, hops=1)])]
    assert table(peers, NOW).as_text().splitlines()[1].split()[3:5] == ["2", "0"]


def test_models_of_a_peer() -> None:
    told = [
        model("a", loaded=True, busy=3, slots=4, in_flight=1, context_length=4096, load_seconds=12.5),
        model("b", loading=True, needs_bytes=1 << 30, also_here=True),
        model("c", loaded=False, busy=0),
        model("d", in_flight=2),
    ]
    assert models(told).as_text().splitlines() == [
        "MODEL  STATE     REQUESTS  CONTEXT   MEMORY  LOADS IN  HERE TOO",
        "a      loaded      3 of 4     4096        -      12 s  no",
        "b      loading          -        -  1.0 GiB         -  yes",
        "c      unloaded         0        -        -         -  no",
        "d      -                2        -        -         -  no",
    ]
    assert models([model("a"), model("far", hops=1)]).as_text().splitlines()[-1].split()[-1] == "1"


def test_one_that_is_asked_at_any_moment() -> None:
    assert why(entry("box", **{**DOWN, "next_probe_in": 0.3}), NOW).endswith(", asked again now")


def test_what_ps_tells() -> None:
    """Of those that need a look, and those that work for us."""
    assert notes([*ENTRIES, entry("idle"), entry("waking", state="waking", reason="it was woken")], NOW) == [
        "studio has 3 requests in flight: a 3.",
        "box is down: it refuses connections, for 90 s, asked again in 8 s.",
        "laptop is asleep: its machine sleeps, for 90 s.",
        "waking is waking: it was woken, for 90 s.",
    ]


def test_a_state_without_a_beginning() -> None:
    assert why(entry("box", **{**DOWN, "since": None, "next_probe_in": None}), NOW) == "it refuses connections"


@pytest.mark.parametrize(
    ("name", "hint"), [("studoi", "Did you mean 'studio'?"), ("zzz", "There are: studio, box, laptop.")]
)
def test_a_name_that_isnt_one(name: str, hint: str) -> None:
    with pytest.raises(Error, match="There is no peer") as raised:
        one(ENTRIES, name)
    assert raised.value.hint == hint


async def told(port: int, *words: str) -> Result:
    url = f"http://127.0.0.1:{port}"
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, [*words, "--url", url]))


async def test_against_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving_with(monkeypatch, fake("m"), peers=several()) as (served, _):
        port = served.client.port
        lines = (await told(port, "peers")).output.splitlines()
        assert [line.split()[:2] for line in lines[1:]] == [["studio", "up"], ["box", "down"], ["laptop", "asleep"]]
        assert "it refuses connections" in lines[2]
        whole = (await told(port, "peers", "studio")).output
        assert whole.startswith(
            "studio is up: it answers.\nIt is llmsup 0.1.0, at https://studio.local:5005, with 20.0"
        )
        assert "It has had 43 requests since llmsup started, of which it failed 1; 2 in flight now." in whole
        assert "\nNote: it tells little.\n" in whole
        assert "Note: " not in (await told(port, "peers", "box")).output
        laptop = (await told(port, "peers", "laptop")).output
        assert "It is ollama, at https://laptop.local:5005, with 3.0 GiB taken by models.\n" in laptop
        assert ["qwen3-32b", "loaded", "3", "of", "4"] in [line.split()[:5] for line in whole.splitlines()]
        assert [each["name"] for each in json.loads((await told(port, "peers", "--json")).output)["peers"]] == [
            "studio",
            "box",
            "laptop",
        ]
        assert json.loads((await told(port, "peers", "box", "--json")).output)["state"] == "down"
        wrong = await told(port, "peers", "stduio")
        assert (wrong.exit_code, wrong.stderr) == (1, "llmsup: There is no peer 'stduio'. Did you mean 'studio'?\n")
        seen = (await told(port, "ps")).output
        assert "studio has 2 requests in flight: qwen3-32b 2." in seen
        assert "box is down: it refuses connections" in seen
        assert "failed: " not in seen
        env = {"COMP_WORDS": f"llmsup\npeers\n--url\nhttp://127.0.0.1:{port}\nst", "COMP_CWORD": "4"}
        asked = {**env, "_LLMSUP_COMPLETE": "bash_complete"}
        completed = await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(main, [], prog_name="llmsup", env=asked).output
        )
        assert completed == "plain,studio\n"


async def test_there_are_none() -> None:
    async with serving(fake("m")) as served:
        lines = (await told(served.client.port, "peers")).output
        assert "[peers.studio]" in lines
        wrong = await told(served.client.port, "peers", "studio")
        assert wrong.exit_code == 1
        assert "The config has no [peers.NAME] table." in wrong.stderr
        assert "peer" not in (await told(served.client.port, "ps")).output


async def test_names_that_would_steer_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another server says of itself is shown, not obeyed."""
    evil = peer("box", kind="openai", version="1\x1b[31m", reason="it said \x1b]0;gone\x07", note="\x1b[2J")
    async with serving_with(monkeypatch, peers=[evil]) as (served, _):
        for words in (["peers"], ["peers", "box"], ["ps"]):
            assert "\x1b" not in (await told(served.client.port, *words)).output


def listed(name: str, peer: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": name, "status": {"value": "unloaded", "reason": "it is not loaded"}, "kind": "chat", "quantization": None,
        "context_length": None, "size_bytes": None, "memory": None, "fits": None, "capabilities": [], "aliases": [],
        "names": [], "ollama_only": None, "needs_bytes": None, "needs_source": None, "grows_bytes": None,
        **({} if peer is None else {"peer": peer}), **fields,
    }  # fmt: skip


FAILED = {"value": "failed", "reason": "no peer that has it answers", "error": "box doesn't answer: it is off"}
LOADED = {"value": "loaded", "reason": "it is loaded at studio"}
LISTED = [
    listed("both", peers=["studio"]),
    listed("far", {"peers": ["studio", "box"], "down": ["box"], "loaded": True, "hops": 1}, status=LOADED),
    listed("gone", {"peers": ["box"], "down": ["box"], "loaded": None, "hops": 1}, status=FAILED),
    listed("here"),
]


def test_where_models_are() -> None:
    """Only where there are peers."""
    rows = [line.split("  ")[-1].strip() for line in ls_table(LISTED).as_text().splitlines()]
    assert rows == ["WHERE", "here, studio", "studio, box (down)", "box (down)", "here"]
    assert "WHERE" not in ls_table(LISTED[-1:]).as_text()
    assert ls_notes(LISTED, {"complete": True, "left_out": []}) == []


def test_what_is_elsewhere_is_not_to_be_loaded_here() -> None:
    assert nothing_loaded(LISTED).endswith(": both, here.")
    assert nothing_loaded(LISTED[1:3]).endswith("`llmsup ls` shows those of peers.")
    assert failures(LISTED) == []


def screen(height: int, peers: list[dict[str, Any]]) -> list[str]:
    memory = {
        "ceiling_bytes": 2 << 30, "committed_bytes": 0, "available_bytes": 3 << 30, "waiting": [], "level": "normal",
        "reason": "", "problem": None, "nothing_unloaded": None,
    }  # fmt: skip
    seen = Now([], LISTED, memory, NOW, peers=peers)
    lines = picture(seen, Chosen(name="gone"), "http://127.0.0.1:5005", 80, height)
    assert len(lines) == height
    return [line.plain.rstrip() for line in lines]


def test_top() -> None:
    """Those that need a look first; of many, some."""
    lines = screen(16, ENTRIES)
    assert lines[2:5] == [
        "box     down     it refuses connections, for 90 s, asked again in 8 s",
        "laptop  asleep   its machine sleeps, for 90 s",
        "studio  up       1 of 2 models loaded · 3 requests in flight: a 3",
    ]
    rows = {line[2:].split()[0]: line[2:].split()[1:3] for line in lines[7:11]}
    assert rows == {"both": ["-", "-"], "far": ["ready", "there"], "gone": ["down", "-"], "here": ["-", "-"]}
    assert any("gone is down: box doesn't answer: it is off." in line for line in lines)
    many = screen(16, [*ENTRIES, *(entry(f"p{n}") for n in range(7))])
    assert [line.split()[0] for line in many[2:6]] == ["box", "laptop", "studio", "…"]
    assert many[5].startswith("… and 7 more peers")
    assert screen(16, [])[2] == ""
    assert screen(13, ENTRIES)[2] == "3 peers; `llmsup peers` shows them"
    assert screen(12, ENTRIES)[2] == ""
    for height in range(8, 17):
        lines = screen(height, ENTRIES)
        assert any(line.startswith("› gone") for line in lines), height
        assert lines[-1].startswith("↑↓ choose"), height


async def test_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model elsewhere is shown with what is known of it; nothing is asked that only this machine's have."""
    peers = several()
    async with serving_with(monkeypatch, peers=peers) as (served, _):
        names = [name for each in peers for name in each.offers]
        served.fleet.serve_elsewhere([FakeBackend(name) for name in names])  # type: ignore[misc]
        shown = await told(served.client.port, "show", "twice")
        assert shown.exit_code == 0, shown.output
        assert [line.split(maxsplit=1) for line in shown.output.splitlines()] == [
            ["model", "twice"],
            ["also", "answers to  studio/twice, box/twice"],
            ["kind", "embedding"],
            ["can", "embedding"],
            ["where", "studio, box (down)"],
            [],
            ["twice:", "it is loaded at a server behind studio."],
        ]
        assert "qwen3-32b" in (await told(served.client.port, "ls")).output


class FakeBackend:
    """What a name needs to mean something."""

    def __init__(self, name: str) -> None:
        self.spec = ModelSpec(name=name)
        self.places = ""
