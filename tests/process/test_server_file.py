"""What a running server leaves for its user's commands: whose it is, who may read it, and what becomes of it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from llmsup.process.server_file import left_in, new_token, servers_of

URLS = ("http://127.0.0.1:1",)


def test_it_is_there_while_the_server_runs(tmp_path: Path) -> None:
    """Whole, for its owner alone, and gone afterwards, however that ends."""
    state = tmp_path / "a" / "state"
    with left_in(state, urls=URLS, token="tok", config=tmp_path / "c.toml"):
        (path,) = state.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        (server,) = servers_of(state)
        assert (server.pid, server.urls, server.token) == (os.getpid(), URLS, "tok")
        assert server.config == str(tmp_path / "c.toml")
        assert "tok" not in repr(server).replace("token", "")
    assert servers_of(state) == []
    assert list(state.iterdir()) == []
    with suppress(KeyboardInterrupt), left_in(state, urls=URLS, token="tok", config=None):
        raise KeyboardInterrupt
    assert list(state.iterdir()) == []


def test_tokens_differ() -> None:
    """And can't be guessed."""
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 32


def written(state: Path, pid: int, began: float, **more: object) -> Path:
    state.mkdir(exist_ok=True)
    path = state / f"server-{pid}.json"
    path.write_text(json.dumps({"pid": pid, "began": began, "urls": URLS, "token": "t", "config": "", **more}))
    return path


def test_one_that_was_killed_does_not_count_and_is_swept(tmp_path: Path) -> None:
    """Nor does another process that has its number by now, nor one that only waits to be reaped."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        began = psutil.Process(process.pid).create_time()
        path = written(tmp_path, process.pid, began)
        assert [server.pid for server in servers_of(tmp_path)] == [process.pid]
        written(tmp_path, process.pid, began - 60)
        assert servers_of(tmp_path) == []
        written(tmp_path, process.pid, began)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert servers_of(tmp_path) == [], "it is a zombie"
    assert servers_of(tmp_path) == []
    with left_in(tmp_path, urls=URLS, token="", config=None):
        assert not path.exists()
        assert [server.pid for server in servers_of(tmp_path)] == [os.getpid()]


def test_several_servers_leave_one_each(tmp_path: Path) -> None:
    """The newest comes first."""
    parent = psutil.Process(os.getppid())
    # A second earlier: on a busy machine both began within one tick of the clock, and then neither is the newer one.
    written(tmp_path, parent.pid, parent.create_time() - 1)
    with left_in(tmp_path, urls=URLS, token="", config=None):
        assert [server.pid for server in servers_of(tmp_path)] == [os.getpid(), parent.pid]
    assert [server.pid for server in servers_of(tmp_path)] == [parent.pid], "the end of one leaves the other"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}', "\x00", '{"pid": 1, "urls": 1}'])
def test_what_is_no_such_file_is_passed_over(tmp_path: Path, text: str) -> None:
    """Such as one of a later version, which is left."""
    path = tmp_path / "server-1.json"
    path.write_text(text)
    assert servers_of(tmp_path) == []
    with left_in(tmp_path, urls=URLS, token="", config=None):
        assert path.exists()


def test_another_users_file_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have our keys sent elsewhere."""
    with left_in(tmp_path, urls=URLS, token="", config=None):
        monkeypatch.setattr("llmsup.process.server_file.os.getuid", lambda: os.geteuid() + 1)
        assert servers_of(tmp_path) == []


def test_a_state_dir_that_cannot_be_written_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the server serves all the same."""
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING), left_in(tmp_path / "file", urls=URLS, token="", config=None):
        assert servers_of(tmp_path / "file") == []
    assert "may need --url and $LLMSUP_API_KEY" in caplog.text


def test_nothing_there_is_no_server(tmp_path: Path) -> None:
    """As before the first start."""
    assert servers_of(tmp_path / "none") == []
