"""A terminal that is closed: what was started from it ends, and SIGHUP goes on meaning "reload" for all others."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gguf_files import slow_to_read
from windows import Window, until

from llmsup.cli.client import Client
from llmsup.cli.signals import Terminal

ROOT = Path(__file__).parents[2]
SERVE = [sys.executable, "-m", "llmsup", "serve", "--listen", "127.0.0.1:0"]

Open = Callable[..., Window]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("LLMSUP_CONFIG", "LLMSUP_URL", "LLMSUP_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with contextlib.ExitStack() as windows:

        def window(*command: str) -> Window:
            new = Window(*command)
            windows.callback(new.clean)
            return new

        yield window


def test_it_ends_with_the_terminal_that_it_was_opened_for(opened: Open) -> None:
    """Cleanly, though its log has no reader any more. A SIGHUP before that reloads."""
    window = opened(*SERVE)
    window.until("llmsup demo`")
    window.process.send_signal(signal.SIGHUP)
    window.until("SIGHUP: reloading")
    window.until("reloaded")
    assert window.close() == 0


@pytest.mark.slow  # a start waits three seconds for the first look, and the bar is drawn only after that
def test_it_ends_cleanly_while_it_draws(opened: Open, tmp_path: Path) -> None:
    """The bar of the first look is on that terminal, too."""
    slow_to_read(tmp_path / "models", 60)  # longer than that, however fast the machine is
    config = tmp_path / "llmsup.toml"
    config.write_text(f"catalog.roots = [{str(tmp_path / 'models')!r}]\ncatalog.ollama = ''\n")
    window = opened(*SERVE, "--config", str(config))
    window.until("reading model files")
    assert window.close() == 0


@pytest.mark.parametrize("end", ["", " &"])
def test_it_ends_with_the_terminal_of_its_shell(opened: Open, tmp_path: Path, end: str) -> None:
    """The shell tells its jobs, and the system tells the one in the foreground: one orderly stop, all the same."""
    log = tmp_path / "log"
    window = opened("bash", "--norc", "-i")
    window.type(f"{shlex.join(SERVE)} 2>{log}{end}")
    until(lambda: log.exists() and "llmsup demo`" in log.read_text())
    window.close()
    until(lambda: "stopped" in log.read_text())
    assert log.read_text().count("stopping") == 1
    assert "terminal was closed: stopping" in log.read_text()


def test_with_nohup_it_stays(opened: Open, tmp_path: Path) -> None:
    """SIGHUP was ignored before it began, and stays so."""
    log = tmp_path / "log"
    window = opened("bash", "--norc", "-i")
    window.type(f"nohup {shlex.join(SERVE)} >/dev/null 2>{log} &")
    until(lambda: log.exists() and "llmsup demo`" in log.read_text())
    (file,) = (tmp_path / ".local/state/llmsup").glob("server-*.json")
    pid = int(file.stem.partition("-")[2])
    try:
        window.close()
        os.kill(pid, signal.SIGHUP)
        assert Client(json.loads(file.read_text())["urls"][0]).get("/health") == {"status": "ok"}
        assert "SIGHUP" not in log.read_text()
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: "stopped" in log.read_text())


@pytest.mark.parametrize(
    ("then", "later", "closed"),
    [
        (None, None, False),
        (None, errno.ENXIO, True),
        (None, errno.EIO, True),
        (None, errno.EMFILE, False),
        (errno.ENXIO, errno.ENXIO, False),
        (errno.ENOENT, errno.ENOENT, False),
    ],
)
def test_what_counts_as_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, then: int | None, later: int | None, closed: bool
) -> None:
    """Only a terminal that there was, and that the system says is gone."""
    (tmp_path / "tty").touch()
    real = os.open

    def opens(why_not: int | None) -> Callable[..., int]:
        def fake(path: str, flags: int) -> int:
            if why_not is not None:
                raise OSError(why_not, os.strerror(why_not))
            return real(path, flags)

        return fake

    monkeypatch.setattr("llmsup.cli.signals.os.open", opens(then))
    terminal = Terminal.now(str(tmp_path / "tty"))
    monkeypatch.setattr("llmsup.cli.signals.os.open", opens(later))
    assert terminal.closed is closed
