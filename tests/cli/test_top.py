"""What `top` draws of a server's JSON, as it was captured from one, and what it takes for keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve
from rich.cells import cell_len

from llmsup.cli.client import Client
from llmsup.cli.top.keyboard import named
from llmsup.cli.top.now import Now, look
from llmsup.cli.top.pages import Log, Page
from llmsup.cli.top.picture import Chosen, picture
from llmsup.cli.top.told import told

CAPTURED = json.loads((Path(__file__).parents[1] / "data" / "top.json").read_text())


def now(**changes: Any) -> Now:
    return Now(**{**CAPTURED, **changes})


def drawn(width: int, height: int, chosen: Chosen | None = None, seen: Now | None = None) -> list[str]:
    lines = picture(seen or now(), chosen or Chosen(name="mid"), "http://127.0.0.1:5005", width, height)
    assert len(lines) == height
    assert all(cell_len(line.plain) <= width for line in lines)
    return [line.plain.rstrip() for line in lines]


def test_at_80_columns() -> None:
    assert drawn(80, 16) == [
        "llmsup · http://127.0.0.1:5005                            3 loaded · 1 in flight",
        "█████████████████████████░░░░░ 618 MiB of 750 MiB (82%) · 20.0 GiB available",
        "  1 model waiting for memory",
        "",
        "  MODEL                     STATE    REQUESTS  IDLE  TTL LEFT             MEMORY",
        "› mid                       waiting         0     -         -                  -",
        "  small                     ready           0   9 s    pinned  90.0 MiB declared",
        "  big                       ready           1  busy         -   400 MiB declared",
        "  smol                      ready           0  53 s      29 m            128 MiB",
        "  broken                    failed                                needs 10.0 MiB",
        "  huge                      -                                      needs 900 GiB",
        "  HuggingFace…-name@Q4_K_M  -                                     needs 10.0 MiB",
        "",
        "mid is waiting: it needs 300 MiB, 132 MiB is free, and unloading the idle models",
        "that may go would not free enough (in memory: big, smol, small).",
        "↑↓ choose · l load · u unload · p pin · w why · o log · / find · ? all keys",
    ]


def test_what_a_key_has_led_to_is_told_to_its_end() -> None:
    """What is to be typed stands there."""
    note = (
        f"far has no engine here: it is at studio. Do it there: `llmsup load far --url http://{'x' * 60}.local:5005`."
    )
    lines = drawn(80, 16, Chosen(name="mid", note=note))
    assert "".join(lines[-2:]).replace(" ", "") == note.replace(" ", "")


def test_at_200_columns() -> None:
    """Names in full, and what there is no room for at 80."""
    lines = drawn(200, 16)
    head = lines[3].split()
    assert head == [
        "MODEL", "STATE", "REQUESTS", "IDLE", "TTL", "LEFT", "MEMORY", "PRIORITY", "PID", "WHY",
    ]  # fmt: skip
    rows = {line[2:].split(" ")[0]: line for line in lines[4:11]}
    assert "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF-with-a-very-long-name@Q4_K_M" in rows
    assert rows["small"].split()[1:] == [
        "ready", "0", "9", "s", "pinned", "90.0", "MiB", "declared", "high,", "pinned", "18623",
        "loaded", "in", "0.71", "s,", "pid", "18623",
    ]  # fmt: skip
    assert rows["broken"].endswith("can't be loaded: its engine exited with code 3 befo…")
    assert "it needs more memory than this machine has" in rows["huge"]


def test_how_fast_models_are_is_asked_when_there_are_other_requests() -> None:
    """Of each model's last answer that tells."""
    asked: list[str] = []
    answers = [
        {"model": "small", "tokens_per_s": None},
        {"model": "small", "tokens_per_s": 21.25},
        {"model": "small", "tokens_per_s": 3.0},
        {"model": "gone", "tokens_per_s": 9.0},
    ]

    class Server:
        def get(self, path: str) -> Any:
            asked.append(path.partition("?")[0])
            told = {"/running": CAPTURED["running"], "/v1/models": {"data": CAPTURED["models"]}}
            told |= {"/peers": {"peers": []}}
            return {**told, "/memory": CAPTURED["memory"], "/requests": {"requests": answers}}[asked[-1]]

    client = cast("Client", Server())
    first = look(client, None, CAPTURED["at"], whole=True)
    lines = drawn(200, 16, seen=first)
    assert "TOKENS/S" in lines[3]
    rows = {line[2:].split(" ")[0]: line.split() for line in lines[4:]}
    assert "21.2" in rows["small"]
    assert not {"3.0", "9.0"} & {word for row in rows.values() for word in row}
    second = look(client, first, CAPTURED["at"], whole=False)
    assert (second.speeds, asked.count("/requests")) == (first.speeds, 1)
    answered = [{**entry, "last_used": CAPTURED["at"]} for entry in CAPTURED["running"]]
    look(client, evolve(second, running=answered), CAPTURED["at"], whole=False)
    assert asked.count("/requests") == 2


@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 8), (80, 6), (132, 10)])
def test_there_is_always_room_for_the_chosen_one(width: int, height: int) -> None:
    """However small the terminal is; the last in the list, too."""
    name = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF-with-a-very-long-name@Q4_K_M"
    lines = drawn(width, height, Chosen(name=name))
    if height > 6:
        assert any(line.startswith("› Hug") for line in lines)


def test_a_part_of_a_name() -> None:
    lines = drawn(80, 12, Chosen(name="small", part="SM"))
    assert [line[2:7] for line in lines if line.startswith(("›", "  s"))] == ["small", "smol "]
    assert lines[-1].startswith("names with 'SM' · ")
    assert drawn(80, 12, Chosen(part="x", typing=True))[-1] == "/x█"
    assert "No model's name has 'nothing' in it." in drawn(80, 12, Chosen(part="nothing"))


def test_what_a_server_says_is_text() -> None:
    models = [{**CAPTURED["models"][0], "id": "a\x1b[2J[red]"}]
    lines = drawn(80, 10, Chosen(name="a\x1b[2J[red]"), now(running=[], models=models))
    assert any(r"› a\x1b[2J[red]" in line for line in lines)


def test_keys() -> None:
    assert named("jk\x1b[A\x1bOB\x1b[5~ \r\x7f\x1b") == [
        "j", "k", "up", "down", "page up", "page down", "enter", "backspace", "escape",
    ]  # fmt: skip
    assert named("\x1b[1;5Cl\x00ü") == ["l", "ü"]


def test_a_page_follows_its_end_until_it_is_scrolled() -> None:
    page = Page(Log("m"), None, [f"line {n}" for n in range(100)])

    def last() -> str:
        return page.picture(80, 13)[11].plain

    assert last() == "line 99"
    page.lines = [*page.lines, "line 100"]
    assert last() == "line 100"
    page.scroll("up", 13)
    page.lines = [*page.lines, "line 101"]
    assert last() == "line 99"
    for _ in range(2):
        page.scroll("page down", 13)
    page.lines = [*page.lines, "line 102"]
    assert last() == "line 102"
    page.scroll("home", 13)
    assert page.picture(80, 13)[2].plain == "line 0"


@pytest.mark.parametrize(
    ("answer", "asked", "said"),
    [
        ({"model": "m", "state": "ready"}, {}, "m is loaded already."),
        ({"model": "m", "state": "waiting"}, {}, "m is being loaded."),
        ({"model": "m", "state": "unloaded"}, {"pinned": True}, "m can't be loaded; w tells why."),
        ({"model": "m", "state": "ready"}, {"pinned": True}, "m is pinned: it stays."),
        ({"model": "m", "state": "ready"}, {"pinned": False}, "m is not pinned any more."),
        ({"model": "m", "freed_bytes": 1 << 30, "seconds": 0.5}, {}, "m unloaded: 1.0 GiB back in 0.50 s"),
        ({"model": "m", "freed_bytes": 0, "seconds": 0.0}, {}, "m is not loaded."),
    ],
)
def test_what_came_of_a_key(answer: dict[str, Any], asked: dict[str, Any], said: str) -> None:
    assert told(answer, asked) == said
