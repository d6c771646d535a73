"""llmsup as a process of its own with real engines, killed: nothing that it started may be left after 5 seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import psutil
import strays
from real_engines import llama_server, smollm2
from serving import PATIENCE

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).parents[1] / "helpers" / "fake_engine.py"


def test_kill_9_leaves_no_engine(tmp_path: Path) -> None:
    """A llama-server that generates, a bundled engine, a fake one that ignores SIGTERM, and one that leaves a daemon
    behind, all at once.
    """
    config = tmp_path / "llmsup.toml"
    deaf = [sys.executable, str(FAKE), "--socket", "${SOCKET}", "--ignore-sigterm", "--grandchild"]
    becomes = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    daemon = [*strays.program(strays.DAEMON, becomes), str(FAKE), "--socket", "${SOCKET}"]
    settings = f"path = {json.dumps(str(smollm2()))}\nctx_size = 512\nparallel = 1\nthreads = 1\n"
    config.write_text(
        f"[engines.llama-server]\ncommand = {json.dumps([str(llama_server())])}\n"
        f'[models.native]\nengine = "llama-server"\n{settings}'
        f'[models.bundled]\nengine = "bundled"\n{settings}'
        f"[models.deaf]\ncommand = {json.dumps(deaf)}\n"
        f"[models.daemon]\ncommand = {json.dumps(daemon)}\n"
    )
    log = (tmp_path / "log").open("w+")
    argv = [sys.executable, "-m", "llmsup", "serve", "--config", str(config), "--listen", "127.0.0.1:0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": ""}
    with subprocess.Popen(argv, stderr=log, env=env) as server, log, ExitStack() as open_now:
        try:
            url = f"http://{_address(tmp_path / 'log')}"
            for name in ("native", "bundled", "deaf", "daemon"):
                _ask(open_now, f"{url}/models/load", {"model": name}).read()
            endless: dict[str, object] = {"model": "native", "stream": True, "messages": [], "n_predict": -1}
            stream = _ask(open_now, f"{url}/v1/chat/completions", endless)
            assert stream.read(10)
            pids = [entry["pid"] for entry in json.load(_ask(open_now, f"{url}/running"))]
            family = psutil.Process(server.pid).children(recursive=True)
            assert len(pids) == 4
            assert set(pids) <= {process.pid for process in family}
            if sys.platform == "linux":  # the daemon's parents have ended: it has been adopted
                assert (
                    len([process for process in family if process.ppid() == server.pid]) == len(pids) + 2
                )  # the guard
            server.send_signal(signal.SIGKILL)
            assert server.wait(PATIENCE) == -signal.SIGKILL
            deadline = time.monotonic() + 5
            while any(map(_runs, family)) or list(tmp_path.glob("llmsup-*")):  # their sockets' folder, too
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            server.kill()


def _address(log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if "listening on " in line:
                return line.rpartition(" ")[2]
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def _ask(open_now: ExitStack, url: str, body: dict[str, object] | None = None) -> HTTPResponse:
    """Ask over http, and read the answer later."""
    address, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(address, timeout=PATIENCE)
    open_now.callback(connection.close)
    connection.request("POST" if body else "GET", f"/{path}", json.dumps(body) if body else None)
    answer = open_now.enter_context(connection.getresponse())
    assert answer.status == 200
    return answer


def _runs(process: psutil.Process) -> bool:
    """A zombie that its init hasn't reaped yet is dead."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
