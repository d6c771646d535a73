"""The fake engine does what the fault tests count on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FAKE_ENGINE = Path(__file__).parents[1] / "helpers" / "fake_engine.py"
CHAT = "/v1/chat/completions"


class Fake:
    """A running fake engine."""

    def __init__(self, *switches: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-S", str(FAKE_ENGINE), "--port", "0", *switches],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        self.said = []
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if found := re.match(r"listening on http://127.0.0.1:(\d+)", line):
                self.port = int(found[1])
                break

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else None

    def wait_until_ready(self) -> None:
        until(lambda: self.ask("GET", "/health")[0] == 200)


@pytest.fixture
def start() -> Iterator[Callable[..., Fake]]:
    fakes: list[Fake] = []

    def start(*switches: str) -> Fake:
        fakes.append(Fake(*switches))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.process.kill()
        fake.process.communicate(timeout=10)


def until(true: Callable[[], bool]) -> None:
    """Look every few milliseconds until it is true, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def events(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_loads_answers_and_keeps_the_connection(start: Callable[..., Fake], tmp_path: Path) -> None:
    fake = start("--load-time", "0.2", "--progress", "--print", "hello", "--record", str(tmp_path / "r"))
    assert fake.said[0] == "hello"
    status, answer = fake.ask("GET", "/health")
    assert (status, answer["error"]["message"]) == (503, "Loading model")
    fake.wait_until_ready()
    assert fake.process.stdout
    assert fake.process.stdout.readline().startswith('cmd_child_to_router:state:{"state":"loading","payload":{')
    with contextlib.closing(fake.connect()) as connection:
        for n in range(3):
            connection.request("POST", CHAT, json.dumps({"model": "m", "n": n}))
            answer = json.load(connection.getresponse())
            assert answer["request_body"] == {"model": "m", "n": n}
            assert answer["choices"][0]["message"]["content"] == "token0 token1 token2 token3 token4 "
        connection.request("HEAD", "/health")
        assert connection.getresponse().read() == b""
        connection.request("POST", CHAT, iter([json.dumps({"stream": True}).encode()]))  # sent in chunks
        lines = [line for line in connection.getresponse().read().decode().split("\n\n") if line]
        assert len(lines) == 6
        assert lines[-1] == "data: [DONE]"
        connection.request("POST", "/v1/audio/transcriptions", b"\xff" * 1000)
        assert json.load(connection.getresponse()) == {"text": "1000 bytes"}
    assert fake.ask("GET", "/nope")[0] == 404
    fake.process.send_signal(signal.SIGTERM)
    assert fake.process.wait(10) == 0
    kinds = [event["event"] for event in events(tmp_path / "r")]
    assert kinds[0] == "start"
    assert kinds[-1] == "sigterm"


def test_notices_a_client_that_leaves(start: Callable[..., Fake], tmp_path: Path) -> None:
    fake = start("--tokens", "1000", "--tps", "0.5", "--record", str(tmp_path / "r"))
    fake.wait_until_ready()
    with socket.create_connection(("127.0.0.1", fake.port), timeout=10) as client:
        client.sendall(b'POST /completion HTTP/1.1\r\nContent-Length: 16\r\n\r\n{"stream": true}')
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    left = time.time()
    until(lambda: events(tmp_path / "r")[-1]["event"] == "client_left")
    assert events(tmp_path / "r")[-1]["t"] - left < 1.5  # not only when the next token is due


def test_dies_once(start: Callable[..., Fake], tmp_path: Path) -> None:
    switches = ("--die-before-first-byte", "2", "--once-file", str(tmp_path / "once"))
    fake, again = start(*switches), start(*switches)
    for each in (fake, again):
        each.wait_until_ready()
        assert each.ask("POST", CHAT, {})[0] == 200
    with pytest.raises(ConnectionError):
        fake.ask("POST", CHAT, {})
    assert fake.process.wait(10) == 3
    assert again.ask("POST", CHAT, {})[0] == 200


def test_dies_in_a_stream_and_at_the_start(start: Callable[..., Fake]) -> None:
    fake = start("--die-after-chunks", "2")
    fake.wait_until_ready()
    with contextlib.closing(fake.connect()) as connection:
        connection.request("POST", CHAT, json.dumps({"stream": True}))
        with pytest.raises(http.client.IncompleteRead) as caught:
            connection.getresponse().read()
    assert caught.value.partial.count(b"data: ") == 2
    assert fake.process.wait(10) == 4
    failed = start("--exit-after", "0", "--exit-code", "7", "--print", "no such file")
    assert failed.process.wait(10) == 7
    assert failed.said == ["no such file"]


def test_stays(start: Callable[..., Fake], tmp_path: Path) -> None:
    fake = start("--ignore-sigterm", "--grandchild", "--close-idle", "--record", str(tmp_path / "r"))
    (pid,) = (int(line.split()[1]) for line in fake.said if line.startswith("grandchild"))
    try:
        fake.process.send_signal(signal.SIGTERM)
        until(lambda: events(tmp_path / "r")[-1]["event"] == "sigterm")
        fake.wait_until_ready()
        os.kill(pid, signal.SIGTERM)
        with socket.create_connection(("127.0.0.1", fake.port), timeout=10) as client:
            client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(1000), b""))
        assert b"Connection: close" not in answer
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("switch", ["--never-ready", "--hang-health", "--garbage"])
def test_other_faults(start: Callable[..., Fake], switch: str) -> None:
    fake = start(switch)
    if switch == "--never-ready":
        assert fake.ask("GET", "/health")[0] == 503
    elif switch == "--garbage":
        fake.wait_until_ready()
        with pytest.raises(http.client.BadStatusLine):
            fake.ask("POST", CHAT, {})
    else:
        until(lambda: fake.ask("GET", "/props")[0] == 200)
        with socket.create_connection(("127.0.0.1", fake.port), timeout=0.1) as client:
            client.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError):
                client.recv(1)
