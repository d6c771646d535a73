"""`llmsup cache`: what is kept, and its removal, as told by a server."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from llmsup.cli import cache, main, why

TOLD = {
    "directory": "/s/prompt-cache",
    "off": None,
    "bytes": 3 * 2**20,
    "disk_bytes": 20 * 2**30,
    "written_today_bytes": 5 * 2**20,
    "writes_per_day_bytes": 64 * 2**30,
    "entries": [{"model": "chat", "tokens": 2500, "bytes": 3 * 2**20, "saved_at": 1.0, "used_at": 1e12}],
}


class Server:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = dict(TOLD)
        self.asked: list[tuple[str, Any]] = []

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append((path, None))
        return self.told

    def post(self, path: str, body: Any) -> dict[str, Any]:
        self.asked.append((path, body))
        off = self.told["off"]
        return {"success": True, "cleared": 0 if off else 2, "freed_bytes": 0 if off else 3 * 2**20, "off": off}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(cache, "connect", lambda _url: made)
    return made


def test_what_is_kept(server: Server) -> None:
    lines = CliRunner().invoke(main, ["cache", "ls"]).output.splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["MODEL", "TOKENS", "SIZE", "USED"],
        ["chat", "2,500", "3.0", "MiB", "just", "now"],
    ]
    assert lines[3] == "3.0 MiB of 20.0 GiB; today 5.0 MiB of 64.0 GiB were written"
    assert lines[4] == "in /s/prompt-cache"


def test_off(server: Server) -> None:
    server.told["off"] = "[prompt_cache] disk is 0"
    assert CliRunner().invoke(main, ["cache", "ls"]).output == "Nothing is kept: [prompt_cache] disk is 0.\n"
    cleared = CliRunner().invoke(main, ["cache", "clear"])
    assert (cleared.exit_code, cleared.output) == (1, "Error: nothing was removed: [prompt_cache] disk is 0.\n")


@pytest.mark.parametrize(("words", "body"), [([], {}), (["chat"], {"model": "chat"})])
def test_clear(server: Server, words: list[str], body: dict[str, str]) -> None:
    result = CliRunner().invoke(main, ["cache", "clear", *words])
    assert result.output == "2 conversations removed, 3.0 MiB\n"
    assert server.asked == [("/prompt-cache/clear", body)]


@pytest.mark.parametrize(
    ("more", "last"),
    [
        ({}, "Conversations survive an unload."),
        ({"restores": 2}, "Since llmsup started 2 conversations were restored; no answer has told yet"),
        ({"restores": 1, "misses": 1}, "Conversations survive an unload."),
        ({"restores": 1, "hits": 1}, "Once one went on: 70 tokens, about 2.0 s saved."),
    ],
)
def test_why_tells_what_came_of_it(more: dict[str, int], last: str) -> None:
    kept: dict[str, Any] = {"able": "yes", "reason": None, "saved": 0, "tokens": 0, "bytes": 0, "cold": None}
    kept |= {"restores": 0, "hits": 0, "misses": 0, "tokens_saved": 70, "seconds_saved": 2.0, **more}
    assert list(why._kept(kept))[-1].startswith(last)
