"""What a service manager hears, and that one which doesn't listen changes nothing."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmsup.process import notify
from llmsup.process.notify import Notifier
from llmsup.units import Seconds

PATIENCE = 20
"""Seconds after which a test counts as hung."""


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A manager's socket, and its address as $NOTIFY_SOCKET has it; only Linux has abstract ones."""
    name = str(tmp_path / "notify.sock") if request.param == "path" else f"@llmsup-test-{secrets.token_hex(8)}"
    if request.param == "abstract" and sys.platform != "linux":
        name = str(tmp_path / "another.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(PATIENCE)
        listener.bind(name.replace("@", "\0") if name.startswith("@") else name)
        yield listener, name


def test_a_life(ear: tuple[socket.socket, str]) -> None:
    """Ready with a line, stopping once; after that nothing is ready any more. The variable is not passed on."""
    listener, name = ear
    environ = {"NOTIFY_SOCKET": name, "OTHER": "x"}
    manager = Notifier.take(environ)
    assert environ == {"OTHER": "x"}
    manager.ready("two\nlines")
    assert listener.recv(1000) == b"READY=1\nSTATUS=two lines"
    manager.stopping()
    manager.stopping()
    manager.ready("no")
    assert listener.recv(1000) == b"STOPPING=1\nSTATUS=stopping"
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.recv(1000)


@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nobody-\x1b", "vsock:2:1", "/" + "x" * 200, "/a\0b", "@"])
def test_nobody_listens(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is one warning."""
    Notifier(address).ready("x")
    (record,) = caplog.records
    assert "$NOTIFY_SOCKET" in (said := record.getMessage())
    assert "READY=1" in said


def test_no_manager_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """As in a terminal."""
    Notifier.take({}).ready("x")
    assert not caplog.records


def test_a_manager_that_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its queue is full: we are held up for a moment, not for ever."""
    monkeypatch.setattr(notify, "PATIENCE", Seconds(0.05))
    name = str(tmp_path / "n.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        for _ in range(10_000):
            Notifier(name).ready("x" * 1000)
            if caplog.records:
                break
    assert "$NOTIFY_SOCKET" in caplog.records[0].getMessage()


@pytest.mark.slow
def test_serve_tells(ear: tuple[socket.socket, str], tmp_path: Path) -> None:
    """Ready when requests are answered, stopping on SIGTERM; engines inherit nothing of it."""
    listener, name = ear
    config, seen = tmp_path / "l.toml", tmp_path / "seen"
    script = f'echo "NOTIFY=$NOTIFY_SOCKET" > {seen}; exit 3'
    config.write_text(
        "[catalog]\nroots = []\nollama = ''\n[models.m]\n"
        f"command = ['/bin/sh', '-c', '{script}', '${{PORT}}']\npreload = true\n"
    )
    command = [sys.executable, "-m", "llmsup", "serve", "--listen", "127.0.0.1:0", "--config", str(config)]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        served = subprocess.Popen(command, stderr=stderr, env={**os.environ, "NOTIFY_SOCKET": name})
    try:
        said = listener.recv(1000).decode()
        found = re.fullmatch(r"READY=1\nSTATUS=answers at (http://127\.0\.0\.1:\d+)", said)
        assert found, said
        with urllib.request.urlopen(f"{found[1]}/health", timeout=PATIENCE) as answer:  # noqa: S310 -- our own
            assert answer.status == 200
        deadline = time.monotonic() + PATIENCE
        while not seen.exists() or not seen.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)  # it is a file
        assert seen.read_text() == "NOTIFY=\n"
        served.send_signal(signal.SIGTERM)
        assert listener.recv(1000).startswith(b"STOPPING=1\n")
        assert served.wait(PATIENCE) == 0
    finally:
        served.kill()
        served.wait()
    assert "$NOTIFY_SOCKET" not in log.read_text()
