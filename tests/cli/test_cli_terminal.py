"""`run` and `top` in a real terminal, against a real server with the fake engine."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_server import KEY, fake, own_server
from windows import Window, until

from llmsup.cli.client import Client

Open = Callable[..., Window]

pytestmark = pytest.mark.slow


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Client]:
    """A server of two models, the first of which answers slowly and writes down what it is asked."""
    talker = fake("--tokens", 400, "--tps", 20, "--record", tmp_path / "asked.jsonl", ttl="never")
    with own_server(tmp_path, models={"talker": talker, "other": fake()}) as server:
        yield Client(server.url, KEY)


@pytest.fixture
def opened(tmp_path: Path, served: Client) -> Iterator[Open]:
    """Opens windows with a command of llmsup's in it."""
    env = {**os.environ, "HOME": str(tmp_path), "LLMSUP_URL": served.url, "LLMSUP_API_KEY": KEY, "TERM": "xterm"}
    env.pop("LLMSUP_CONFIG", None)
    with contextlib.ExitStack() as windows:

        def window(*words: str) -> Window:
            new = Window(sys.executable, "-m", "llmsup", *words, env=env)
            windows.callback(new.clean)
            return new

        yield window


def entry(client: Client, model: str) -> dict[str, Any] | None:
    return next((each for each in client.get("/running") if each["model"] == model), None)


def asked(tmp_path: Path) -> list[list[dict[str, str]]]:
    """The messages of each chat request so far."""
    lines = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    bodies = [each["body"] for each in lines if each.get("path", "").endswith("/chat/completions") and "body" in each]
    return [(json.loads(body) if isinstance(body, str) else body)["messages"] for body in bodies]


def test_a_chat(opened: Open, served: Client, tmp_path: Path) -> None:
    """Ctrl-C stops the answer and frees the model; what has come of it is a part of the conversation."""
    window = opened("run", "talker")
    window.next("talker is ready")
    window.next(">>> ")
    window.type("hello")
    window.next("token5 ")
    window.press("\x03")
    window.next("(stopped)")
    window.next(">>> ")
    until(lambda: (entry(served, "talker") or {})["in_flight"] == 0)
    window.type('"""two')
    window.next("... ")
    window.type('lines"""')
    window.next("token3 ")
    window.press("\x03")
    window.next("(stopped)")
    first, second = asked(tmp_path)
    assert first == [{"role": "user", "content": "hello"}]
    assert [each["role"] for each in second] == ["user", "assistant", "user"]
    assert second[1]["content"].startswith("token0 token1 token2 ")
    assert second[2]["content"] == "two\nlines"
    window.next(">>> ")
    window.type("/set parameter tmperature 1")
    window.next("did you mean 'temperature'?")
    window.next(">>> ")
    window.press("half a line\x03")
    window.next("Ctrl-C again")
    window.next(">>> ")
    window.press("\x03")
    assert window.ended(again="\x03")[0] == 0
    history = tmp_path / ".local" / "state" / "llmsup" / "chat_history"
    assert "hello" in history.read_text().splitlines()
    assert history.stat().st_mode & 0o777 == 0o600


def test_ctrl_d_and_bye_leave(opened: Open, served: Client) -> None:
    for keys in ("\x04", "/bye\n"):
        window = opened("run", "other")
        window.next(">>> ")
        window.press(keys)
        assert window.ended()[0] == 0


def test_a_prompt_is_answered_once(opened: Open, served: Client) -> None:
    """Reached by Ctrl-C, too, which then ends the command."""
    window = opened("run", "other", "why?")
    code, shown = window.ended()
    assert code == 0
    assert "token4" in shown
    window = opened("run", "talker", "why?")
    window.next("token2 ")
    window.press("\x03")
    assert window.ended()[0] == 130
    until(lambda: (entry(served, "talker") or {})["in_flight"] == 0)


def test_top(opened: Open, served: Client) -> None:
    """Its keys do what they say, and it leaves the terminal as it was."""
    window = opened("top")
    before = window.attributes()
    window.next("? all keys")
    assert window.attributes() != before
    window.press("\x1b[B\x1b[B\x1b[Ak")
    window.press("l")
    window.next(" ready ")
    assert entry(served, "other") is not None
    window.press("p")
    window.next("other is pinned: it stays.")
    assert (entry(served, "other") or {})["pinned"]
    window.press("w")
    window.next("why other")
    window.next("It can't be unloaded now: pinned")
    window.press("q")
    window.next("? all keys")
    window.press("o")
    window.next("log of other")
    window.next("listening on")
    window.press("\x1b")
    window.next("? all keys")
    window.press("u")
    window.next("other unloaded")
    until(lambda: entry(served, "other") is None)
    window.press("/talk\r")
    window.next("names with 'talk'")
    window.press("\x1b")
    window.press("q")
    code, shown = window.ended()
    assert code == 0
    assert "\x1b[?1049l" in shown
    assert window.attributes() == before


def test_ps_that_goes_on(opened: Open, served: Client) -> None:
    window = opened("ps", "--watch")
    window.next("No model is loaded")
    served.post("/models/load", {"model": "other"})
    window.next(" ready ")
    window.press("\x03")
    assert window.ended()[0] == 130
